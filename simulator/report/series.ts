// How series are told apart: by colour, by dashes and by the shape of their marks, so that none of them is needed alone.

import { element, short, type Markup } from './markup.ts';

/** As many as there are colours in the style sheet (`.s0`, `.s1`, …); more series begin again. */
export const SERIES_COLOURS = 8;
const DASHES: readonly (string | undefined)[] = [
  undefined,
  '7 3',
  '2 3',
  '9 3 2 3',
  '12 4',
  '4 2 1 2 1 2',
  '1 2',
  '6 6',
];

export function seriesClass(series: number): string {
  return `s${series % SERIES_COLOURS}`;
}

export function dashes(series: number): string | undefined {
  return DASHES[series % DASHES.length];
}

/** A mark of about 7 units around a place. */
export function mark(series: number, x: number, y: number): Markup {
  const paths: readonly string[] = [
    `M${short(x - 3)} ${short(y)}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z`,
    `M${short(x - 3)} ${short(y - 3)}h6v6h-6z`,
    `M${short(x)} ${short(y - 4)}l4 7h-8z`,
    `M${short(x)} ${short(y - 4.5)}l4 4.5l-4 4.5l-4 -4.5z`,
    `M${short(x)} ${short(y + 4)}l4 -7h-8z`,
    `M${short(x - 4)} ${short(y - 1)}h3v-3h2v3h3v2h-3v3h-2v-3h-3z`,
    `M${short(x - 2)} ${short(y - 4)}h4v8h-4z`,
    `M${short(x - 4)} ${short(y - 2)}h8v4h-8z`,
  ];
  return element('path', { d: paths[series % paths.length] ?? '', class: `mark ${seriesClass(series)}` });
}
