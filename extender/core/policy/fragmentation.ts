// Fragmentation gradient descent: place where the capacity that typical requests cannot use grows least.
// Score and choice of GPU after FGD (USENIX ATC'23, section 4.2) and its artifact; the cut to an integer 0..100 is part
// of the policy: with the uncut value it allocates less.

import { fragmentedMilli, NodeSketch } from '../fragmentation.ts';
import type { FitScratch } from '../fit.ts';
import { MAX_GPUS_PER_NODE } from '../inventory-codec.ts';
import type { Mix } from '../mix.ts';
import { Mix as MixTable } from '../mix.ts';
import type { PodRequest } from '../model.ts';
import type { Shape } from '../shape.ts';
import type { ClusterState } from '../state.ts';
import { chooseSmallest, type Choice, type PlacementPolicy } from './policy.ts';

/** The policy over whatever mix `currentMix` gives at the moment of the call. */
export function fragmentation(currentMix: () => Mix): PlacementPolicy {
  const sketch = new NodeSketch();
  const keys = new Float64Array(MAX_GPUS_PER_NODE);
  return {
    name: 'fragmentation',
    termNames: ['fragmentedBeforeMilli', 'fragmentedAfterMilli'],
    version: () => currentMix().version,
    place(state, node, shape, fitted, choice) {
      const learned = currentMix();
      const mix = learned.length > 0 ? learned : mixOfOne(shape);
      sketch.read(state, node, mix);
      const before = fragmentedMilli(sketch, mix, state);
      sketch.cpuFreeMilli -= shape.request.host.cpuMilli;
      if (shape.request.gpuCount === 1) return placeOne(state, shape.request, mix, sketch, fitted, before, choice);
      return placeSeveral(state, shape.request, mix, sketch, fitted, before, keys, choice);
    },
  };
}

/** Before anything has been learned the request itself is all that is typical. */
function mixOfOne({ request, constraintId }: Shape): Mix {
  const { gpuCount, slicesPerGpu, corePerGpu, host } = request;
  return new MixTable(0, [{ cpuMilli: host.cpuMilli, slicesPerGpu, corePerGpu, gpuCount, constraintId }], [1]);
}

function placeOne(
  state: ClusterState,
  request: PodRequest,
  mix: Mix,
  sketch: NodeSketch,
  fitted: FitScratch,
  before: number,
  choice: Choice,
): number {
  let bestScore = -1;
  for (let each = 0; each < fitted.candidateCount; each++) {
    const gpu = fitted.candidates[each] ?? 0;
    if (hasTwin(sketch, fitted, each)) continue;
    sketch.take(gpu, request.slicesPerGpu, request.corePerGpu, mix);
    const after = fragmentedMilli(sketch, mix, state);
    sketch.take(gpu, -request.slicesPerGpu, -request.corePerGpu, mix);
    const score = gradientScore(before - after);
    if (score <= bestScore) continue;
    bestScore = score;
    choice.gpus[0] = gpu;
    choice.terms[0] = before;
    choice.terms[1] = after;
  }
  choice.count = 1;
  return bestScore;
}

/** Several GPUs: the tightest that fit, lowest position among equals. No GPUs: only CPU is taken. */
function placeSeveral(
  state: ClusterState,
  request: PodRequest,
  mix: Mix,
  sketch: NodeSketch,
  fitted: FitScratch,
  before: number,
  keys: Float64Array,
  choice: Choice,
): number {
  for (let each = 0; each < sketch.gpus; each++) keys[each] = sketch.idle[each] ?? 0;
  chooseSmallest(fitted, keys, request.gpuCount, choice);
  for (let each = 0; each < choice.count; each++) {
    sketch.take(choice.gpus[each] ?? 0, request.slicesPerGpu, request.corePerGpu, mix);
  }
  const after = fragmentedMilli(sketch, mix, state);
  choice.terms[0] = before;
  choice.terms[1] = after;
  return gradientScore(before - after);
}

function gradientScore(gainMilli: number): number {
  return Math.trunc(100 / (1 + Math.exp(-gainMilli / 1000)));
}

/** Whether an earlier candidate is in the same state, so that trying this one cannot give another score. */
function hasTwin(sketch: NodeSketch, fitted: FitScratch, each: number): boolean {
  const { free, core, model, milliPerSlice } = sketch;
  const gpu = fitted.candidates[each] ?? 0;
  for (let earlier = 0; earlier < each; earlier++) {
    const other = fitted.candidates[earlier] ?? 0;
    if (
      free[other] === free[gpu] &&
      core[other] === core[gpu] &&
      model[other] === model[gpu] &&
      milliPerSlice[other] === milliPerSlice[gpu]
    ) {
      return true;
    }
  }
  return false;
}
