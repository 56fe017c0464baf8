// The two CSV files of an openb trace (Alibaba, 2023): node list and pod list, with every rule of their columns.
// Times and quality of service are read for timed runs only; the published experiments ignore them.

import { basename } from 'node:path';

import { MAX_GPUS_PER_NODE } from '../../extender/core/inventory-codec.ts';
import type { TimedPodList } from '../timed/workload.ts';
import { MILLI_PER_GPU, PodListBuilder, type PodList, type SimulatedNode } from '../workload.ts';
import { readCsv, type Column, type Row } from './csv.ts';
import { faultAt, quoted, TraceFault } from './fault.ts';

const CPU: Column = { name: 'cpu_milli', meaning: 'CPU in thousandths of a core (96000 = 96 cores)' };
const MEMORY: Column = { name: 'memory_mib', meaning: 'main memory in MiB (393216 = 384 GiB)' };
const NODE_COLUMNS: readonly Column[] = [
  { name: 'sn', meaning: 'the name of the node' },
  CPU,
  MEMORY,
  { name: 'gpu', meaning: 'the number of GPUs in the node' },
  { name: 'model', meaning: 'the model of all GPUs in the node, empty without GPUs' },
];
const POD_COLUMNS: readonly Column[] = [
  { name: 'name', meaning: 'the name of the pod' },
  CPU,
  MEMORY,
  { name: 'num_gpu', meaning: 'the whole number of GPUs asked for, 0 for none' },
  { name: 'gpu_milli', meaning: 'thousandths of each GPU asked for (1000 = the whole GPU), 0 without GPUs' },
];
const SPEC: Column = { name: 'gpu_spec', meaning: 'admissible GPU models joined by |' };
const CREATED: Column = { name: 'creation_time', meaning: 'when the pod was created, in seconds' };
const DELETED: Column = { name: 'deletion_time', meaning: 'when the pod was gone, in seconds' };
/** Positions of `TIME_COLUMNS` behind the columns of a pod. */
const TIME_COLUMNS: readonly Column[] = [CREATED, DELETED];
const TIME_OPTIONAL: readonly Column[] = [
  SPEC,
  { name: 'scheduled_time', meaning: 'when the pod got its node, in seconds; empty where it never did' },
  { name: 'qos', meaning: 'BE for interruptible work, anything else for latency-sensitive work' },
];
/** A thousand years: later times are in a smaller unit. */
const MAX_TIME_SECONDS = 31_557_600_000;
const BATCH_QOS = 'BE';

/** Far above every machine there is, and far below the same amounts in a smaller unit. */
const MAX_CPU_MILLI = 10_000_000;
const MAX_MEMORY_MIB = 64 * 1024 * 1024;
/** The largest node of a cluster has more than this, and no list of GPU work asks for less throughout. */
const LEAST_NODE_CPU_MILLI = 1000;
const LEAST_NODE_MEMORY_MIB = 2048;
const LEAST_POD_CPU_MILLI = 200;
const LEAST_POD_MEMORY_MIB = 1024;

const NAME = /^[A-Za-z0-9]([-._A-Za-z0-9]{0,251}[A-Za-z0-9])?$/;
const MODEL = /^[A-Za-z0-9][-._ A-Za-z0-9]{0,62}$/;

export async function readNodes(file: string): Promise<readonly SimulatedNode[]> {
  const nodes: SimulatedNode[] = [];
  const names = new NameCheck('node');
  await readCsv(file, NODE_COLUMNS, [], (row) => {
    const gpus = row.whole(3, 0, MAX_GPUS_PER_NODE);
    const model = row.text(4);
    if (gpus > 0 && !MODEL.test(model)) {
      throw row.fault(
        `model is ${quoted(model)} on a node with ${gpus} GPUs`,
        'write the model of its GPUs, such as T4',
      );
    }
    nodes.push({
      name: names.take(row, 0),
      cpuMilli: row.whole(1, 0, MAX_CPU_MILLI),
      memoryMiB: row.whole(2, 0, MAX_MEMORY_MIB),
      gpus,
      model,
    });
  });
  checkUnit(file, CPU, 'node', largest(nodes, 'cpuMilli'), LEAST_NODE_CPU_MILLI);
  checkUnit(file, MEMORY, 'node', largest(nodes, 'memoryMiB'), LEAST_NODE_MEMORY_MIB);
  if (nodes.every(({ gpus }) => gpus === 0)) {
    throw new TraceFault(`${file}: no node has a GPU; check the column gpu, it holds the number of GPUs`);
  }
  return nodes;
}

export async function readPods(file: string): Promise<PodList> {
  const list = new PodListBuilder();
  const names = new NameCheck('pod');
  let mostCpuMilli = 0;
  let mostMemoryMiB = 0;
  await readCsv(file, POD_COLUMNS, [SPEC], (row) => {
    const pod = podOf(row, names, row.text(POD_COLUMNS.length));
    mostCpuMilli = Math.max(mostCpuMilli, pod.cpuMilli);
    mostMemoryMiB = Math.max(mostMemoryMiB, pod.memoryMiB);
    list.add(pod.cpuMilli, pod.memoryMiB, pod.gpus, pod.milli, pod.models);
  });
  checkUnit(file, CPU, 'pod', mostCpuMilli, LEAST_POD_CPU_MILLI);
  checkUnit(file, MEMORY, 'pod', mostMemoryMiB, LEAST_POD_MEMORY_MIB);
  return list.build();
}

/**
 * The pods with their times and classes. A pod runs from when it was scheduled until it was gone; one that never was
 * scheduled, from its creation.
 */
export async function readTimedPods(file: string): Promise<TimedPodList & { readonly createdMillis: Float64Array }> {
  const list = new PodListBuilder();
  const names = new NameCheck('pod');
  const created: number[] = [];
  const durations: number[] = [];
  await readCsv(file, [...POD_COLUMNS, ...TIME_COLUMNS], TIME_OPTIONAL, (row) => {
    const optional = POD_COLUMNS.length + TIME_COLUMNS.length;
    const pod = podOf(row, names, row.text(optional));
    const createdSeconds = row.whole(POD_COLUMNS.length, 0, MAX_TIME_SECONDS);
    const deletedSeconds = row.whole(POD_COLUMNS.length + 1, 0, MAX_TIME_SECONDS);
    const scheduled = row.text(optional + 1);
    const fromSeconds = scheduled === '' ? createdSeconds : row.whole(optional + 1, 0, MAX_TIME_SECONDS);
    if (fromSeconds < createdSeconds || deletedSeconds < fromSeconds) {
      const what = `created at ${createdSeconds}, scheduled at ${quoted(scheduled)}, gone at ${deletedSeconds}`;
      throw row.fault(what, 'put the times in this order; leave scheduled_time empty where there was none');
    }
    const podClass = row.text(optional + 2) === BATCH_QOS ? 'batch' : 'online';
    list.add(pod.cpuMilli, pod.memoryMiB, pod.gpus, pod.milli, pod.models, podClass);
    created.push(createdSeconds * 1000);
    durations.push((deletedSeconds - fromSeconds) * 1000);
  });
  return {
    list: list.build(),
    createdMillis: Float64Array.from(created),
    durationMillis: Float64Array.from(durations),
  };
}

interface PodRow {
  readonly cpuMilli: number;
  readonly memoryMiB: number;
  readonly gpus: number;
  readonly milli: number;
  readonly models: string;
}

function podOf(row: Row, names: NameCheck, models: string): PodRow {
  names.take(row, 0);
  const cpuMilli = row.whole(1, 0, MAX_CPU_MILLI);
  const memoryMiB = row.whole(2, 0, MAX_MEMORY_MIB);
  const gpus = row.whole(3, 0, MAX_GPUS_PER_NODE);
  const milli = row.whole(4, 0, MILLI_PER_GPU);
  checkGpus(row, gpus, milli, models);
  return { cpuMilli, memoryMiB, gpus, milli, models };
}

/** What a pod list is called: its file's name, short for the lists of openb. */
export function traceNameOf(podsFile: string): string {
  return basename(podsFile, '.csv').replace(/^openb_pod_list_/, '');
}

function checkGpus(row: Row, gpus: number, milli: number, models: string): void {
  if (gpus === 0 && milli > 0)
    throw row.fault(`gpu_milli is ${milli} but num_gpu is 0`, 'write 0, or the number of GPUs');
  if (gpus > 0 && milli === 0) {
    throw row.fault(`gpu_milli is 0 but num_gpu is ${gpus}`, 'write thousandths of each GPU: 1000 for whole GPUs');
  }
  if (gpus > 1 && milli < MILLI_PER_GPU) {
    const mend = 'a pod of several GPUs takes whole ones: write 1000 for each GPU, not a sum or a mean';
    throw row.fault(`gpu_milli is ${milli} with num_gpu ${gpus}`, mend);
  }
  if (models === '') return;
  if (gpus === 0) throw row.fault(`gpu_spec is ${quoted(models)} but num_gpu is 0`, 'leave it empty, or ask for GPUs');
  if (!models.split('|').every((model) => MODEL.test(model))) {
    throw row.fault(`gpu_spec is ${quoted(models)}`, 'write models joined by |, such as V100M16|V100M32, or nothing');
  }
}

class NameCheck {
  readonly #kind: string;
  readonly #lines = new Map<string, number>();

  constructor(kind: string) {
    this.#kind = kind;
  }

  take(row: Row, column: number): string {
    const name = row.text(column);
    if (!NAME.test(name)) {
      throw row.fault(`the ${this.#kind} is named ${quoted(name)}`, 'use letters, digits, "-", "." and "_"');
    }
    const known = this.#lines.get(name);
    if (known !== undefined) {
      throw row.fault(
        `a second ${this.#kind} named ${quoted(name)}, as on line ${known}`,
        'give each a name of its own',
      );
    }
    this.#lines.set(name, row.line);
    return name;
  }
}

function largest(nodes: readonly SimulatedNode[], amount: 'cpuMilli' | 'memoryMiB'): number {
  return nodes.reduce((most, node) => Math.max(most, node[amount]), 0);
}

/** Amounts of one column that are small throughout are in a larger unit than the column says. */
function checkUnit(file: string, { name, meaning }: Column, kind: string, most: number, least: number): void {
  if (most >= least || most === 0) return;
  throw faultAt(file, 1, `no ${kind} has more than ${most} in ${name}`, `the unit looks wrong: write ${meaning}`);
}
