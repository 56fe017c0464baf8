// The weights as the extender's configuration file has them. Pure.

import type { RoomWeights } from '../../extender/core/room-weights.ts';
import { WEIGHT_NAMES } from './space.ts';

/** YAML for `gpuloom-extender --config`. */
export function configSnippet(weights: RoomWeights): string {
  return ['weights:', ...WEIGHT_NAMES.map((name) => `  ${name}: ${weights[name]}`), ''].join('\n');
}
