// Lines over a common horizontal axis, with a legend below and, where given, limits as horizontal lines.

import { element, joined, short, type Markup } from './markup.ts';
import { exactScale, roundScale, type Scale } from './scale.ts';
import { dashes, mark, seriesClass } from './series.ts';
import { bottomAxis, drawing, label, leftAxis, line, type Box, type DrawingText, nameRoom, shownName } from './svg.ts';

export interface Series {
  readonly name: string;
  /** By growing x. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** A dashed line across the plot, at a value of y or of x. */
export type Limit =
  | { readonly name: string; readonly axis: 'y'; readonly at: number }
  | { readonly name: string; readonly axis: 'x'; readonly at: number };

export interface LinePlot extends DrawingText {
  readonly xName: string;
  readonly yName: string;
  readonly series: readonly Series[];
  readonly limits: readonly Limit[];
  /** Part of the x axis that is drawn. */
  readonly fromX: number;
}

const WIDTH = 480;
const PLOT: Box = { left: 44, right: 468, top: 30, bottom: 270 };
const MOST_LEGEND_COLUMNS = 3;
const LEGEND_SAMPLE = 36;
const LEGEND_LINE = 20;
const MARKS = 8;

export function linePlot(plot: LinePlot): Markup {
  const series = plot.series.map(({ name, points }) => ({ name, points: points.filter(([x]) => x >= plot.fromX) }));
  const points = series.flatMap((each) => each.points);
  const values = [...points.map(([, y]) => y), ...plot.limits.filter(({ axis }) => axis === 'y').map(({ at }) => at)];
  const x = exactScale(
    Math.min(...points.map(([at]) => at)),
    Math.max(...points.map(([at]) => at)),
    PLOT.left,
    PLOT.right,
  );
  const y = roundScale(Math.min(...values), Math.max(...values), PLOT.bottom, PLOT.top);
  const entry = LEGEND_SAMPLE + nameRoom(series.map(({ name }) => name));
  const columns = Math.max(1, Math.min(MOST_LEGEND_COLUMNS, Math.floor((WIDTH - PLOT.left) / entry)));
  const height = PLOT.bottom + 50 + LEGEND_LINE * Math.ceil(series.length / columns);
  return drawing(
    plot,
    WIDTH,
    height,
    leftAxis(y, PLOT, plot.yName),
    bottomAxis(x, PLOT, plot.xName),
    ...plot.limits.map((limit) => limitLine(limit, x, y)),
    ...series.map((each, at) => seriesLine(each, at, x, y)),
    ...series.map(({ name }, at) => legendEntry(name, at, columns)),
  );
}

function limitLine({ name, axis, at: value }: Limit, x: Scale, y: Scale): Markup {
  if (axis === 'y') {
    const at = y.at(value);
    return joined([line(PLOT.left, at, PLOT.right, at, 'limit'), label(PLOT.left + 4, at + 15, name, 'start', 'note')]);
  }
  const at = x.at(value);
  const isLeft = at < (PLOT.left + PLOT.right) / 2 + 40;
  const note = label(isLeft ? at + 5 : at - 5, PLOT.bottom - 8, name, isLeft ? 'start' : 'end', 'note');
  return joined([line(at, PLOT.top, at, PLOT.bottom, 'limit'), note]);
}

function seriesLine({ name, points }: Series, series: number, x: Scale, y: Scale): Markup {
  const places = points.map(([at, value]): readonly [number, number] => [x.at(at), y.at(value)]);
  const path = places.map(([px, py], at) => `${at === 0 ? 'M' : 'L'}${short(px)} ${short(py)}`).join('');
  // Marks of different series stand at different places, so that they show where lines run together.
  const every = Math.max(1, Math.floor(places.length / MARKS));
  const offset = Math.floor((series * every) / 6);
  const marks = places.filter((_, at) => at % every === offset % every).map(([px, py]) => mark(series, px, py));
  const look = { class: `line ${seriesClass(series)}`, 'stroke-dasharray': dashes(series) };
  return element('g', {}, element('title', {}, name), element('path', { d: path, ...look }), ...marks);
}

function legendEntry(name: string, series: number, columns: number): Markup {
  const left = PLOT.left + (series % columns) * ((PLOT.right - PLOT.left) / columns);
  const middle = PLOT.bottom + 54 + LEGEND_LINE * Math.floor(series / columns);
  const look = { class: `line ${seriesClass(series)}`, 'stroke-dasharray': dashes(series) };
  return element(
    'g',
    { class: 'legend' },
    element('path', { d: `M${short(left)} ${short(middle)}h30`, ...look }),
    mark(series, left + 15, middle),
    label(left + LEGEND_SAMPLE, middle + 4, shownName(name)),
  );
}
