// From the flags of `run` and `compare` to a driver. A flag that the chosen driver has no use for is a fault, not a
// flag without effect.

import type { SimulatedPolicyName } from '../policy/selection.ts';
import { DIRECT, SHIPPED_SCHEDULER, type CpuPods, type DriverSettings, type InTreeScores } from '../run/driver.ts';
import { TraceFault } from '../trace/fault.ts';
import type { Ranking } from '../../extender/core/ranking.ts';

export const DRIVERS = ['direct', 'scheduler'] as const;
export const IN_TREE_SCORES = ['stock', 'most-allocated', 'none'] as const;

export interface DriverFlags {
  readonly driver: DriverSettings['kind'];
  readonly ranking?: Ranking;
  readonly narrow?: number;
  readonly weight?: number;
  readonly percentageOfNodesToScore?: number;
  readonly inTreeScores?: InTreeScores;
  readonly cpuPods?: CpuPods;
}

const SCHEDULER_FLAGS: readonly (readonly [keyof DriverFlags, string])[] = [
  ['ranking', '--ranking'],
  ['narrow', '--narrow'],
  ['weight', '--weight'],
  ['percentageOfNodesToScore', '--percentage-of-nodes-to-score'],
  ['inTreeScores', '--in-tree-scores'],
  ['cpuPods', '--cpu-pods'],
];

/** The driver for these policies. */
export function driverOf(flags: DriverFlags, policies: readonly SimulatedPolicyName[]): DriverSettings {
  if (flags.driver === 'direct') {
    const idle = SCHEDULER_FLAGS.find(([name]) => flags[name] !== undefined);
    if (idle === undefined) return DIRECT;
    throw new TraceFault(`${idle[1]}: only kube-scheduler does this; add --driver scheduler, or leave the flag out`);
  }
  if (policies.includes('random')) {
    throw new TraceFault('--driver scheduler: the policy random ranks no nodes; use --driver direct for it');
  }
  const shipped = SHIPPED_SCHEDULER;
  return {
    kind: 'scheduler',
    ranking: flags.ranking ?? shipped.ranking,
    narrow: flags.narrow ?? shipped.narrow,
    weight: flags.weight ?? shipped.weight,
    percentageOfNodesToScore: flags.percentageOfNodesToScore ?? shipped.percentageOfNodesToScore,
    inTreeScores: flags.inTreeScores ?? shipped.inTreeScores,
    cpuPods: flags.cpuPods ?? shipped.cpuPods,
  };
}
