// The weights of the default policy's score, as numbers an operator may change. `room.ts` says what room is;
// `simulator tune` searches weights for given workloads.

/** See the formulas of `room.ts` and `policy/fragmentation.ts`. */
export interface RoomWeights {
  /** A pod of n GPUs counts n to this power: 0 counts pods, 1 counts GPUs. */
  readonly gpuCountExponent: number;
  /** Share of the pods that GPUs have room for, and CPU has not, which counts as lost already. */
  readonly cpuWeight: number;
  /** In weighted pods. Losses less than this apart are equal, and the first node in name order wins. */
  readonly stepPods: number;
}

export interface WeightRange {
  readonly minimum: number;
  readonly maximum: number;
}

/** docs/decisions/0015 tells how they were chosen. */
export const DEFAULT_ROOM_WEIGHTS: RoomWeights = { gpuCountExponent: 0.8, cpuWeight: 0.1, stepPods: 0.04 };

/** Both ends are allowed. With smaller steps scores of large nodes would leave the range that affinity relies on. */
export const ROOM_WEIGHT_RANGES: Readonly<Record<keyof RoomWeights, WeightRange>> = {
  gpuCountExponent: { minimum: 0, maximum: 2 },
  cpuWeight: { minimum: 0, maximum: 1 },
  stepPods: { minimum: 0.001, maximum: 1 },
};

export const ROOM_WEIGHT_NAMES: readonly (keyof RoomWeights)[] = ['gpuCountExponent', 'cpuWeight', 'stepPods'];

/** The weights as they are; a RangeError names the first that is out of its range. */
export function checkedRoomWeights(weights: RoomWeights): RoomWeights {
  for (const name of ROOM_WEIGHT_NAMES) {
    const { minimum, maximum } = ROOM_WEIGHT_RANGES[name];
    const value = weights[name];
    if (value >= minimum && value <= maximum) continue;
    throw new RangeError(`weight ${name} is ${value}; it must be from ${minimum} to ${maximum}`);
  }
  return weights;
}
