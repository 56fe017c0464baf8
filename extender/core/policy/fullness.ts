// How full GPUs are, as binpack and spread see it: free fraction of memory, and of compute where the pod names some.

import { MAX_GPUS_PER_NODE } from '../inventory-codec.ts';
import type { PodRequest } from '../model.ts';
import type { ClusterState } from '../state.ts';
import type { Choice } from './policy.ts';

/** Steps of a free fraction in a score. */
export const STEPS = 1000;

/** Free fraction of each GPU of the node, 0..1, by position. The returned array is reused by the next call. */
export class FreeFractions {
  readonly byPosition: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);

  read(state: ClusterState, node: number, request: PodRequest): Float64Array {
    const start = state.gpuStart[node] ?? 0;
    const count = state.gpuCount[node] ?? 0;
    for (let position = 0; position < count; position++) {
      this.byPosition[position] = freeFraction(state, start + position, request, false);
    }
    return this.byPosition;
  }
}

/** Free fraction of one GPU, before or after the pod is placed on it. */
export function freeFraction(state: ClusterState, at: number, request: PodRequest, isPlaced: boolean): number {
  const capacity = state.gpuCapacity[at] ?? 0;
  const slices = (state.gpuFree[at] ?? 0) - (isPlaced ? request.slicesPerGpu : 0);
  const memory = capacity === 0 ? 0 : slices / capacity;
  if (request.corePerGpu === 0) return memory;
  const core = (state.gpuFreeCore[at] ?? 0) - (isPlaced ? request.corePerGpu : 0);
  return (memory + core / 100) / 2;
}

/** Mean free fraction of the chosen GPUs after placing, and of the whole node before, each 0..1. */
export function measureChoice(state: ClusterState, node: number, request: PodRequest, choice: Choice): void {
  const start = state.gpuStart[node] ?? 0;
  const count = state.gpuCount[node] ?? 0;
  let chosen = 0;
  for (let each = 0; each < choice.count; each++) {
    chosen += freeFraction(state, start + (choice.gpus[each] ?? 0), request, true);
  }
  let whole = 0;
  for (let position = 0; position < count; position++) whole += freeFraction(state, start + position, request, false);
  choice.terms[0] = choice.count === 0 ? 0 : chosen / choice.count;
  choice.terms[1] = count === 0 ? 0 : whole / count;
}
