// The flag that gives the default policy other weights, the same for every command that places pods.

import { InvalidArgumentError, type Command } from 'commander';

import {
  checkedRoomWeights,
  DEFAULT_ROOM_WEIGHTS,
  ROOM_WEIGHT_NAMES,
  type RoomWeights,
} from '../../extender/core/room-weights.ts';

const ADVICE = 'Write some of gpuCountExponent, cpuWeight and stepPods, such as cpuWeight=0.2,stepPods=0.05.';

export function addWeightsOption(command: Command): Command {
  return command.option(
    '--weights <name=number,...>',
    'of the policy fragmentation, as tune finds them; the others keep their defaults',
    weightsOf,
  );
}

export function weightsOf(text: string): RoomWeights {
  const pairs = text.split(',').map(pairOf);
  if (new Set(pairs.map(([name]) => name)).size < pairs.length) throw new InvalidArgumentError(ADVICE);
  try {
    return checkedRoomWeights({ ...DEFAULT_ROOM_WEIGHTS, ...Object.fromEntries(pairs) });
  } catch (cause) {
    if (cause instanceof RangeError) throw new InvalidArgumentError(`The ${cause.message}.`);
    throw cause;
  }
}

function pairOf(pair: string): readonly [string, number] {
  const [, word, value] = /^\s*([A-Za-z]+)=(\d{1,3}(?:\.\d{1,9})?)\s*$/.exec(pair) ?? [];
  const name = ROOM_WEIGHT_NAMES.find((each) => each === word);
  if (name === undefined) throw new InvalidArgumentError(ADVICE);
  return [name, Number(value)];
}
