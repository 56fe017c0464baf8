// Horizontal bars made of parts, each part in a shade and pattern of its own, with a legend below.

import { element, short, type Markup } from './markup.ts';
import { roundScale, type Scale } from './scale.ts';
import { bottomAxis, drawing, label, type Box, type DrawingText, nameRoom, shownName } from './svg.ts';

export interface StackedBar {
  readonly name: string;
  /** As many as there are part names. */
  readonly parts: readonly number[];
}

export interface StackedPlot extends DrawingText {
  readonly xName: string;
  readonly partNames: readonly string[];
  readonly bars: readonly StackedBar[];
}

const WIDTH = 480;
const LEAST_LEFT = 104;
const RIGHT = 460;
const TOP = 8;
const ROW = 32;
const BAR = 20;
const LEGEND_LINE = 20;

/** Lines over the colour of a part: none, two slants, upright, level, dots. */
const HATCHES: readonly string[] = ['', 'M0 6L6 0', 'M0 0L6 6', 'M3 0V6', 'M0 3H6', 'M2 3h2'];

export function stackedPlot(plot: StackedPlot): Markup {
  const left = Math.max(LEAST_LEFT, 12 + nameRoom(plot.bars.map(({ name }) => name)));
  const box: Box = { left, right: RIGHT, top: TOP, bottom: TOP + ROW * plot.bars.length };
  const totals = plot.bars.map(({ parts }) => parts.reduce((sum, each) => sum + each, 0));
  const x = roundScale(0, Math.max(1, ...totals), left, RIGHT);
  const height = box.bottom + 50 + LEGEND_LINE * plot.partNames.length;
  return drawing(
    plot,
    WIDTH,
    height,
    element('defs', {}, ...plot.partNames.map((_, part) => pattern(plot.id, part))),
    bottomAxis(x, box, plot.xName),
    ...plot.bars.map((bar, at) => row(plot.id, bar, box.top + at * ROW, x)),
    ...plot.partNames.map((name, part) => legendEntry(plot.id, name, part, box.bottom + 54)),
  );
}

function pattern(id: string, part: number): Markup {
  return element(
    'pattern',
    { id: `${id}-p${part}`, width: 6, height: 6, patternUnits: 'userSpaceOnUse' },
    element('rect', { width: 6, height: 6, class: `r${part}` }),
    element('path', { d: HATCHES[part % HATCHES.length] ?? '', class: 'hatch' }),
  );
}

function row(id: string, { name, parts }: StackedBar, top: number, x: Scale): Markup {
  const middle = top + ROW / 2;
  let sum = 0;
  const rects = parts.map((value, part) => {
    const left = x.at(sum);
    sum += value;
    const width = x.at(sum) - left;
    if (width < 0.05) return '';
    return element('rect', {
      ...{ x: left, y: middle - BAR / 2, width, height: BAR },
      ...{ class: 'part', fill: `url(#${id}-p${part})` },
    });
  });
  return element('g', { class: 'row' }, label(x.at(0) - 8, middle + 4, shownName(name), 'end'), ...rects);
}

function legendEntry(id: string, name: string, part: number, top: number): Markup {
  const left = LEAST_LEFT;
  const middle = top + LEGEND_LINE * part;
  const swatch = { x: short(left), y: short(middle - 7), width: 14, height: 14, class: 'part' };
  return element(
    'g',
    { class: 'legend' },
    element('rect', { ...swatch, fill: `url(#${id}-p${part})` }),
    label(left + 20, middle + 4, name),
  );
}
