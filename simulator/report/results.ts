// What a report shows, whatever it came from: for each trace its policies with means over seeds, and the bounds.

import type { AllocationBounds } from '../bound/bounds.ts';
import { knownBoundsOf } from '../bound/known.ts';
import type { TraceBounds } from '../bound/trace-bounds.ts';
import type { Comparison } from '../compare/summary.ts';
import type { CompareResult } from '../compare/task.ts';
import type { CurvePoint } from '../run/curve.ts';
import type { DriverSettings } from '../run/driver.ts';
import { parseOccupancy, type NodeOccupancy } from '../run/occupancy.ts';
import type { RefusalCounts } from '../run/refusal.ts';
import type { MeanAndDeviation } from '../statistics.ts';

export interface PolicyReport {
  /** With its driver, where that is not `direct`. */
  readonly name: string;
  readonly seeds: readonly number[];
  /** At the last bin of arrived load, in percent of all GPUs. */
  readonly allocation: MeanAndDeviation;
  readonly fragmentation: MeanAndDeviation;
  readonly published: { readonly allocation: MeanAndDeviation; readonly fragmentation: MeanAndDeviation } | undefined;
  readonly refused: number;
  /** Undefined in files of older versions. */
  readonly refusedBy: RefusalCounts | undefined;
  /** Empty in files of older versions. */
  readonly curve: readonly CurvePoint[];
  readonly occupancy: FinalOccupancy | undefined;
}

/** Of one run. */
export interface FinalOccupancy {
  readonly seed: number;
  readonly nodes: readonly NodeOccupancy[];
}

export interface TraceReport {
  readonly trace: string;
  readonly policies: readonly PolicyReport[];
  readonly bounds: ReportedBounds | undefined;
}

export interface ReportedBounds {
  /** What they are means over, in words. */
  readonly over: string;
  readonly bounds: AllocationBounds;
}

/** What comparisons hold that a report needs; files of older versions lack some of it. */
export type ReportedComparison = Pick<
  Comparison,
  'trace' | 'policy' | 'seeds' | 'allocation' | 'fragmentation' | 'refused'
> &
  Partial<Pick<Comparison, 'published' | 'refusedBy' | 'curve'>>;

export function policyReport(
  { policy, seeds, allocation, fragmentation, refused, published, refusedBy, curve }: ReportedComparison,
  driver: DriverSettings['kind'],
  occupancy: FinalOccupancy | undefined,
): PolicyReport {
  const name = driver === 'direct' ? policy : `${policy} (${driver})`;
  return { name, seeds, allocation, fragmentation, published, refused, refusedBy, curve: curve ?? [], occupancy };
}

/** The occupancy of the first result that has one. */
export function occupancyOf(results: readonly Pick<CompareResult, 'seed' | 'occupancy'>[]): FinalOccupancy | undefined {
  const found = results.find(({ occupancy }) => occupancy !== undefined);
  if (found === undefined) return undefined;
  const nodes = (found.occupancy ?? []).map(parseOccupancy).filter((node) => node !== undefined);
  return { seed: found.seed, nodes };
}

/** Computed bounds where there are some, known ones otherwise. */
export function boundsFor(
  trace: string,
  computed: readonly Pick<TraceBounds, 'trace' | 'mean' | 'perSeed'>[],
): ReportedBounds | undefined {
  const found = computed.find((each) => each.trace === trace);
  if (found === undefined) return knownBoundsOf(trace)[0];
  return { over: found.perSeed.length === 1 ? '1 seed' : `${found.perSeed.length} seeds`, bounds: found.mean };
}
