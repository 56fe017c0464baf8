// The openb trace (Alibaba GPU-sharing cluster, 2023) as nodes and arrivals. A GPU has 1000 slices there, one per
// milli-GPU. Files are outside input: every number is checked, and an error names file, line and column.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { NodeManifest } from '../core/manifest.ts';
import { MAX_GPUS_PER_NODE } from '../core/inventory-codec.ts';
import { gpuNode } from './gpu-nodes.ts';
import { gpuPod, type PodSketch } from './gpu-pod.ts';
import { seededRandom, shuffled } from '../random.ts';
import type { Workload } from './workload.ts';

const NODES_FILE = 'openb_node_list_gpu_node.csv';
const PODS_FILE = 'openb_pod_list_default.csv';
const MILLI_PER_GPU = 1000;
/** The trace's own experiments put no nearer bound on the pods of a node. */
const PODS_PER_NODE = 1001;
const MAX_AMOUNT = 2 ** 31 - 1;
const RUN_SECONDS: readonly [least: number, most: number] = [60, 7200];

/** Something about the trace that its user can mend; the message says how. */
export class TraceFault extends Error {}

export interface OpenbTrace {
  readonly nodes: readonly NodeManifest[];
  readonly pods: readonly OpenbPod[];
}

export interface OpenbPod {
  readonly sketch: PodSketch;
  readonly runMinutes: number;
}

/** Reads the trace from the folder or from its subfolder `openb`. */
export function readOpenb(folder: string): OpenbTrace {
  const home = [folder, join(folder, 'openb')].find((each) => existsSync(join(each, NODES_FILE)));
  if (home === undefined) {
    throw new TraceFault(
      `${folder}: no ${NODES_FILE} in this folder nor in its subfolder openb; ` +
        'give the folder with the CSV files of cluster-trace-gpu-v2023 (github.com/alibaba/clusterdata)',
    );
  }
  return {
    nodes: readRows(join(home, NODES_FILE), ['sn', 'cpu_milli', 'memory_mib', 'gpu', 'model']).map(openbNode),
    pods: readRows(join(home, PODS_FILE), ['name', 'cpu_milli', 'memory_mib', 'num_gpu', 'gpu_milli']).map(openbPod),
  };
}

/** A random sample of the nodes, in name order; all of them where `count` is undefined or larger. */
export function openbNodes(trace: OpenbTrace, seed: number, count: number | undefined): readonly NodeManifest[] {
  if (count === undefined || count >= trace.nodes.length) return trace.nodes;
  const sample = shuffled(trace.nodes, seededRandom(seed, 'openb nodes')).slice(0, count);
  return sample.sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1));
}

/** The pods in a random order; once through, they come again under new names. Endless. */
export function openbWorkload(trace: OpenbTrace, seed: number): Workload {
  const order = shuffled(trace.pods, seededRandom(seed, 'openb pods'));
  let at = 0;
  return {
    title: 'openb trace, pods in random order',
    next: () => {
      const arrival = order[at % Math.max(1, order.length)];
      if (arrival === undefined) return undefined;
      const round = Math.floor(at++ / order.length);
      const name = round === 0 ? arrival.sketch.name : `${arrival.sketch.name}-again-${round}`;
      return { pod: gpuPod({ ...arrival.sketch, name }), runMinutes: arrival.runMinutes };
    },
  };
}

function openbNode(row: Row): NodeManifest {
  const gpus = row.count('gpu', 0, MAX_GPUS_PER_NODE);
  const gpu = { model: row.text('model') || 'unknown', memoryMiB: MILLI_PER_GPU, slices: MILLI_PER_GPU };
  return gpuNode(row.name('sn'), {
    gpus: Array.from({ length: gpus }, () => gpu),
    cpuMilli: row.count('cpu_milli', 0, MAX_AMOUNT),
    memoryMiB: row.count('memory_mib', 0, MAX_AMOUNT),
    pods: PODS_PER_NODE,
    unitMiB: 1,
    bridged: false,
  });
}

function openbPod(row: Row): OpenbPod {
  const gpuCount = row.count('num_gpu', 0, MAX_GPUS_PER_NODE);
  const [leastRun, mostRun] = RUN_SECONDS;
  const seconds = row.seconds('deletion_time') - row.seconds('scheduled_time');
  const sketch: PodSketch = {
    name: row.name('name'),
    app: gpuCount === 0 ? 'cpu-only' : gpuCount > 1 ? 'multi-gpu' : 'gpu',
    class: row.text('qos') === 'BE' ? 'batch' : 'online',
    cpuMilli: row.count('cpu_milli', 0, MAX_AMOUNT),
    memoryMiB: row.count('memory_mib', 0, MAX_AMOUNT),
    gpuCount,
    slicesPerGpu: gpuCount === 0 ? 0 : row.count('gpu_milli', 1, MILLI_PER_GPU),
    corePerGpu: 0,
    models: gpuCount === 0 ? '' : row.text('gpu_spec'),
  };
  return { sketch, runMinutes: Math.min(mostRun, Math.max(leastRun, seconds)) / 60 };
}

interface Row {
  text(column: string): string;
  name(column: string): string;
  count(column: string, least: number, most: number): number;
  /** A point in time; 0 where the trace leaves it open. */
  seconds(column: string): number;
}

function readRows(file: string, needed: readonly string[]): Row[] {
  const [head = '', ...lines] = readText(file).trimEnd().split(/\r?\n/);
  const columns = new Map(head.split(',').map((name, at) => [name, at]));
  const missing = needed.filter((name) => !columns.has(name));
  if (missing.length > 0) {
    throw new TraceFault(`${file}:1: no column ${missing.join(', ')}; is it the file as published, with its heading?`);
  }
  return lines.map((line, at) => rowOf(line.split(','), columns, `${file}:${at + 2}`));
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TraceFault(`${file}: cannot be read (${reason}); put the CSV beside the node list`);
  }
}

function rowOf(cells: readonly string[], columns: ReadonlyMap<string, number>, place: string): Row {
  const text = (column: string): string => cells[columns.get(column) ?? -1] ?? '';
  const demand = (column: string, expected: string): never => {
    throw new TraceFault(`${place}: ${column} is "${text(column).slice(0, 40)}"; expected ${expected}`);
  };
  return {
    text,
    name: (column) => {
      const name = text(column);
      return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name) ? name : demand(column, 'a Kubernetes name');
    },
    count: (column, least, most) => {
      const value = /^\d{1,10}$/.test(text(column)) ? Number(text(column)) : -1;
      return value >= least && value <= most ? value : demand(column, `a whole number from ${least} to ${most}`);
    },
    seconds: (column) => (/^\d{1,10}$/.test(text(column)) ? Number(text(column)) : 0),
  };
}
