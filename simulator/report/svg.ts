// What all drawings share: the frame with title and description for those who cannot see it, axes, and text.

import { element, joined, type Child, type Markup } from './markup.ts';
import type { Scale } from './scale.ts';

export interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface DrawingText {
  /** Unique on the page; letters, digits and "-". */
  readonly id: string;
  readonly title: string;
  /** What there is to see, in words. */
  readonly description: string;
}

export function drawing(
  { id, title, description }: DrawingText,
  width: number,
  height: number,
  ...parts: readonly Child[]
): Markup {
  return element(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-labelledby': `${id}-t ${id}-d`, id },
    element('title', { id: `${id}-t` }, title),
    element('desc', { id: `${id}-d` }, description),
    ...parts,
  );
}

export type Anchor = 'start' | 'middle' | 'end';

export function label(x: number, y: number, text: string, anchor: Anchor = 'start', style = 'label'): Markup {
  return element('text', { x, y, 'text-anchor': anchor, class: style }, text);
}

export function line(x1: number, y1: number, x2: number, y2: number, style: string): Markup {
  return element('line', { x1, y1, x2, y2, class: style });
}

/** Ticks and grid lines below a drawing, with the name of what they count. */
export function bottomAxis(scale: Scale, box: Box, name: string): Markup {
  const ticks = scale.ticks.map((tick) =>
    joined([
      line(scale.at(tick), box.top, scale.at(tick), box.bottom, 'grid'),
      label(scale.at(tick), box.bottom + 16, String(tick), 'middle', 'tick'),
    ]),
  );
  return element('g', {}, ...ticks, label((box.left + box.right) / 2, box.bottom + 34, name, 'middle'));
}

/** The same to the left; the name stands above. */
export function leftAxis(scale: Scale, box: Box, name: string): Markup {
  const ticks = scale.ticks.map((tick) =>
    joined([
      line(box.left, scale.at(tick), box.right, scale.at(tick), 'grid'),
      label(box.left - 6, scale.at(tick) + 4, String(tick), 'end', 'tick'),
    ]),
  );
  return element('g', {}, ...ticks, label(4, box.top - 10, name));
}

const LETTER_WIDTH = 7.8;
const MOST_LETTERS = 28;

/** A name as drawings show it; the tables have the whole. */
export function shownName(name: string): string {
  return name.length > MOST_LETTERS ? `${name.slice(0, MOST_LETTERS - 1)}…` : name;
}

/** Width that the longest of the names needs. */
export function nameRoom(names: readonly string[]): number {
  return LETTER_WIDTH * Math.max(0, ...names.map((name) => shownName(name).length));
}
