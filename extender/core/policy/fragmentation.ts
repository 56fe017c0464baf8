// Least room lost: place where the pods that are likely to come lose the least room. The default policy.
// Room and its formula are in `room.ts`; docs/decisions/0015 tells how it compares with FGD (USENIX ATC'23).
//
// score = floor((room after − room before) / stepPods): losses that are less than a step apart are equal, and the first
// node in name order wins, which fills nodes one after another.

import type { FitScratch } from '../fit.ts';
import { type Mix, mixOfOne } from '../mix.ts';
import type { PodRequest } from '../model.ts';
import { DEFAULT_ROOM_WEIGHTS, type RoomWeights } from '../room-weights.ts';
import { RoomMeter } from '../room.ts';
import { chooseSmallest, hasTwin, type Choice, type PlacementPolicy } from './policy.ts';

/** A loss this much below a whole number of steps is that number: sums differ in their last bits. */
const ROUNDING = 1e-6;
const LEAST_SCORE: number = 1 - 2 ** 30;

/** The policy over whatever mix `currentMix` gives at the moment of the call. */
export function fragmentation(currentMix: () => Mix, weights: RoomWeights = DEFAULT_ROOM_WEIGHTS): PlacementPolicy {
  const meter = new RoomMeter(weights);
  const { stepPods } = weights;
  let alone: { readonly request: PodRequest; readonly mix: Mix } | undefined;
  return {
    name: 'fragmentation',
    termNames: ['roomBeforePods', 'roomAfterPods'],
    version: () => currentMix().version,
    scoresTwinsAlike: true,
    place(state, node, { request, constraintId }, fitted, choice) {
      let { whole } = currentMix();
      if (!whole.asksForGpus) {
        if (alone?.request !== request) alone = { request, mix: mixOfOne(request, constraintId) };
        whole = alone.mix;
      }
      meter.read(state, node, whole);
      choice.terms[0] = meter.before;
      return request.gpuCount === 1
        ? placeOne(meter, stepPods, request, fitted, choice)
        : placeSeveral(meter, stepPods, request, fitted, choice);
    },
  };
}

function placeOne(meter: RoomMeter, stepPods: number, request: PodRequest, fitted: FitScratch, choice: Choice): number {
  const { slicesPerGpu, corePerGpu, host } = request;
  let best = Number.NEGATIVE_INFINITY;
  for (let each = 0; each < fitted.candidateCount; each++) {
    if (hasTwin(meter.columns, fitted, each)) continue;
    const gpu = fitted.candidates[each] ?? 0;
    const after = meter.afterOn(gpu, slicesPerGpu, corePerGpu, host.cpuMilli);
    const score = scoreOf(meter.before, after, stepPods);
    if (score <= best) continue;
    best = score;
    choice.gpus[0] = gpu;
    choice.terms[1] = after;
  }
  choice.count = 1;
  return best;
}

/** Several GPUs: those with the least free memory that fit, lowest position among equals. No GPUs: only CPU is taken. */
function placeSeveral(
  meter: RoomMeter,
  stepPods: number,
  request: PodRequest,
  fitted: FitScratch,
  choice: Choice,
): number {
  chooseSmallest(fitted, meter.free, request.gpuCount, choice);
  const { slicesPerGpu, corePerGpu, host } = request;
  const after =
    choice.count === 0
      ? meter.afterOn(-1, 0, 0, host.cpuMilli)
      : meter.afterTaking(choice.gpus, choice.count, slicesPerGpu, corePerGpu, host.cpuMilli);
  choice.terms[1] = after;
  return scoreOf(meter.before, after, stepPods);
}

function scoreOf(before: number, after: number, stepPods: number): number {
  return Math.max(LEAST_SCORE, Math.floor((after - before) / stepPods + ROUNDING));
}
