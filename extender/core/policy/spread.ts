// Take the emptiest GPUs, on the emptiest nodes (LeastAllocated at GPU level).

import { FreeFractions, measureChoice, STEPS } from './fullness.ts';
import { chooseSmallest, type PlacementPolicy } from './policy.ts';

export function spread(): PlacementPolicy {
  const fractions = new FreeFractions();
  return {
    name: 'spread',
    termNames: ['gpuFreeAfter', 'nodeFreeBefore'],
    version: () => 0,
    scoresTwinsAlike: true,
    place(state, node, shape, fitted, choice) {
      const keys = fractions.read(state, node, shape.request);
      const count = state.gpuCount[node] ?? 0;
      for (let position = 0; position < count; position++) keys[position] = -(keys[position] ?? 0);
      chooseSmallest(fitted, keys, shape.request.gpuCount, choice);
      measureChoice(state, node, shape.request, choice);
      const gpuFree = Math.round((choice.terms[0] ?? 0) * STEPS);
      const nodeFree = Math.round((choice.terms[1] ?? 0) * STEPS);
      return gpuFree * (STEPS + 1) + nodeFree;
    },
  };
}
