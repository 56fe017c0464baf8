// Bounds as a table for people.

import { textTable } from '../text-table.ts';
import type { AllocationBounds } from './bounds.ts';
import type { TraceBounds } from './trace-bounds.ts';

export interface NamedBounds {
  readonly trace: string;
  /** What the bounds are means over, in words. */
  readonly over: string;
  readonly bounds: AllocationBounds;
}

export function namedBounds(traces: readonly TraceBounds[]): readonly NamedBounds[] {
  return traces.map(({ trace, perSeed, mean }) => {
    const isAverage = perSeed.every(({ seed }) => seed === undefined);
    const over = isAverage ? 'pod list' : `${perSeed.length} seed${perSeed.length === 1 ? '' : 's'}`;
    return { trace, over, bounds: mean };
  });
}

export function boundTable(rows: readonly NamedBounds[]): string {
  const head = ['trace', 'over', 'no refusal up to %', 'upper bound %', 'with all CPU-only pods %'];
  const shown = (value: number | undefined): string => (value === undefined ? '-' : value.toFixed(2));
  const cells = rows.map(({ trace, over, bounds }) => [
    trace,
    over,
    shown(bounds.noRefusalPercent),
    shown(bounds.linearPercent),
    shown(bounds.allCpuOnlyPercent),
  ]);
  return textTable(head, cells, [0, 1]);
}
