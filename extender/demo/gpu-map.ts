// The map of GPUs: a row per node and GPU model, a cell per GPU with a bar of online and batch slices and `used/total`.
// A cluster too large for that is shown by model, with the nodes worth a look. Pure.

import { isOverCapacity, type GpuOccupancy, type NodeOccupancy, type Occupancy } from './occupancy.ts';
import { percent } from './summary.ts';
import { line, span, type Glyphs, type Line, type Look, type Span } from './styled-text.ts';

const BAR_WIDTHS = [10, 9, 8, 7, 6, 5, 4] as const;
const WIDE_BAR = 24;
const GAP = '  ';
const MIN_BAR_WIDTH = 4;

/** All nodes where they fit into `mostLines`, else a table by model and as many interesting nodes as fit. */
export function gpuMap(occupancy: Occupancy, look: Look, mostLines: number): Line[] {
  const layout = layoutFor(occupancy.nodes, look);
  const rows = occupancy.nodes.map((node) => nodeRows(node, layout, look.glyphs));
  const height = rows.reduce((sum, lines) => sum + lines.length, 0);
  if (height + 1 <= mostLines) return [heading(layout, look.glyphs), ...rows.flat()];
  const models = modelTable(occupancy.nodes, look.glyphs);
  const shown: Line[] = [];
  const room = mostLines - models.length - 3;
  let count = 0;
  for (const node of byInterest(occupancy.nodes)) {
    const lines = nodeRows(node, layout, look.glyphs);
    if (shown.length + lines.length > room) break;
    shown.push(...lines);
    count++;
  }
  if (count === 0) return models;
  const title = span(`${count} of ${occupancy.nodes.length} nodes: the most shared ones that still have room`, 'bold');
  return [...models, [], [title], heading(layout, look.glyphs), ...shown];
}

interface Layout {
  readonly nameWidth: number;
  readonly modelWidth: number;
  readonly labelWidth: number;
  readonly barWidth: number;
  /** Cells on one line. */
  readonly cells: number;
}

function layoutFor(nodes: readonly NodeOccupancy[], { width }: Look): Layout {
  const widest = (texts: readonly string[]): number => texts.reduce((most, text) => Math.max(most, text.length), 0);
  const gpus = nodes.flatMap((node) => node.gpus);
  const nameWidth = Math.max('NODE'.length, widest(nodes.map(({ name }) => name)));
  const modelWidth = Math.max('GPUS'.length, widest(gpus.map(({ model }) => `8× ${model}`)));
  const labelWidth = widest(gpus.map(({ slices }) => `${slices}/${slices}`));
  const room = width - nameWidth - modelWidth - GAP.length;
  const most = Math.max(1, ...nodes.map((node) => node.gpus.length));
  const choices = BAR_WIDTHS.map((barWidth) => {
    const fitting = Math.max(1, Math.floor(room / (barWidth + 1 + labelWidth + GAP.length)));
    return { barWidth, lines: Math.ceil(most / fitting) };
  });
  // Few lines first, then long bars; and 8 GPUs on two lines of 4 read better than 5 and 3.
  const lines = Math.min(...choices.map((choice) => choice.lines));
  const barWidth = choices.find((choice) => choice.lines === lines)?.barWidth ?? MIN_BAR_WIDTH;
  return { nameWidth, modelWidth, labelWidth, barWidth, cells: Math.ceil(most / lines) };
}

function heading({ nameWidth, modelWidth }: Layout, glyphs: Glyphs): Line {
  return line(
    span(`${'NODE'.padEnd(nameWidth)}${GAP}${'GPUS'.padEnd(modelWidth)}${GAP}SLICES USED/ALL  `, 'dim'),
    span(glyphs.online, 'online'),
    span(' online  ', 'dim'),
    span(glyphs.batch, 'batch'),
    span(' batch  ', 'dim'),
    span(`${glyphs.free} free`, 'dim'),
  );
}

/** GPUs of unequal models get rows of their own. */
function nodeRows(node: NodeOccupancy, layout: Layout, glyphs: Glyphs): Line[] {
  const byModel = Map.groupBy(node.gpus, ({ model, slices }) => `${model} ${slices}`);
  const rows: Line[] = [];
  for (const gpus of byModel.values()) {
    const title = `${gpus.length}× ${gpus[0]?.model ?? ''}`;
    for (let at = 0; at < gpus.length; at += layout.cells) {
      const cells = gpus.slice(at, at + layout.cells).flatMap((gpu) => cell(gpu, layout, glyphs));
      rows.push([
        span((rows.length === 0 ? node.name : '').padEnd(layout.nameWidth) + GAP, 'bold'),
        span((at === 0 ? title : '').padEnd(layout.modelWidth) + GAP),
        ...cells,
      ]);
    }
  }
  return rows.length > 0 ? rows : [line(span(node.name, 'bold'), `${GAP}no GPUs`)];
}

function cell(gpu: GpuOccupancy, { labelWidth, barWidth }: Layout, glyphs: Glyphs): Span[] {
  const used = gpu.onlineSlices + gpu.batchSlices;
  const label = `${used}/${gpu.slices}`.padEnd(labelWidth);
  const style = isOverCapacity(gpu) ? 'bad' : used === 0 ? 'dim' : 'plain';
  return [...bar(gpu.onlineSlices, gpu.batchSlices, gpu.slices, barWidth, glyphs), span(` ${label}${GAP}`, style)];
}

/** A part that is not zero shows at least one mark, and free room shows as long as there is any. */
export function bar(online: number, batch: number, all: number, width: number, glyphs: Glyphs): Span[] {
  const marks = (amount: number): number =>
    amount === 0 || all === 0 ? 0 : Math.max(1, Math.round((amount / all) * width));
  const most = online + batch < all ? width - 1 : width;
  let onlineMarks = Math.min(marks(online), most);
  const batchMarks = Math.min(marks(batch), most);
  if (onlineMarks + batchMarks > most) onlineMarks = Math.max(online > 0 ? 1 : 0, most - batchMarks);
  const shownBatch = Math.min(batchMarks, most - onlineMarks);
  return [
    span(glyphs.online.repeat(onlineMarks), 'online'),
    span(glyphs.batch.repeat(shownBatch), 'batch'),
    span(glyphs.free.repeat(width - onlineMarks - shownBatch), 'dim'),
  ];
}

function modelTable(nodes: readonly NodeOccupancy[], glyphs: Glyphs): Line[] {
  const gpus = nodes.flatMap(({ name, gpus }) => gpus.map((gpu) => ({ name, gpu })));
  const byModel = [...Map.groupBy(gpus, ({ gpu }) => gpu.model)].sort((a, b) => b[1].length - a[1].length);
  const nameWidth = Math.max('MODEL'.length, ...byModel.map(([model]) => model.length));
  const head = `${'MODEL'.padEnd(nameWidth)}${GAP}NODES${GAP}  GPUS${GAP}EMPTY${GAP} FULL${GAP}SHARED${GAP}ALLOCATED`;
  const rows = byModel.map(([model, members]): Line => {
    const own = members.map(({ gpu }) => gpu);
    const total = (amount: (gpu: GpuOccupancy) => number): number => own.reduce((sum, gpu) => sum + amount(gpu), 0);
    const online = total((gpu) => gpu.onlineSlices);
    const batch = total((gpu) => gpu.batchSlices);
    const all = total((gpu) => gpu.slices);
    const figures = [
      String(new Set(members.map(({ name }) => name)).size).padStart(5),
      String(own.length).padStart(6),
      String(own.filter((gpu) => gpu.onlineSlices + gpu.batchSlices === 0).length).padStart(5),
      String(own.filter((gpu) => gpu.onlineSlices + gpu.batchSlices >= gpu.slices).length).padStart(5),
      String(own.filter((gpu) => gpu.onlinePods + gpu.batchPods > 1).length).padStart(6),
    ].join(GAP);
    const share = `${percent(online + batch, all).toFixed(1)} %`.padStart(8);
    return [
      span(model.padEnd(nameWidth), 'bold'),
      span(`${GAP}${figures}${GAP}`),
      ...bar(online, batch, all, WIDE_BAR, glyphs),
      span(share),
    ];
  });
  return [[span(head, 'dim')], ...rows];
}

/** Nodes with shared GPUs and room left first: there the packing is visible. Ties by name. */
function byInterest(nodes: readonly NodeOccupancy[]): NodeOccupancy[] {
  const interest = ({ gpus }: NodeOccupancy): number =>
    gpus.reduce((sum, gpu) => {
      const used = gpu.onlineSlices + gpu.batchSlices;
      const woven = gpu.onlinePods > 0 && gpu.batchPods > 0 ? 4 : 0;
      return sum + (isOverCapacity(gpu) ? 1000 : 0) + woven + (used > 0 && used < gpu.slices ? 1 : 0);
    }, 0);
  return nodes
    .map((node) => ({ node, score: interest(node) }))
    .sort((a, b) => b.score - a.score || (a.node.name < b.node.name ? -1 : 1))
    .map(({ node }) => node);
}
