// GpuPacking of the FGD experiments: used GPUs first, then idle GPUs of used nodes, then untouched nodes.

import type { Choice, PlacementPolicy } from '../../extender/core/policy/policy.ts';
import { MILLI_PER_GPU } from '../workload.ts';
import { FreeGpus } from './free-gpus.ts';

const UNTOUCHED_NODE = 33;
const IDLE_GPUS = 50;
const USED_GPUS = 100;

export function gpuPacking(): PlacementPolicy {
  const free = new FreeGpus();
  return {
    name: 'gpupacking',
    termNames: [],
    version: () => 0,
    place(state, node, { request }, fitted, choice) {
      free.read(state, node).chooseTightest(fitted, request.gpuCount, choice);
      return request.gpuCount === 0 ? 0 : score(free, choice);
    },
  };
}

function score(free: FreeGpus, choice: Choice): number {
  if (free.total === free.count * MILLI_PER_GPU) return Math.max(UNTOUCHED_NODE - free.count, free.count);
  let idle = 0;
  let freePercent = 0;
  for (let each = 0; each < choice.count; each++) {
    const milli = free.milli[choice.gpus[each] ?? 0] ?? 0;
    if (milli === MILLI_PER_GPU) idle++;
    freePercent += Math.floor(milli / 10);
  }
  return idle > 0
    ? Math.max(IDLE_GPUS - idle, UNTOUCHED_NODE)
    : Math.max(USED_GPUS - Math.floor(freePercent / 10), IDLE_GPUS);
}
