// BestFit of the FGD experiments: the node with the least CPU and GPU left over, both weighted alike.

import type { PlacementPolicy } from '../../extender/core/policy/policy.ts';
import { milliOf } from '../workload.ts';
import { FreeGpus, MOST_CPU_MILLI, MOST_GPU_MILLI } from './free-gpus.ts';

export function bestFit(): PlacementPolicy {
  const free = new FreeGpus();
  return {
    name: 'bestfit',
    termNames: [],
    version: () => 0,
    place(state, node, { request }, fitted, choice) {
      free.read(state, node).chooseTightest(fitted, request.gpuCount, choice);
      const cpuLeft = ((state.cpuFreeMilli[node] ?? 0) - request.host.cpuMilli) / MOST_CPU_MILLI;
      const gpuLeft = (free.total - milliOf(request)) / MOST_GPU_MILLI;
      return Math.trunc(100 * (1 - (0.5 * cpuLeft + 0.5 * gpuLeft)));
    },
  };
}
