// Where the weights of the default policy are searched: all of their ranges, each on a scale from 0 to 1 on which equal
// distances matter about equally, and on a grid of few decimals, so that what is found can be read and written. Pure.

import {
  DEFAULT_ROOM_WEIGHTS,
  ROOM_WEIGHT_RANGES,
  type RoomWeights,
  type WeightRange,
} from '../../extender/core/room-weights.ts';

export type WeightName = keyof RoomWeights;

interface Axis {
  readonly name: WeightName;
  readonly scale: 'linear' | 'logarithmic';
  readonly decimals: number;
  /** Of the Halton sequence. */
  readonly base: number;
}

const AXES: readonly Axis[] = [
  { name: 'gpuCountExponent', scale: 'linear', decimals: 2, base: 2 },
  { name: 'cpuWeight', scale: 'linear', decimals: 2, base: 3 },
  { name: 'stepPods', scale: 'logarithmic', decimals: 3, base: 5 },
];

export const WEIGHT_NAMES: readonly WeightName[] = AXES.map(({ name }) => name);

/** The weights as text, alike for equal weights only. */
export function shownWeights(weights: RoomWeights): string {
  return WEIGHT_NAMES.map((name) => `${name} ${weights[name]}`).join(', ');
}

/** The `at`-th of a sequence of weights that fills the space evenly, however many are taken; `at` counts from 1. */
export function spread(at: number): RoomWeights {
  return AXES.reduce<RoomWeights>(
    (weights, axis) => ({ ...weights, [axis.name]: valueAt(axis, radicalInverse(at, axis.base)) }),
    DEFAULT_ROOM_WEIGHTS,
  );
}

/** Along each axis one step back and one ahead, as far as the range goes; a step is a part of the whole axis. */
export function neighbours(weights: RoomWeights, step: number): readonly RoomWeights[] {
  return AXES.flatMap((axis) =>
    [-step, step].map((distance) => {
      const place = Math.min(1, Math.max(0, placeOf(axis, weights[axis.name]) + distance));
      return { ...weights, [axis.name]: valueAt(axis, place) };
    }),
  );
}

function valueAt({ name, scale, decimals }: Axis, place: number): number {
  const { minimum, maximum } = ROOM_WEIGHT_RANGES[name];
  const value = scale === 'linear' ? minimum + place * (maximum - minimum) : minimum * (maximum / minimum) ** place;
  return within(ROOM_WEIGHT_RANGES[name], Number(value.toFixed(decimals)));
}

function placeOf({ name, scale }: Axis, value: number): number {
  const { minimum, maximum } = ROOM_WEIGHT_RANGES[name];
  return scale === 'linear'
    ? (value - minimum) / (maximum - minimum)
    : Math.log(value / minimum) / Math.log(maximum / minimum);
}

function within({ minimum, maximum }: WeightRange, value: number): number {
  return Math.min(maximum, Math.max(minimum, value));
}

/** The digits of a number in some base, mirrored behind the point. */
function radicalInverse(at: number, base: number): number {
  let inverse = 0;
  let part = 1;
  for (let rest = at; rest > 0; rest = Math.floor(rest / base)) {
    part /= base;
    inverse += part * (rest % base);
  }
  return inverse;
}
