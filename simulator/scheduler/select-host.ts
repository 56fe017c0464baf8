// kube-scheduler's choice among the nodes with the highest total: reservoir sampling in one pass, all equally likely.

import type { Random } from '../../extender/random.ts';

/** The position of the chosen one of `count` totals; -1 of none. A number is drawn only where two are equal. */
export function selectHost(totals: Float64Array, count: number, random: Random): number {
  let selected = -1;
  let highest = Number.NEGATIVE_INFINITY;
  let equals = 0;
  for (let each = 0; each < count; each++) {
    const total = totals[each] ?? 0;
    if (total > highest) {
      highest = total;
      selected = each;
      equals = 1;
    } else if (total === highest) {
      equals++;
      if (random.between(0, equals - 1) === 0) selected = each;
    }
  }
  return selected;
}
