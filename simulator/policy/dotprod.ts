// DotProd of the FGD experiments (all GPUs as one sum, constant normalisation): a small product of what is free and
// what is asked for is preferred.

import type { PlacementPolicy } from '../../extender/core/policy/policy.ts';
import { milliOf } from '../workload.ts';
import { FreeGpus, MOST_CPU_MILLI, MOST_GPU_MILLI } from './free-gpus.ts';

export function dotProduct(): PlacementPolicy {
  const free = new FreeGpus();
  return {
    name: 'dotprod',
    termNames: [],
    version: () => 0,
    place(state, node, { request }, fitted, choice) {
      free.read(state, node).chooseTightest(fitted, request.gpuCount, choice);
      const cpu = ((state.cpuFreeMilli[node] ?? 0) / MOST_CPU_MILLI) * (request.host.cpuMilli / MOST_CPU_MILLI);
      const gpu = (free.total / MOST_GPU_MILLI) * (milliOf(request) / MOST_GPU_MILLI);
      return Math.trunc(100 * (1 - (cpu + gpu) / 2));
    },
  };
}
