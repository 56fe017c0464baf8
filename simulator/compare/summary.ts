// From single runs to a table: mean and deviation over seeds for each trace and policy, beside what is published, and
// the verdict whether they agree. Pure.

import { publishedResult, PUBLISHED_SEEDS } from '../published/results.ts';
import { meanCurve, type CurvePoint } from '../run/curve.ts';
import type { RefusalCounts, RefusalReason } from '../run/refusal.ts';
import { shownStatistics, statistics, type MeanAndDeviation } from '../statistics.ts';
import { textTable } from '../text-table.ts';
import type { CompareResult } from './task.ts';

/** How the mean of ours stands to a published one. */
export type Agreement =
  /** Every published seed was run, and the mean agrees to two decimals. */
  | 'equal'
  /** Some of the published seeds were run; that many of ten values with the published mean and deviation can have this mean. */
  | 'possible'
  | 'different'
  | 'unknown';

const WORST_FIRST: readonly Agreement[] = ['different', 'unknown', 'possible', 'equal'];

export interface Comparison {
  readonly trace: string;
  readonly policy: string;
  readonly seeds: readonly number[];
  readonly allocation: MeanAndDeviation;
  readonly fragmentation: MeanAndDeviation;
  /** Refused pods, and those by reason: means. */
  readonly refused: number;
  readonly refusedBy: RefusalCounts;
  readonly published: { readonly allocation: MeanAndDeviation; readonly fragmentation: MeanAndDeviation } | undefined;
  readonly agreement: Agreement;
  /** Means over the seeds. */
  readonly curve: readonly CurvePoint[];
}

/** One comparison for each trace and policy, in the order of the results. */
export function compareWithPublished(results: readonly CompareResult[]): readonly Comparison[] {
  const groups = new Map<string, CompareResult[]>();
  for (const result of results) {
    const key = `${result.trace} ${result.policy}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [result]);
    else group.push(result);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    return first === undefined ? [] : [comparisonOf(first, group)];
  });
}

function comparisonOf({ trace, policy, driver }: CompareResult, group: readonly CompareResult[]): Comparison {
  const seeds = group.map(({ seed }) => seed);
  const allocation = statistics(group.map(({ atLoad }) => atLoad.allocationPercent));
  const fragmentation = statistics(group.map(({ atLoad }) => atLoad.fragmentationPercent));
  const published = publishedResult(trace, policy);
  const mean = (value: (each: CompareResult) => number): number =>
    group.reduce((sum, each) => sum + value(each), 0) / group.length;
  const refused = mean((each) => each.refused);
  const curve = meanCurve(group.map((each) => each.curve));
  const verdicts: readonly Agreement[] =
    published === undefined || policy === 'random' || driver !== 'direct'
      ? ['unknown']
      : [agreement(seeds, allocation, published.allocation), agreement(seeds, fragmentation, published.fragmentation)];
  const worst = WORST_FIRST.find((each) => verdicts.includes(each));
  return {
    trace,
    policy,
    seeds,
    allocation,
    fragmentation,
    refused,
    refusedBy: meanRefusals((reason) => mean((each) => each.refusedBy[reason])),
    published,
    agreement: worst ?? 'unknown',
    curve,
  };
}

function meanRefusals(mean: (reason: RefusalReason) => number): RefusalCounts {
  return {
    unseen: mean('unseen'),
    memory: mean('memory'),
    cpu: mean('cpu'),
    split: mean('split'),
    full: mean('full'),
    never: mean('never'),
  };
}

function agreement(seeds: readonly number[], ours: MeanAndDeviation, published: MeanAndDeviation): Agreement {
  const common = seeds.filter((seed) => PUBLISHED_SEEDS.includes(seed)).length;
  if (common !== seeds.length) return 'unknown';
  const all = PUBLISHED_SEEDS.length;
  if (common === all) return isSameTo2Decimals(ours.mean, published.mean) ? 'equal' : 'different';
  // No `common` of `all` values can have a mean further off; the published figures are rounded to 0.01.
  const furthest = (published.deviation + 0.005) * Math.sqrt((all - common) / common) + 0.005;
  return Math.abs(ours.mean - published.mean) <= furthest ? 'possible' : 'different';
}

/** Both round to the same hundredth, allowing for the binary form of a mean that ends in exactly half of one. */
function isSameTo2Decimals(mean: number, published: number): boolean {
  return Math.abs(mean - published) <= 0.005 + 1e-9;
}

export function comparisonTable(comparisons: readonly Comparison[]): string {
  const head = ['trace', 'policy', 'seeds', 'allocated %', 'published', 'fragmented %', 'published', 'refused', ''];
  const rows = comparisons.map((each) => [
    each.trace,
    each.policy,
    String(each.seeds.length),
    shownStatistics(each.allocation),
    shownStatistics(each.published?.allocation),
    shownStatistics(each.fragmentation),
    shownStatistics(each.published?.fragmentation),
    each.refused.toFixed(1),
    each.agreement === 'unknown' ? '' : each.agreement,
  ]);
  return textTable(head, rows, [0, 1, head.length - 1]);
}
