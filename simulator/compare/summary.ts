// From single runs to a table: mean and deviation over seeds for each trace and policy, beside what is published, and
// the verdict whether they agree. Pure.

import { allocationBounds, publishedResult, PUBLISHED_SEEDS, type MeanAndDeviation } from '../published/results.ts';
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
  readonly refused: number;
  readonly published: { readonly allocation: MeanAndDeviation; readonly fragmentation: MeanAndDeviation } | undefined;
  readonly agreement: Agreement;
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
  const refused = group.reduce((sum, each) => sum + each.refused, 0) / group.length;
  const verdicts: readonly Agreement[] =
    published === undefined || policy === 'random' || driver !== 'direct'
      ? ['unknown']
      : [agreement(seeds, allocation, published.allocation), agreement(seeds, fragmentation, published.fragmentation)];
  const worst = WORST_FIRST.find((each) => verdicts.includes(each));
  return { trace, policy, seeds, allocation, fragmentation, refused, published, agreement: worst ?? 'unknown' };
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

/** Mean and sample deviation. */
export function statistics(values: readonly number[]): MeanAndDeviation {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1)) };
}

export function comparisonTable(comparisons: readonly Comparison[]): string {
  const head = ['trace', 'policy', 'seeds', 'allocated %', 'published', 'fragmented %', 'published', 'refused', ''];
  const rows = comparisons.map((each) => [
    each.trace,
    each.policy,
    String(each.seeds.length),
    shown(each.allocation),
    shown(each.published?.allocation),
    shown(each.fragmentation),
    shown(each.published?.fragmentation),
    each.refused.toFixed(1),
    each.agreement === 'unknown' ? '' : each.agreement,
  ]);
  return [table(head, rows), ...boundLines(comparisons)].join('\n');
}

function boundLines(comparisons: readonly Comparison[]): string[] {
  const traces = [...new Set(comparisons.map(({ trace }) => trace))];
  const lines = traces.flatMap((trace) => {
    const bounds = allocationBounds(trace);
    if (bounds === undefined) return [];
    const first = bounds.noRefusal === undefined ? '-' : bounds.noRefusal.toFixed(2);
    return [[trace, first, bounds.linear.toFixed(2)]];
  });
  if (lines.length === 0) return [];
  return ['', table(['trace', 'no refusal up to %', 'upper bound %'], lines)];
}

function shown(value: MeanAndDeviation | undefined): string {
  return value === undefined ? '' : `${value.mean.toFixed(2)} ± ${value.deviation.toFixed(2)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const isText = (at: number): boolean => at < 2 || at === head.length - 1;
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => (isText(at) ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
