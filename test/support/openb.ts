// The openb trace (Alibaba, 2023) from a folder outside the repository. Tests that need it skip without it.

import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { NodeRecord, PodRequest } from '../../extender/core/model.ts';

/** `GPULOOM_TRACES` names the folder; by default the one beside the checkout. Undefined where there is none. */
export function openbFolder(): string | undefined {
  const folder = join(process.env['GPULOOM_TRACES'] ?? resolve(import.meta.dirname, '../../../shared/traces'), 'openb');
  return existsSync(join(folder, 'openb_node_list_gpu_node.csv')) ? folder : undefined;
}

export interface OpenbRun {
  /** In tie-break order; names carry their position so that name order is that order. */
  readonly nodes: readonly NodeRecord[];
  /** The pod list before inflation. */
  readonly list: readonly PodRequest[];
  /** Arrivals, as rows of `list`. */
  readonly arrivals: readonly number[];
}

export function readOpenb(folder: string, trace: string, seed: number): OpenbRun {
  const rows = (file: string): string[][] =>
    readFileSync(join(folder, file), 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.split(','));
  const lines = gunzipSync(readFileSync(join(folder, 'arrivals', `${trace}.jsonl.gz`)))
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { seed: number; nodes: number[]; pods: number[] });
  const order = lines.find((line) => line.seed === seed);
  if (order === undefined) throw new Error(`${trace} has no arrivals of seed ${seed}`);
  const nodeRows = rows('openb_node_list_gpu_node.csv');
  return {
    nodes: order.nodes.map((row, position) => openbNode(nodeRows[row] ?? [], position)),
    list: rows(`openb_pod_list_${trace}.csv`).map(openbRequest),
    arrivals: order.pods,
  };
}

function openbNode([name = '', cpu, memory, gpus, model = '']: readonly string[], position: number): NodeRecord {
  return {
    name: `${String(position).padStart(4, '0')}-${name}`,
    uid: name,
    address: '',
    allocatable: { cpuMilli: Number(cpu), memoryMiB: Number(memory) },
    gpus: {
      kind: 'inventory',
      source: 'gpuloom',
      inventory: {
        unitMiB: 1,
        isolation: 'none',
        links: [],
        gpus: Array.from({ length: Number(gpus) }, (_, index) => ({
          uuid: `${name}-${index}`,
          index,
          minor: index,
          model,
          memoryMiB: 1000,
          slices: 1000,
          numa: -1,
          health: 'healthy' as const,
        })),
      },
    },
  };
}

function openbRequest([, cpu, memory, gpus, milli, spec]: readonly string[]): PodRequest {
  const none = { required: undefined, forbidden: undefined, preferred: undefined, avoided: undefined };
  return {
    gpuCount: Number(gpus),
    slicesPerGpu: Number(milli),
    corePerGpu: 0,
    containers: [],
    class: 'online',
    gang: false,
    models: { allow: spec === undefined || spec === '' ? [] : spec.split('|'), deny: [] },
    uuids: [],
    affinities: none,
    policy: undefined,
    host: { cpuMilli: Number(cpu), memoryMiB: Number(memory) },
    isolation: 'none',
    hasSoftPreferences: false,
  };
}
