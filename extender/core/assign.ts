// From the chosen GPUs to what each container is granted on them.

import type { GpuKey } from './resident.ts';
import type { Allocation, PodRequest } from './model.ts';

/** Every container that asks for GPU memory is granted its own amounts on each of the pod's GPUs. */
export function allocationFor(request: PodRequest, gpus: readonly GpuKey[]): Allocation {
  return {
    containers: request.containers
      .filter(({ slicesPerGpu }) => slicesPerGpu > 0)
      .map(({ name, slicesPerGpu, corePerGpu }) => ({
        name,
        gpus: gpus.map(({ uuid, index }) => ({ uuid, index, slices: slicesPerGpu, core: corePerGpu })),
      })),
  };
}
