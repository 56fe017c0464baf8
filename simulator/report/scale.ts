// Linear scales with round ticks.

export interface Scale {
  readonly from: number;
  readonly to: number;
  /** Round values from `from` to `to`. */
  readonly ticks: readonly number[];
  /** Place of a value, in the units of the drawing; outside values are put on the edge. */
  at(value: number): number;
}

/** Covers the values with round ends; `start` and `end` are places in the drawing, either way round. */
export function roundScale(least: number, most: number, start: number, end: number): Scale {
  const top = most > least ? most : least + 1;
  const step = roundStep((top - least) / 6);
  return scale(Math.floor(least / step + 1e-9) * step, Math.ceil(top / step - 1e-9) * step, step, start, end);
}

/** Covers the values and no more. */
export function exactScale(least: number, most: number, start: number, end: number): Scale {
  const to = most > least ? most : least + 1;
  return scale(least, to, roundStep((to - least) / 8), start, end);
}

function scale(from: number, to: number, step: number, start: number, end: number): Scale {
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.floor(to / step + 1e-9) - first + 1;
  return {
    from,
    to,
    ticks: Array.from({ length: count }, (_, at) => Number(((first + at) * step).toPrecision(12))),
    at: (value) => start + ((Math.min(to, Math.max(from, value)) - from) / (to - from)) * (end - start),
  };
}

/** The next of 1, 2, 5, 10, 20, … that is not below. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  const factor = [1, 2, 5, 10].find((each) => each * power >= least * (1 - 1e-9)) ?? 10;
  return factor * power;
}
