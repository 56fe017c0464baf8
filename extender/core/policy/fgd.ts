// Fragmentation gradient descent as published: place where the capacity that typical requests cannot use grows least.
// Score and choice of GPU after FGD (USENIX ATC'23, section 4.2) and its artifact; the cut to an integer 0..100 is part
// of the policy: with the uncut value it allocates less. What pods get by default is `fragmentation.ts`.

import type { FragmentationMeter } from '../fragmentation.ts';
import type { FitScratch } from '../fit.ts';
import { type Mix, mixOfOne } from '../mix.ts';
import type { PodRequest } from '../model.ts';
import { chooseSmallest, hasTwin, type Choice, type PlacementPolicy } from './policy.ts';

/** The policy over whatever mix `currentMix` gives at the moment of the call. `meter` is one that keeps nodes. */
export function fgd(currentMix: () => Mix, meter: FragmentationMeter): PlacementPolicy {
  return {
    name: 'fgd',
    termNames: ['fragmentedBeforeMilli', 'fragmentedAfterMilli'],
    version: () => currentMix().version,
    scoresTwinsAlike: true,
    place(state, node, shape, fitted, choice) {
      const learned = currentMix();
      meter.read(state, node, learned.length > 0 ? learned : mixOfOne(shape.request, shape.constraintId));
      const before = meter.measure();
      choice.terms[0] = before;
      return shape.request.gpuCount === 1
        ? placeOne(meter, shape.request, fitted, before, choice)
        : placeSeveral(meter, shape.request, fitted, before, choice);
    },
  };
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
    if (hasTwin(meter.columns, fitted, each)) continue;
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
