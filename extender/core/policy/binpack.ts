// Fill the fullest GPUs that still fit, then the fullest nodes (MostAllocated at GPU level).

import { FreeFractions, measureChoice, STEPS } from './fullness.ts';
import { chooseSmallest, type PlacementPolicy } from './policy.ts';

export function binpack(): PlacementPolicy {
  const fractions = new FreeFractions();
  return {
    name: 'binpack',
    termNames: ['gpuFreeAfter', 'nodeFreeBefore'],
    version: () => 0,
    scoresTwinsAlike: true,
    place(state, node, shape, fitted, choice) {
      const keys = fractions.read(state, node, shape.request);
      chooseSmallest(fitted, keys, shape.request.gpuCount, choice);
      measureChoice(state, node, shape.request, choice);
      const gpuFull = Math.round((1 - (choice.terms[0] ?? 0)) * STEPS);
      const nodeFull = Math.round((1 - (choice.terms[1] ?? 0)) * STEPS);
      return gpuFull * (STEPS + 1) + nodeFull;
    },
  };
}
