// Fragmentation gradient descent: place where the capacity that typical requests cannot use grows least.
// Score and choice of GPU after FGD (USENIX ATC'23, section 4.2) and its artifact; the cut to an integer 0..100 is part
// of the policy: with the uncut value it allocates less.

import type { FragmentationMeter } from '../fragmentation.ts';
import type { FitScratch } from '../fit.ts';
import { Mix } from '../mix.ts';
import type { PodRequest } from '../model.ts';
import type { Shape } from '../shape.ts';
import { chooseSmallest, type Choice, type PlacementPolicy } from './policy.ts';

/** The policy over whatever mix `currentMix` gives at the moment of the call. `meter` is one that keeps nodes. */
export function fragmentation(currentMix: () => Mix, meter: FragmentationMeter): PlacementPolicy {
  return {
    name: 'fragmentation',
    termNames: ['fragmentedBeforeMilli', 'fragmentedAfterMilli'],
    version: () => currentMix().version,
    place(state, node, shape, fitted, choice) {
      const learned = currentMix();
      meter.read(state, node, learned.length > 0 ? learned : mixOfOne(shape));
      const before = meter.measure();
      choice.terms[0] = before;
      return shape.request.gpuCount === 1
        ? placeOne(meter, shape.request, fitted, before, choice)
        : placeSeveral(meter, shape.request, fitted, before, choice);
    },
  };
}

/** Before anything has been learned the request itself is all that is typical. */
function mixOfOne({ request, constraintId }: Shape): Mix {
  const { gpuCount, slicesPerGpu, corePerGpu, host } = request;
  return new Mix(0, [{ cpuMilli: host.cpuMilli, slicesPerGpu, corePerGpu, gpuCount, constraintId }], [1]);
}

function placeOne(
  meter: FragmentationMeter,
  request: PodRequest,
  fitted: FitScratch,
  before: number,
  choice: Choice,
): number {
  const { slicesPerGpu, corePerGpu, host } = request;
  let bestScore = -1;
  for (let each = 0; each < fitted.candidateCount; each++) {
    if (hasTwin(meter, fitted, each)) continue;
    const gpu = fitted.candidates[each] ?? 0;
    const after = meter.afterOn(gpu, slicesPerGpu, corePerGpu, host.cpuMilli);
    const score = gradientScore(before - after);
    if (score <= bestScore) continue;
    bestScore = score;
    choice.gpus[0] = gpu;
    choice.terms[1] = after;
  }
  choice.count = 1;
  return bestScore;
}

/** Several GPUs: the tightest that fit, lowest position among equals. No GPUs: only CPU is taken. */
function placeSeveral(
  meter: FragmentationMeter,
  request: PodRequest,
  fitted: FitScratch,
  before: number,
  choice: Choice,
): number {
  chooseSmallest(fitted, meter.idle, request.gpuCount, choice);
  for (let each = 0; each < choice.count; each++) {
    meter.take(choice.gpus[each] ?? 0, request.slicesPerGpu, request.corePerGpu);
  }
  const after = meter.measure(request.host.cpuMilli);
  choice.terms[1] = after;
  return gradientScore(before - after);
}

function gradientScore(gainMilli: number): number {
  return Math.trunc(100 / (1 + Math.exp(-gainMilli / 1000)));
}

/** Whether an earlier candidate is in the same state, so that trying this one cannot give another score. */
function hasTwin({ free, core, model, milliPerSlice }: FragmentationMeter, fitted: FitScratch, each: number): boolean {
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
