// The section of one trace: its figures as a table, then the drawings, then the tables behind the drawings.

import { REFUSAL_REASONS, type RefusalReason } from '../run/refusal.ts';
import { shownStatistics } from '../statistics.ts';
import { barPlot } from './bar-plot.ts';
import { heatMap, LEVEL_NAMES, levelOf } from './heat-map.ts';
import { linePlot, type Limit } from './line-plot.ts';
import { element, joined, type Child, type Markup } from './markup.ts';
import type { PolicyReport, ReportedBounds, TraceReport } from './results.ts';
import { stackedPlot } from './stacked-bars.ts';
import { dataTable } from './table.ts';

const REASON_WORDS: Readonly<Record<RefusalReason, string>> = {
  unseen: 'fits, but that node was not looked at',
  memory: 'GPUs idle where memory is short',
  cpu: 'GPUs idle where CPU is short',
  split: 'enough idle, but in pieces too small',
  full: 'less idle than asked for',
  never: 'no node with such GPUs',
};
/** Of the load axis, before the last policy begins to refuse. */
const LEAD_PERCENT = 20;
/** That much less allocated than arrived, and a policy has begun to refuse. */
const VISIBLE_PERCENT = 0.5;
const TABLE_EVERY_PERCENT = 10;

/** `number` tells the sections of a page apart. */
export function traceSection({ trace, policies, bounds }: TraceReport, number: number): Markup {
  const id = `t${number}`;
  const curved = policies.filter(({ curve }) => curve.length > 0);
  const reasoned =
    presentReasons(policies).length === 0 ? [] : policies.filter(({ refusedBy }) => refusedBy !== undefined);
  const drawings = [
    ...(curved.length > 0 ? [allocationPlot(id, trace, curved, bounds), fragmentationPlot(id, trace, curved)] : []),
    unallocatedBars(id, trace, policies, bounds),
    fragmentationBars(id, trace, policies),
    ...(reasoned.length > 0 ? [refusalBars(id, trace, reasoned)] : []),
  ];
  const maps = policies.flatMap((policy, at) => occupancyMap(`${id}-map${at}`, trace, policy));
  return element(
    'section',
    {},
    element('h2', number === 0 ? { class: 'first' } : {}, `Trace ${trace}`),
    element('p', { class: 'soft' }, overview(policies, bounds)),
    summaryTable(policies),
    element('div', { class: 'plots' }, ...drawings),
    maps.length === 0 ? '' : element('div', { class: 'plots' }, ...maps),
    details('Figures behind the drawings', curveTables(curved), refusalTable(reasoned), occupancyTable(policies)),
  );
}

function figure(heading: string, drawn: Markup, caption: string): Markup {
  return element('figure', {}, element('h3', {}, heading), drawn, element('figcaption', {}, caption));
}

function details(summary: string, ...children: readonly Child[]): Markup {
  return element('details', {}, element('summary', {}, summary), ...children);
}

function overview(policies: readonly PolicyReport[], bounds: ReportedBounds | undefined): string {
  const seeds = new Set(policies.flatMap((policy) => policy.seeds)).size;
  const what = `${policies.length} ${policies.length === 1 ? 'policy' : 'policies'}, ${seeds} ${seeds === 1 ? 'seed' : 'seeds'}.`;
  if (bounds === undefined) return what;
  const { noRefusalPercent, linearPercent } = bounds.bounds;
  const refusal =
    noRefusalPercent === undefined
      ? ''
      : ` Up to ${noRefusalPercent.toFixed(2)} % arrived load a perfect policy need refuse nothing.`;
  return `${what} No policy can allocate more than ${linearPercent.toFixed(2)} % (bound over ${bounds.over}).${refusal}`;
}

function summaryTable(policies: readonly PolicyReport[]): Markup {
  return dataTable(
    'At the end of the arrivals',
    ['policy', 'seeds', 'allocated %', 'published', 'fragmented %', 'published', 'refused pods'],
    policies.map((each) => [
      each.name,
      String(each.seeds.length),
      shownStatistics(each.allocation),
      shownStatistics(each.published?.allocation),
      shownStatistics(each.fragmentation),
      shownStatistics(each.published?.fragmentation),
      each.refused.toFixed(1),
    ]),
  );
}

function allocationPlot(
  id: string,
  trace: string,
  policies: readonly PolicyReport[],
  bounds: ReportedBounds | undefined,
): Markup {
  const fromX = partingLoad(policies);
  const noRefusal = bounds?.bounds.noRefusalPercent;
  const limits: Limit[] = [];
  if (bounds !== undefined) limits.push({ name: 'no policy above', axis: 'y', at: bounds.bounds.linearPercent });
  if (noRefusal !== undefined && noRefusal > fromX)
    limits.push({ name: 'refusals unavoidable', axis: 'x', at: noRefusal });
  const drawn = linePlot({
    id: `${id}-allocation`,
    title: `GPU allocation against arrived load on ${trace}`,
    description: `${lines(policies)} ${ranking(policies)}`,
    xName: 'arrived load, % of all GPUs',
    yName: 'allocated, % of all GPUs',
    series: policies.map(({ name, curve }) => ({
      name,
      points: curve.map((p) => [p.arrivedPercent, p.allocationPercent] as const),
    })),
    limits,
    fromX,
  });
  const note = fromX > 0 ? ` From ${fromX} % load on; mind where the axes begin.` : '';
  return figure('Allocation as load arrives', drawn, `Mean over seeds.${note}`);
}

function fragmentationPlot(id: string, trace: string, policies: readonly PolicyReport[]): Markup {
  const drawn = linePlot({
    id: `${id}-fragmentation`,
    title: `Fragmentation against arrived load on ${trace}`,
    description: `${lines(policies)} Lower is better.`,
    xName: 'arrived load, % of all GPUs',
    yName: 'fragmented, % of all GPUs',
    series: policies.map(({ name, curve }) => ({
      name,
      points: curve.map((p) => [p.arrivedPercent, p.fragmentationPercent] as const),
    })),
    limits: [],
    fromX: 0,
  });
  return figure(
    'Fragmentation as load arrives',
    drawn,
    'Idle capacity that the typical pod cannot use; mind where the axis begins. Mean over seeds.',
  );
}

/** Where the last policy begins to refuse, less a lead, so that the plot shows where policies part; 0 where none does. */
function partingLoad(policies: readonly PolicyReport[]): number {
  const parting = policies.map(
    ({ curve }) => curve.find((p) => p.allocationPercent < p.arrivedPercent - VISIBLE_PERCENT)?.arrivedPercent ?? 0,
  );
  return Math.max(0, Math.floor((Math.max(...parting) - LEAD_PERCENT) / 10) * 10);
}

function unallocatedBars(
  id: string,
  trace: string,
  policies: readonly PolicyReport[],
  bounds: ReportedBounds | undefined,
): Markup {
  const left = (allocated: number): number => Math.max(0, 100 - allocated);
  const drawn = barPlot({
    id: `${id}-unallocated`,
    title: `GPUs left unallocated at the end on ${trace}`,
    description: `${ranking(policies)} Bars show what is left, so shorter is better.`,
    xName: 'not allocated, % of all GPUs',
    bars: policies.map(({ name, allocation, published }) => ({
      ...{ name, value: left(allocation.mean), deviation: allocation.deviation },
      published: published === undefined ? undefined : left(published.allocation.mean),
    })),
    limits: bounds === undefined ? [] : [{ name: 'no policy below', x: left(bounds.bounds.linearPercent) }],
  });
  return figure('Left unallocated at the end', drawn, 'Shorter is better. Mean and standard deviation over seeds.');
}

function fragmentationBars(id: string, trace: string, policies: readonly PolicyReport[]): Markup {
  const drawn = barPlot({
    id: `${id}-fragmented`,
    title: `Fragmentation at the end on ${trace}`,
    description: 'Idle capacity that the typical pod cannot use, for each policy. Shorter is better.',
    xName: 'fragmented, % of all GPUs',
    bars: policies.map(({ name, fragmentation, published }) => ({
      ...{ name, value: fragmentation.mean, deviation: fragmentation.deviation },
      published: published?.fragmentation.mean,
    })),
    limits: [],
  });
  return figure('Fragmentation at the end', drawn, 'Shorter is better. Mean and standard deviation over seeds.');
}

function refusalBars(id: string, trace: string, policies: readonly PolicyReport[]): Markup {
  const reasons = presentReasons(policies);
  const drawn = stackedPlot({
    id: `${id}-refused`,
    title: `Refused pods by reason on ${trace}`,
    description: `Means over seeds: ${policies.map(({ name, refused }) => `${name} ${refused.toFixed(0)}`).join(', ')}.`,
    xName: 'refused pods',
    partNames: reasons.map((reason) => REASON_WORDS[reason]),
    bars: policies.map(({ name, refusedBy }) => ({ name, parts: reasons.map((reason) => refusedBy?.[reason] ?? 0) })),
  });
  return figure(
    'Refused pods by reason',
    drawn,
    'Why most of the idle capacity was of no use to the pod. Mean over seeds.',
  );
}

function presentReasons(policies: readonly PolicyReport[]): readonly RefusalReason[] {
  return REFUSAL_REASONS.filter((reason) => policies.some(({ refusedBy }) => (refusedBy?.[reason] ?? 0) > 0));
}

function occupancyMap(id: string, trace: string, { name, occupancy }: PolicyReport): Markup[] {
  if (occupancy === undefined || occupancy.nodes.length === 0) return [];
  const { nodes, seed } = occupancy;
  const gpus = nodes.reduce((sum, { allocatedMilli }) => sum + allocatedMilli.length, 0);
  const counts = levelCounts(nodes.flatMap(({ allocatedMilli }) => allocatedMilli));
  const drawn = heatMap({
    id,
    title: `Every GPU at the end: ${name} on ${trace}`,
    description: `${nodes.length} nodes with ${gpus} GPUs: ${LEVEL_NAMES.map((level, at) => `${counts[at] ?? 0} ${level}`).join(', ')}.`,
    nodes,
  });
  return [
    figure(
      `Every GPU at the end: ${name}`,
      drawn,
      `Seed ${seed}. A column is a node, a square one of its GPUs; the fullest nodes first.`,
    ),
  ];
}

function levelCounts(milli: readonly number[]): readonly number[] {
  const counts = LEVEL_NAMES.map(() => 0);
  for (const each of milli) {
    const level = levelOf(each);
    counts[level] = (counts[level] ?? 0) + 1;
  }
  return counts;
}

function curveTables(policies: readonly PolicyReport[]): Markup {
  if (policies.length === 0) return joined([]);
  const loads = [...new Set(policies.flatMap(({ curve }) => curve.map((p) => p.arrivedPercent)))].sort((a, b) => a - b);
  const shown = loads.filter((load) => load % TABLE_EVERY_PERCENT === 0 || load === loads.at(-1));
  const rows = (figure: 'allocationPercent' | 'fragmentationPercent'): string[][] =>
    shown.map((load) => [
      `${load} %`,
      ...policies.map(({ curve }) => curve.find((p) => p.arrivedPercent === load)?.[figure].toFixed(2) ?? ''),
    ]);
  const head = ['arrived load', ...policies.map(({ name }) => name)];
  return joined([
    dataTable('Allocated, % of all GPUs', head, rows('allocationPercent')),
    dataTable('Fragmented, % of all GPUs', head, rows('fragmentationPercent')),
  ]);
}

function refusalTable(policies: readonly PolicyReport[]): Markup {
  if (policies.length === 0) return joined([]);
  const reasons = presentReasons(policies);
  return dataTable(
    'Refused pods by reason, means over seeds',
    ['policy', ...reasons.map((reason) => REASON_WORDS[reason])],
    policies.map(({ name, refusedBy }) => [name, ...reasons.map((reason) => (refusedBy?.[reason] ?? 0).toFixed(1))]),
  );
}

function occupancyTable(policies: readonly PolicyReport[]): Markup {
  const rows = policies.flatMap(({ name, occupancy }) => {
    if (occupancy === undefined) return [];
    const counts = levelCounts(occupancy.nodes.flatMap(({ allocatedMilli }) => allocatedMilli));
    return [[name, String(occupancy.seed), ...counts.map(String)]];
  });
  if (rows.length === 0) return joined([]);
  return dataTable('GPUs by allocated part at the end', ['policy', 'seed', ...LEVEL_NAMES], rows);
}

function lines(policies: readonly PolicyReport[]): string {
  return `${policies.length === 1 ? 'One line' : `${policies.length} lines`}: ${policies.map(({ name }) => name).join(', ')}.`;
}

function ranking(policies: readonly PolicyReport[]): string {
  const best = [...policies].sort((a, b) => b.allocation.mean - a.allocation.mean);
  return `Allocated at the end: ${best.map(({ name, allocation }) => `${name} ${allocation.mean.toFixed(2)} %`).join(', ')}.`;
}
