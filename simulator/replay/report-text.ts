// A replay's report as text for people: what is amiss first, then figures side by side, then the pods that do not fit.

import { textTable } from '../text-table.ts';
import { shownWeights } from '../tune/space.ts';
import type { Finding } from './finding.ts';
import { printable } from './list-items.ts';
import type { Occupancy } from './occupancy.ts';
import type { DrainedPod, Outcome, ReplayReport } from './report.ts';
import type { Repacking, RepackReport } from './repack.ts';
import type { GroupResult } from './what-if.ts';

const MAX_EXAMPLES = 3;
const MAX_DRAINED_LINES = 20;
const MAX_REFUSALS = 10;

const ROWS: readonly (readonly [string, (occupancy: Occupancy) => string])[] = [
  ['nodes with GPUs', ({ gpuNodes, closedNodes }) => `${gpuNodes}${noted(closedNodes, 'closed')}`],
  ['GPUs', ({ gpus, unhealthyGpus }) => `${gpus}${noted(unhealthyGpus, 'unhealthy')}`],
  ['GPUs with nothing on them', ({ idleGpus }) => String(idleGpus)],
  ['slices', ({ slices }) => String(slices)],
  ['slices allocated', ({ allocatedSlices }) => String(allocatedSlices)],
  ['allocation', ({ allocationPercent }) => `${allocationPercent.toFixed(2)} %`],
  ['slices free', ({ freeSlices }) => String(freeSlices)],
  ['slices stranded, on average', ({ strandedSlices }) => known(strandedSlices?.toFixed(1))],
  ['fragmentation, of all GPUs', ({ fragmentationPercent }) => known(fragmentationPercent?.toFixed(2), ' %')],
];

export function reportText(file: string, report: ReplayReport): string {
  const { document, settings, findings, today, changed, anew, repack } = report;
  const head = [
    `${file} (${document.kind}): ${document.nodes} nodes, ${document.gpuPods} GPU pods running, ${document.waitingPods} waiting`,
    `policy ${settings.policy}${settings.weights === undefined ? '' : ` (${shownWeights(settings.weights)})`}; ${settings.typicalRequests} kinds of requests are typical (${settings.mix === 'learned' ? 'learned by the extender' : 'of the GPU pods listed'})`,
  ];
  const columns: (readonly [string, Occupancy])[] = [['today', today.occupancy]];
  if (changed !== undefined) columns.push(['changed', changed.occupancy]);
  if (anew !== undefined) columns.push([`anew: ${settings.policy}, ${settings.order}`, anew.occupancy]);
  const table = textTable(
    ['', ...columns.map(([title]) => title)],
    ROWS.map(([name, show]) => [name, ...columns.map(([, occupancy]) => show(occupancy))]),
    [0],
  );
  const sections = [
    head.join('\n'),
    ...(findings.length === 0 ? [] : [findings.map(findingText).join('\n')]),
    table,
    ...(today.waiting === undefined ? [] : [groupText('today, waiting pods tried oldest first', today.waiting)]),
    ...outcomeText('changed', changed),
    ...outcomeText('anew', anew),
    ...(repack === undefined ? [] : [repackText(repack)]),
  ];
  return `${printableLines(sections.join('\n\n'))}\n`;
}

function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** A figure with its unit, or a dash where nothing is typical that it could be measured against. */
function known(figure: string | undefined, unit = ''): string {
  return figure === undefined ? '-' : `${figure}${unit}`;
}

function noted(count: number, what: string): string {
  return count === 0 ? '' : ` (${count} ${what})`;
}

function findingText({ kind, count, text, examples }: Finding): string {
  const others = count > examples.length ? ', …' : '';
  return `! ${kind} (${count}): ${text}: ${examples.join(', ')}${others}`;
}

function outcomeText(title: string, outcome: Outcome | undefined): readonly string[] {
  if (outcome === undefined) return [];
  const moves =
    outcome.moves === 0 ? [] : [`${title}: ${outcome.moves} running pods would be on other GPUs than today`];
  return [
    ...outcome.groups.map((group) => groupText(`${title}, ${group.group} pods`, group)),
    ...(outcome.drained.length === 0 ? [] : [drainedText(outcome.drained)]),
    ...moves,
  ];
}

function groupText(title: string, { pods, fit, refusals }: GroupResult): string {
  const lines = [`${title}: ${fit} of ${pods} fit`];
  for (const { why, pods: count, names } of refusals.slice(0, MAX_REFUSALS)) {
    const examples = names.slice(0, MAX_EXAMPLES).join(', ');
    lines.push(`  ${count} do not: ${why}: ${examples}${count > MAX_EXAMPLES ? ', …' : ''}`);
  }
  if (refusals.length > MAX_REFUSALS)
    lines.push(`  … and for ${refusals.length - MAX_REFUSALS} more reasons; see --json`);
  return lines.join('\n');
}

function drainedText(drained: readonly DrainedPod[]): string {
  const rows = drained
    .slice(0, MAX_DRAINED_LINES)
    .map(({ pod, from, to, gpus }) => [pod, from, to === '' ? 'nowhere' : to, gpus.join('|')]);
  const more = drained.length - rows.length;
  const table = textTable(['pod of a removed node', 'from', 'to', 'GPU'], rows, [0, 1, 2, 3]);
  return more > 0 ? `${table}\n… and ${more} more; see --json` : table;
}

function repackText({ today, anew, fewMoves, tried }: RepackReport): string {
  const cells = ({ strandedSlices, idleGpus, fragmentationPercent, waitingFit }: RepackReport['today']): string[] => [
    known(strandedSlices?.toFixed(1)),
    String(idleGpus),
    known(fragmentationPercent?.toFixed(2), ' %'),
    String(waitingFit),
  ];
  const way = (title: string, each: Repacking): string[] => [
    title,
    ...cells(each),
    `${each.freedSlices} (${each.freedGpus} GPUs)`,
    String(each.moves),
  ];
  const table = textTable(
    ['another packing', 'stranded', 'idle GPUs', 'fragmentation', 'waiting that fit', 'slices freed', 'pods to move'],
    [
      ['as it is', ...cells(today), '', ''],
      way('moving pods one at a time', fewMoves),
      ...(anew === undefined ? [] : [way(`all anew (${anew.way})`, anew)]),
    ],
    [0],
  );
  const note = anew === undefined ? `\nnone of ${tried.join(', ')} found a place for every running pod` : '';
  return `${table}${note}`;
}
