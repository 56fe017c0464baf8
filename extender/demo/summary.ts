// The figures at the end of a run. No times and no addresses: the same seed gives the same summary. Pure.

import { isOverCapacity, type Occupancy } from './occupancy.ts';
import type { Tally } from './tally.ts';

export interface SummaryFacts {
  readonly workload: string;
  readonly seed: number;
  readonly policy: string;
  /** The run was ended before its arrivals were. */
  readonly interrupted: boolean;
}

export interface Summary extends SummaryFacts {
  readonly nodes: number;
  readonly gpus: number;
  readonly arrived: number;
  readonly placed: number;
  readonly refused: number;
  /** Number of refused pods by reason; they add up to `refused`. */
  readonly reasons: Readonly<Record<string, number>>;
  /** GPUs that hold more slices or more compute than they have. */
  readonly gpusOverCapacity: number;
  /** Bound pods whose allocation annotation does not say what they asked for. */
  readonly allocationsAmiss: number;
  /** GPUs in use, shared by several pods, and shared by online and batch pods. */
  readonly gpusInUse: number;
  readonly gpusShared: number;
  readonly gpusWoven: number;
  readonly slices: number;
  readonly onlineSlices: number;
  readonly batchSlices: number;
  readonly allocationPercent: number;
}

export interface GpuTotals {
  readonly gpus: number;
  readonly inUse: number;
  readonly shared: number;
  readonly woven: number;
  readonly overCapacity: number;
  readonly slices: number;
  readonly onlineSlices: number;
  readonly batchSlices: number;
  readonly allocationPercent: number;
}

export function gpuTotals({ nodes }: Occupancy): GpuTotals {
  const gpus = nodes.flatMap((node) => node.gpus);
  const slices = sum(gpus, (gpu) => gpu.slices);
  const onlineSlices = sum(gpus, (gpu) => gpu.onlineSlices);
  const batchSlices = sum(gpus, (gpu) => gpu.batchSlices);
  return {
    gpus: gpus.length,
    inUse: gpus.filter((gpu) => gpu.onlinePods + gpu.batchPods > 0).length,
    shared: gpus.filter((gpu) => gpu.onlinePods + gpu.batchPods > 1).length,
    woven: gpus.filter((gpu) => gpu.onlinePods > 0 && gpu.batchPods > 0).length,
    overCapacity: gpus.filter(isOverCapacity).length,
    slices,
    onlineSlices,
    batchSlices,
    allocationPercent: percent(onlineSlices + batchSlices, slices),
  };
}

/** Two digits after the point; 0 of nothing is 0. */
export function percent(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((part / whole) * 10_000) / 100;
}

function sum<T>(items: readonly T[], amount: (item: T) => number): number {
  return items.reduce((total, item) => total + amount(item), 0);
}

export function summarizeRun(tally: Tally, occupancy: Occupancy, facts: SummaryFacts): Summary {
  const totals = gpuTotals(occupancy);
  const reasons = tally.causes();
  const explained = reasons.reduce((total, { count }) => total + count, 0);
  const { arrived, placed, pending } = tally;
  const untried = pending > explained ? { 'not tried before the end': pending - explained } : {};
  return {
    workload: facts.workload,
    seed: facts.seed,
    policy: facts.policy,
    interrupted: facts.interrupted,
    nodes: occupancy.nodes.length,
    gpus: totals.gpus,
    arrived,
    placed,
    refused: pending,
    reasons: { ...Object.fromEntries(reasons.map(({ reason, count }) => [reason, count])), ...untried },
    gpusOverCapacity: totals.overCapacity,
    allocationsAmiss: occupancy.allocationsAmiss.length,
    gpusInUse: totals.inUse,
    gpusShared: totals.shared,
    gpusWoven: totals.woven,
    slices: totals.slices,
    onlineSlices: totals.onlineSlices,
    batchSlices: totals.batchSlices,
    allocationPercent: totals.allocationPercent,
  };
}
