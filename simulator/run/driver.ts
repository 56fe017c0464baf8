// Who chooses the node for a pod, once the engine has its verdicts. Settings are plain data: they travel to threads and
// into results.

import type { Ranking } from '../../extender/core/ranking.ts';
import type { Shape } from '../../extender/core/shape.ts';

/** No node can host the pod as things are. */
export const NO_NODE_FITS = -1;
/** Some node can, but none of those that were looked at. */
export const NO_NODE_SEEN = -2;

export interface Driver {
  /** The index of a node that fits, or one of the two above. Call it once for each attempt to place a pod. */
  choose(shape: Shape): number;
}

/** Who places pods without GPUs. */
export type CpuPods =
  /** The in-tree scores alone: with managedResources the extender is never asked about such pods. */
  | 'in-tree'
  /** The policy, as in the FGD experiments. */
  | 'policy';

/** Which score plugins of kube-scheduler tell nodes apart. */
export type InTreeScores =
  /** NodeResourcesLeastAllocated and NodeResourcesBalancedAllocation, as in the default profile. */
  | 'stock'
  /** NodeResourcesMostAllocated in the place of both. */
  | 'most-allocated'
  | 'none';

/** kube-scheduler's configuration and the extender's, as far as they bear on the choice of a node. */
export interface SchedulerSettings {
  readonly kind: 'scheduler';
  readonly ranking: Ranking;
  /** Nodes that filter hands back, under decisive ranking only the first of them; 0 = every feasible one. */
  readonly narrow: number;
  /** Of the extender in kube-scheduler's configuration. */
  readonly weight: number;
  /** 0 = kube-scheduler's default formula. */
  readonly percentageOfNodesToScore: number;
  readonly inTreeScores: InTreeScores;
  readonly cpuPods: CpuPods;
}

export type DriverSettings = { readonly kind: 'direct' } | SchedulerSettings;

export const DIRECT: DriverSettings = { kind: 'direct' };

/**
 * The configuration that is shipped in deploy/scheduler, with the extender's defaults; but every pod is the policy's, as
 * in the published experiments. docs/decisions/0016 tells what becomes of pods without GPUs in a real cluster.
 */
export const SHIPPED_SCHEDULER: SchedulerSettings = {
  kind: 'scheduler',
  ranking: 'decisive',
  narrow: 32,
  weight: 200,
  percentageOfNodesToScore: 100,
  inTreeScores: 'stock',
  cpuPods: 'policy',
};
