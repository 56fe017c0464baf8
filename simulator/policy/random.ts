// Random of the FGD experiments, on one node: a sharing pod takes any GPU that fits, all equally likely; a pod of
// whole GPUs takes the lowest. Which node is the driver's draw, so every node scores the same.

import type { PlacementPolicy } from '../../extender/core/policy/policy.ts';
import { MILLI_PER_GPU } from '../workload.ts';

/** `draw` is called once for each pod placed by a fresh judgement; verdicts must not be cached under its scores. */
export function randomGpu(draw: () => number): PlacementPolicy {
  return {
    name: 'random',
    termNames: [],
    version: () => 0,
    place(_state, _node, { request }, fitted, choice) {
      const first = request.slicesPerGpu < MILLI_PER_GPU ? Math.floor(draw() * fitted.candidateCount) : 0;
      for (let each = 0; each < request.gpuCount; each++) choice.gpus[each] = fitted.candidates[first + each] ?? 0;
      choice.count = request.gpuCount;
      return 0;
    },
  };
}
