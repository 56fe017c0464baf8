// The weights of the default policy from the flags of a command. A flag without effect would be read as one that had it.

import type { RoomWeights } from '../../extender/core/room-weights.ts';
import { TraceFault } from '../trace/fault.ts';

export interface WeightFlags {
  readonly weights?: RoomWeights;
}

/** The weights for these policies, as options of a run. */
export function chosenWeights({ weights }: WeightFlags, policies: readonly string[]): WeightFlags {
  if (weights === undefined) return {};
  if (policies.includes('fragmentation')) return { weights };
  throw new TraceFault('--weights: only the policy fragmentation has them; name it, or leave the flag out');
}
