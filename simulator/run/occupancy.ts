// What is taken of every GPU at the end of a run, in a form that is short in JSON and can be read: one line of text for
// each node, `name,model,milli|milli|…` with the allocated milli of its GPUs in order of their index.

import type { ClusterState } from '../../extender/core/state.ts';
import { MILLI_PER_GPU, type Workload } from '../workload.ts';

export interface NodeOccupancy {
  readonly name: string;
  readonly model: string;
  readonly allocatedMilli: readonly number[];
}

/** Nodes with GPUs, in the order of the node list. */
export function occupancyLines(state: ClusterState, { nodes, order }: Workload): readonly string[] {
  const lines: string[] = nodes.map(() => '');
  for (let position = 0; position < order.nodes.length; position++) {
    const row = order.nodes[position] ?? -1;
    const node = nodes[row];
    if (node === undefined || node.gpus === 0) continue;
    const start = state.gpuStart[position] ?? 0;
    let line = `${node.name},${node.model}`;
    for (let gpu = 0; gpu < node.gpus; gpu++) {
      line += `${gpu === 0 ? ',' : '|'}${MILLI_PER_GPU - (state.gpuFree[start + gpu] ?? 0)}`;
    }
    lines[row] = line;
  }
  return lines.filter((line) => line !== '');
}

/** Undefined where the line has another form. */
export function parseOccupancy(line: string): NodeOccupancy | undefined {
  const match = /^([^,]{1,253}),([^,]{0,63}),(\d{1,4}(?:\|\d{1,4}){0,63})$/.exec(line);
  if (match === null) return undefined;
  const [, name = '', model = '', milli = ''] = match;
  const allocatedMilli = milli.split('|').map(Number);
  return allocatedMilli.every((each) => each <= MILLI_PER_GPU) ? { name, model, allocatedMilli } : undefined;
}
