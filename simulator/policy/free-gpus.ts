// What the published baselines read of a node's GPUs, and the GPU that all of them take: the tightest that fits.
// Of whole GPUs the idle ones with the lowest positions are the tightest, so one rule serves both kinds of pods.

import type { FitScratch } from '../../extender/core/fit.ts';
import { MAX_GPUS_PER_NODE } from '../../extender/core/inventory-codec.ts';
import { chooseSmallest, type Choice } from '../../extender/core/policy/policy.ts';
import type { ClusterState } from '../../extender/core/state.ts';

/** The normalisation of the experiments: 128 cores and 8 GPUs. */
export const MOST_CPU_MILLI = 128_000;
export const MOST_GPU_MILLI = 8000;

/** Free milli of one node's GPUs by position. Allocated once and reused. */
export class FreeGpus {
  readonly milli: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  count = 0;
  total = 0;

  read(state: ClusterState, node: number): this {
    const start = state.gpuStart[node] ?? 0;
    this.count = state.gpuCount[node] ?? 0;
    this.total = 0;
    for (let position = 0; position < this.count; position++) {
      const free = state.gpuFree[start + position] ?? 0;
      this.milli[position] = free;
      this.total += free;
    }
    return this;
  }

  chooseTightest(fitted: FitScratch, count: number, choice: Choice): void {
    chooseSmallest(fitted, this.milli, count, choice);
  }
}
