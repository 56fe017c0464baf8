// The upper bounds of one workload, in percent of all GPUs. The programs behind
// them are in formulation.ts.

import { statistics } from '../statistics.ts';
import { capacityMilli, milliOf, MILLI_PER_GPU, type SimulatedNode } from '../workload.ts';
import { canHost, demandMilli, nodeShapes, type PodClass } from './demand.ts';
import { formulate, type Goal } from './formulation.ts';
import type { Solver } from './solver.ts';

export interface AllocationBounds {
  /**
   * Arrived load up to which a perfect policy can accept every pod that some node could host, where pods come in
   * proportion to the mix. Undefined without GPU pods.
   */
  readonly noRefusalPercent: number | undefined;
  /** Allocation that no policy can exceed, even one that knows all arrivals and refuses at will. */
  readonly linearPercent: number;
  /** The same for policies that place every CPU-only pod; undefined where the CPU-only pods alone do not fit. */
  readonly allCpuOnlyPercent: number | undefined;
}

/** The two bounds that depend on the pods that arrive. */
export function placementBounds(
  solver: Solver,
  nodes: readonly SimulatedNode[],
  demand: readonly PodClass[],
): Pick<AllocationBounds, 'linearPercent' | 'allCpuOnlyPercent'> {
  const shapes = nodeShapes(nodes);
  const gpus = capacityMilli(nodes) / MILLI_PER_GPU;
  const percent = (goal: Goal): number | undefined => {
    const solved = solver.solve(formulate(shapes, demand, goal));
    return solved.kind === 'optimal' ? cut((solved.proven / gpus) * 100) : undefined;
  };
  const linearPercent = percent('most placed');
  if (linearPercent === undefined) throw new Error('placing nothing is feasible, yet the solver calls it infeasible');
  return { linearPercent, allCpuOnlyPercent: percent('most placed, all CPU-only pods') };
}

/** See `AllocationBounds`. Does not depend on how many pods arrive, only on their proportions. */
export function noRefusalPercent(
  solver: Solver,
  nodes: readonly SimulatedNode[],
  mix: readonly PodClass[],
): number | undefined {
  const shapes = nodeShapes(nodes);
  const hostable = mix.filter(({ request }) => shapes.some((shape) => canHost(shape, request)));
  if (demandMilli(hostable) === 0) return undefined;
  const solved = solver.solve(formulate(shapes, hostable, 'most of the mix'));
  if (solved.kind === 'infeasible') throw new Error('placing nothing is feasible, yet the solver calls it infeasible');
  return cut(((solved.proven * demandMilli(mix)) / capacityMilli(nodes)) * 100);
}

/** GPU pods, of those listed, that no node could host even when empty. */
export function neverHosted(nodes: readonly SimulatedNode[], mix: readonly PodClass[]): number {
  const shapes = nodeShapes(nodes);
  const never = mix.filter(({ request }) => milliOf(request) > 0 && !shapes.some((shape) => canHost(shape, request)));
  return never.reduce((sum, { pods }) => sum + pods, 0);
}

/** Four decimals, upwards, so that it stays a bound; less the rounding of sums. */
function cut(percent: number): number {
  return Math.max(0, Math.ceil((percent - 1e-8) * 1e4) / 1e4);
}

/** Means over seeds; a value that some seed lacks is lacking. */
export function meanBounds(each: readonly AllocationBounds[]): AllocationBounds {
  const mean = (values: readonly (number | undefined)[]): number | undefined => {
    const known = values.filter((value) => value !== undefined);
    return known.length === values.length ? statistics(known).mean : undefined;
  };
  return {
    noRefusalPercent: mean(each.map((bounds) => bounds.noRefusalPercent)),
    linearPercent: statistics(each.map((bounds) => bounds.linearPercent)).mean,
    allCpuOnlyPercent: mean(each.map((bounds) => bounds.allCpuOnlyPercent)),
  };
}
