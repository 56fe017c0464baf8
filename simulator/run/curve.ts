// Allocation and fragmentation against arrived load, binned as the published curves are: every arrival falls into the
// bin of its arrived percent, rounded half to even, and a bin is the mean of its arrivals, each rounded to 0.01 first.

export interface CurvePoint {
  readonly arrivedPercent: number;
  readonly allocationPercent: number;
  readonly fragmentationPercent: number;
  /** Of the idle capacity. */
  readonly fragmentationRatioPercent: number;
}

interface Bin {
  arrivals: number;
  allocation: number;
  fragmentation: number;
  ratio: number;
}

export class Curve {
  readonly #capacityMilli: number;
  readonly #bins: (Bin | undefined)[] = [];

  constructor(capacityMilli: number) {
    this.#capacityMilli = capacityMilli;
  }

  /** Call after every arrival, placed or refused. */
  add(arrivedMilli: number, allocatedMilli: number, fragmentationMilli: number): void {
    const capacity = this.#capacityMilli;
    const percent = roundHalfEven((arrivedMilli / capacity) * 100);
    const bin = (this.#bins[percent] ??= { arrivals: 0, allocation: 0, fragmentation: 0, ratio: 0 });
    bin.arrivals++;
    bin.allocation += hundredths((allocatedMilli / capacity) * 100);
    bin.fragmentation += hundredths((fragmentationMilli / capacity) * 100);
    const idle = capacity - allocatedMilli;
    bin.ratio += idle === 0 ? 0 : hundredths((fragmentationMilli / idle) * 100);
  }

  points(): CurvePoint[] {
    return this.#bins.flatMap((bin, arrivedPercent) => {
      if (bin === undefined) return [];
      const mean = (sum: number): number => Number((sum / bin.arrivals / 100).toFixed(2));
      return [
        {
          arrivedPercent,
          allocationPercent: mean(bin.allocation),
          fragmentationPercent: mean(bin.fragmentation),
          fragmentationRatioPercent: mean(bin.ratio),
        },
      ];
    });
  }
}

/** A percentage in whole hundredths. */
function hundredths(percent: number): number {
  return Math.round(percent * 100);
}

export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The mean over several curves, bin by bin; a bin counts the curves that have it. */
export function meanCurve(curves: readonly (readonly CurvePoint[])[]): CurvePoint[] {
  const bins = new Map<number, CurvePoint[]>();
  for (const point of curves.flat()) {
    const bin = bins.get(point.arrivedPercent);
    if (bin === undefined) bins.set(point.arrivedPercent, [point]);
    else bin.push(point);
  }
  const inOrder = [...bins].sort(([a], [b]) => a - b);
  return inOrder.map(([arrivedPercent, points]) => {
    const mean = (value: (point: CurvePoint) => number): number =>
      Number((points.reduce((sum, point) => sum + value(point), 0) / points.length).toFixed(4));
    return {
      arrivedPercent,
      allocationPercent: mean((point) => point.allocationPercent),
      fragmentationPercent: mean((point) => point.fragmentationPercent),
      fragmentationRatioPercent: mean((point) => point.fragmentationRatioPercent),
    };
  });
}
