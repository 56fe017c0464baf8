// The bounds of one trace over its seeds. What does not depend on the seed is computed once.

import { capacityMilli, MILLI_PER_GPU, type PodList, type SimulatedNode, type Workload } from '../workload.ts';
import { meanBounds, neverHosted, noRefusalPercent, placementBounds, type AllocationBounds } from './bounds.ts';
import { arriving, inflated, listed, type PodClass } from './demand.ts';
import type { Solver } from './solver.ts';

/** Pods on nodes, without an order. */
export interface Instance {
  readonly trace: string;
  /** The seed of the arrivals; undefined where the demand is the list in proportion. */
  readonly seed: number | undefined;
  readonly nodes: readonly SimulatedNode[];
  readonly list: PodList;
  readonly demand: readonly PodClass[];
}

export interface SeedBounds extends AllocationBounds {
  readonly seed: number | undefined;
}

export interface TraceBounds {
  readonly trace: string;
  readonly nodes: number;
  readonly gpus: number;
  /** GPU pods of the first list that no node could host even when empty. */
  readonly neverHosted: number;
  /** Over the seeds. */
  readonly mean: AllocationBounds;
  readonly perSeed: readonly SeedBounds[];
}

/** The pods that arrive in a workload. */
export function instanceOf({ trace, seed, nodes, list, order }: Workload): Instance {
  return { trace, seed, nodes, list, demand: arriving(list, order.pods) };
}

/** The list in proportion, at `load` times all GPUs: what inflation by lot gives on average. */
export function averageInstance(trace: string, nodes: readonly SimulatedNode[], list: PodList, load: number): Instance {
  return { trace, seed: undefined, nodes, list, demand: inflated(nodes, listed(list), load) };
}

/** The instances are of one trace. `finished` is told after each. */
export async function traceBounds(
  solver: Solver,
  instances: AsyncIterable<Instance>,
  finished: () => void,
): Promise<TraceBounds> {
  let first: Instance | undefined;
  let kept: { readonly list: PodList; readonly noRefusal: number | undefined } | undefined;
  const perSeed: SeedBounds[] = [];
  for await (const instance of instances) {
    const { seed, nodes, list, demand } = instance;
    first ??= instance;
    if (kept?.list !== list) kept = { list, noRefusal: noRefusalPercent(solver, nodes, listed(list)) };
    perSeed.push({ seed, noRefusalPercent: kept.noRefusal, ...placementBounds(solver, nodes, demand) });
    finished();
  }
  if (first === undefined) throw new RangeError('no instance to bound');
  const { trace, nodes, list } = first;
  return {
    trace,
    nodes: nodes.length,
    gpus: capacityMilli(nodes) / MILLI_PER_GPU,
    neverHosted: neverHosted(nodes, listed(list)),
    mean: meanBounds(perSeed),
    perSeed,
  };
}
