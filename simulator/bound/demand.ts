// What a bound is taken over: nodes by shape, and pods by class with how many there are of each. Order and names do not
// matter to a bound, so equal nodes and equal pods are one entry with a count.

import type { PodRequest } from '../../extender/core/model.ts';
import { capacityMilli, milliOf, type PodList, type SimulatedNode } from '../workload.ts';

/** Nodes that differ only in name. */
export interface NodeShape {
  readonly model: string;
  readonly gpus: number;
  readonly cpuMilli: number;
  readonly memoryMiB: number;
  readonly nodes: number;
}

/** Pods that ask for the same. A count may be a fraction: a class in proportion to a mix. */
export interface PodClass {
  readonly request: PodRequest;
  readonly pods: number;
}

export function nodeShapes(nodes: readonly SimulatedNode[]): readonly NodeShape[] {
  const counts = new Map<string, { readonly node: SimulatedNode; nodes: number }>();
  for (const node of nodes) {
    const { model, gpus, cpuMilli, memoryMiB } = node;
    const key = [gpus > 0 ? model : '', gpus, cpuMilli, memoryMiB].join('|');
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { node, nodes: 1 });
    else known.nodes++;
  }
  return [...counts.values()].map(({ node: { model, gpus, cpuMilli, memoryMiB }, nodes }) => {
    return { model, gpus, cpuMilli, memoryMiB, nodes };
  });
}

/** Every pod of the list once. */
export function listed(list: PodList): readonly PodClass[] {
  return counted(list, list.pods.keys());
}

/** Pods of the list by position, as often as they arrive. */
export function arriving(list: PodList, arrivals: ArrayLike<number>): readonly PodClass[] {
  return counted(list, Array.from(arrivals));
}

/** The list in proportion, so that it asks for `load` times all GPUs; as it is where it asks for none. */
export function inflated(
  nodes: readonly SimulatedNode[],
  classes: readonly PodClass[],
  load: number,
): readonly PodClass[] {
  const milli = demandMilli(classes);
  if (milli === 0) return classes;
  const factor = (load * capacityMilli(nodes)) / milli;
  return classes.map(({ request, pods }) => ({ request, pods: pods * factor }));
}

export function demandMilli(classes: readonly PodClass[]): number {
  return classes.reduce((sum, { request, pods }) => sum + pods * milliOf(request), 0);
}

function counted({ requests, pods }: PodList, positions: Iterable<number>): readonly PodClass[] {
  const counts = requests.map(() => 0);
  for (const position of positions) {
    const at = pods[position];
    if (at === undefined) throw new RangeError(`no pod ${position} in the list`);
    counts[at] = (counts[at] ?? 0) + 1;
  }
  return requests.map((request, at) => ({ request, pods: counts[at] ?? 0 })).filter(({ pods }) => pods > 0);
}

/** Whether an empty node of the shape can host a pod of the class. */
export function canHost(shape: NodeShape, { gpuCount, models, host }: PodRequest): boolean {
  if (host.cpuMilli > shape.cpuMilli || host.memoryMiB > shape.memoryMiB || gpuCount > shape.gpus) return false;
  return gpuCount === 0 || models.allow.length === 0 || models.allow.includes(shape.model);
}
