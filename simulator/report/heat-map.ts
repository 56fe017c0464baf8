// Every GPU of a cluster as a small square: a column is a node, its GPUs lie below each other in order of their index, and
// nodes of one model stand together, the fullest first. Darker is fuller. Made for thousands of GPUs: the squares of one
// level and one strip are one path.

import type { NodeOccupancy } from '../run/occupancy.ts';
import { MILLI_PER_GPU } from '../workload.ts';
import { element, short, type Markup } from './markup.ts';
import { drawing, label, type DrawingText } from './svg.ts';

export interface HeatMap extends DrawingText {
  readonly nodes: readonly NodeOccupancy[];
}

export interface NodeGroup {
  readonly model: string;
  readonly gpus: number;
  readonly nodes: readonly NodeOccupancy[];
}

/** By allocated part of the GPU: idle, up to a quarter, half, three quarters, less than full, full. */
export const LEVEL_NAMES: readonly string[] = ['idle', '1–24 %', '25–49 %', '50–74 %', '75–99 %', 'full'];

const WIDTH = 480;
const LEFT = 4;
const CELL = 4;
const SQUARE = 3.4;
const COLUMNS: number = Math.floor((WIDTH - 2 * LEFT) / CELL);
const HEADING = 18;
const HEADING_WIDTH = 140;
const STRIP_GAP = 4;
const GROUP_GAP = 8;

export function levelOf(allocatedMilli: number): number {
  if (allocatedMilli <= 0) return 0;
  return allocatedMilli >= MILLI_PER_GPU ? 5 : 1 + Math.floor((allocatedMilli * 4) / MILLI_PER_GPU);
}

/** Nodes of one model and number of GPUs, the largest group first; in it the fullest node first, then by name. */
export function groupsOf(nodes: readonly NodeOccupancy[]): readonly NodeGroup[] {
  const groups = Map.groupBy(nodes, ({ model, allocatedMilli }) => `${model}\n${allocatedMilli.length}`);
  const described = [...groups.values()].flatMap((group): NodeGroup[] => {
    const [first] = group;
    if (first === undefined) return [];
    const taken = (node: NodeOccupancy): number => node.allocatedMilli.reduce((sum, each) => sum + each, 0);
    const inOrder = [...group].sort((a, b) => taken(b) - taken(a) || (a.name < b.name ? -1 : 1));
    return [{ model: first.model, gpus: first.allocatedMilli.length, nodes: inOrder }];
  });
  return described.sort((a, b) => b.gpus * b.nodes.length - a.gpus * a.nodes.length || (a.model < b.model ? -1 : 1));
}

export function heatMap(map: HeatMap): Markup {
  const parts: Markup[] = [];
  let left = LEFT;
  let top = 0;
  let height = 0;
  for (const group of groupsOf(map.nodes)) {
    const { width, height: its } = sizeOf(group);
    if (left > LEFT && left + width > WIDTH - LEFT) {
      top += height + GROUP_GAP;
      left = LEFT;
      height = 0;
    }
    parts.push(groupDrawing(group, left, top));
    left += width + GROUP_GAP;
    height = Math.max(height, its);
  }
  const end = top + height + GROUP_GAP;
  return drawing(
    map,
    WIDTH,
    end + 22,
    ...parts,
    ...LEVEL_NAMES.map((name, level) => legendEntry(name, level, end + 4)),
  );
}

/** A group is cut into strips as wide as the drawing; small groups stand beside each other. */
function sizeOf({ gpus, nodes }: NodeGroup): { readonly width: number; readonly height: number } {
  const strips = Math.ceil(nodes.length / COLUMNS);
  const width = Math.max(HEADING_WIDTH, Math.min(COLUMNS, nodes.length) * CELL);
  return { width, height: HEADING + strips * (gpus * CELL + STRIP_GAP) };
}

function groupDrawing({ model, gpus, nodes }: NodeGroup, left: number, top: number): Markup {
  const heading = `${model}: ${nodes.length} × ${gpus} ${gpus === 1 ? 'GPU' : 'GPUs'}`;
  const strips: Markup[] = [];
  for (let first = 0; first < nodes.length; first += COLUMNS) {
    const at = top + HEADING + (first / COLUMNS) * (gpus * CELL + STRIP_GAP);
    strips.push(strip(nodes.slice(first, first + COLUMNS), left, at));
  }
  return element('g', {}, label(left, top + 13, heading, 'start', 'tick'), ...strips);
}

function strip(nodes: readonly NodeOccupancy[], left: number, top: number): Markup {
  const paths = LEVEL_NAMES.map(() => '');
  for (const [column, { allocatedMilli }] of nodes.entries()) {
    for (const [gpu, milli] of allocatedMilli.entries()) {
      const level = levelOf(milli);
      paths[level] += square(left + column * CELL, top + gpu * CELL);
    }
  }
  return element(
    'g',
    {},
    ...paths.flatMap((d, level) => (d === '' ? [] : [element('path', { d, class: `cell l${level}` })])),
  );
}

/** As a short, thick line: half the bytes of a square. */
function square(x: number, y: number): string {
  return `M${short(x)} ${short(y + SQUARE / 2)}h${SQUARE}`;
}

function legendEntry(name: string, level: number, top: number): Markup {
  const left = LEFT + level * 78;
  return element(
    'g',
    { class: 'legend' },
    element('path', { d: `M${short(left)} ${short(top + 5)}h10`, class: `swatch l${level}` }),
    label(left + 15, top + 9, name, 'start', 'tick'),
  );
}
