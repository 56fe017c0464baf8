// Horizontal bars from zero, one for each name, with an error bar, the value in figures, and a published value as a mark
// beside it; limits are vertical lines.

import { element, joined, type Markup } from './markup.ts';
import { roundScale, type Scale } from './scale.ts';
import { seriesClass } from './series.ts';
import { bottomAxis, drawing, label, line, type Box, type DrawingText, nameRoom, shownName } from './svg.ts';

export interface Bar {
  readonly name: string;
  readonly value: number;
  /** To both sides; 0 draws none. */
  readonly deviation: number;
  /** What somebody else measured. */
  readonly published: number | undefined;
}

export interface BarLimit {
  readonly name: string;
  readonly x: number;
}

export interface BarPlot extends DrawingText {
  readonly xName: string;
  readonly bars: readonly Bar[];
  readonly limits: readonly BarLimit[];
}

const WIDTH = 480;
const LEAST_LEFT = 104;
const RIGHT = 412;
const TOP = 12;
const ROW = 32;
const BAR = 18;

export function barPlot(plot: BarPlot): Markup {
  const top = TOP + 16 * plot.limits.length;
  const left = Math.max(LEAST_LEFT, 12 + nameRoom(plot.bars.map(({ name }) => name)));
  const box: Box = { left, right: RIGHT, top, bottom: top + ROW * plot.bars.length };
  const most = Math.max(...plot.bars.flatMap(({ value, deviation, published = 0 }) => [value + deviation, published]));
  const x = roundScale(0, Math.max(most, ...plot.limits.map((limit) => limit.x), 0.1), left, RIGHT);
  const hasPublished = plot.bars.some(({ published }) => published !== undefined);
  return drawing(
    plot,
    WIDTH,
    box.bottom + (hasPublished ? 66 : 44),
    bottomAxis(x, box, plot.xName),
    ...plot.bars.map((bar, at) => row(bar, at, box.top + at * ROW, x)),
    ...plot.limits.map((limit, at) => limitLine(limit, TOP + 16 * at, box, x)),
    ...(hasPublished ? [publishedLegend(left, box.bottom + 56)] : []),
  );
}

function row({ name, value, deviation, published }: Bar, series: number, top: number, x: Scale): Markup {
  const middle = top + ROW / 2;
  const end = x.at(value);
  const width = Math.max(0.5, end - x.at(0));
  const parts = [
    label(x.at(0) - 8, middle + 4, shownName(name), 'end'),
    element('rect', { x: x.at(0), y: middle - BAR / 2, width, height: BAR, class: `bar ${seriesClass(series)}` }),
    label(
      WIDTH - 2,
      middle + 4,
      deviation > 0 ? `${value.toFixed(2)} ± ${deviation.toFixed(2)}` : value.toFixed(2),
      'end',
      'tick',
    ),
  ];
  if (published !== undefined) parts.push(diamond(x.at(published), middle));
  if (deviation > 0) parts.push(errorBar(x.at(value - deviation), x.at(value + deviation), middle));
  return element('g', { class: 'row' }, ...parts);
}

function errorBar(from: number, to: number, y: number): Markup {
  return element(
    'g',
    { class: 'error' },
    line(from, y, to, y, 'error'),
    line(from, y - 4, from, y + 4, 'error'),
    line(to, y - 4, to, y + 4, 'error'),
  );
}

function diamond(x: number, y: number): Markup {
  return element('path', { d: `M${x.toFixed(2)} ${(y - 6).toFixed(2)}l5 6l-5 6l-5 -6z`, class: 'published' });
}

function limitLine({ name, x: value }: BarLimit, top: number, box: Box, x: Scale): Markup {
  const at = x.at(value);
  return joined([line(at, top + 4, at, box.bottom, 'limit'), label(at + 4, top + 10, name, 'start', 'note')]);
}

function publishedLegend(left: number, y: number): Markup {
  return element('g', { class: 'legend' }, diamond(left + 6, y), label(left + 18, y + 4, 'published mean'));
}
