// Several GPUs that are close to each other: NVLink weight where the node reports it, else the same NUMA node.
// A pod of one GPU has no distance to minimise and is packed, which keeps sets of close GPUs whole for others.

import { MAX_GPUS_PER_NODE } from '../inventory-codec.ts';
import type { FitScratch } from '../fit.ts';
import type { ClusterState } from '../state.ts';
import { FreeFractions, measureChoice, STEPS } from './fullness.ts';
import { chooseSmallest, type Choice, type PlacementPolicy } from './policy.ts';

const MAX_CLOSENESS = 1000;

export function topology(): PlacementPolicy {
  const fractions = new FreeFractions();
  const trial = new Int32Array(MAX_GPUS_PER_NODE);
  return {
    name: 'topology',
    termNames: ['gpuFreeAfter', 'nodeFreeBefore', 'closeness'],
    version: () => 0,
    place(state, node, shape, fitted, choice) {
      const keys = fractions.read(state, node, shape.request);
      const wanted = shape.request.gpuCount;
      if (wanted > 1) chooseClosest(state, node, fitted, wanted, keys, trial, choice);
      else chooseSmallest(fitted, keys, wanted, choice);
      measureChoice(state, node, shape.request, choice);
      const pairs = (choice.count * (choice.count - 1)) / 2;
      const close =
        pairs === 0
          ? 0
          : Math.min(MAX_CLOSENESS, Math.round(totalCloseness(state, node, choice.gpus, choice.count) / pairs));
      choice.terms[2] = close;
      return close * (STEPS + 1) + Math.round((1 - (choice.terms[0] ?? 0)) * STEPS);
    },
  };
}

/** Grows a set from each candidate by the GPU closest to the set (then fullest, then lowest); keeps the closest set. */
function chooseClosest(
  state: ClusterState,
  node: number,
  fitted: FitScratch,
  wanted: number,
  freeFractions: Float64Array,
  trial: Int32Array,
  choice: Choice,
): void {
  let bestTotal = -1;
  let bestFree = Number.POSITIVE_INFINITY;
  for (let seed = 0; seed < fitted.candidateCount; seed++) {
    trial[0] = fitted.candidates[seed] ?? 0;
    for (let size = 1; size < wanted; size++) trial[size] = closestTo(state, node, fitted, trial, size, freeFractions);
    const total = totalCloseness(state, node, trial, wanted);
    let free = 0;
    for (let each = 0; each < wanted; each++) free += freeFractions[trial[each] ?? 0] ?? 0;
    if (total < bestTotal || (total === bestTotal && free >= bestFree)) continue;
    bestTotal = total;
    bestFree = free;
    choice.gpus.set(trial.subarray(0, wanted));
  }
  choice.count = wanted;
  choice.gpus.subarray(0, wanted).sort();
}

function closestTo(
  state: ClusterState,
  node: number,
  fitted: FitScratch,
  chosen: Int32Array,
  size: number,
  freeFractions: Float64Array,
): number {
  let best = -1;
  let bestClose = -1;
  let bestFree = Number.POSITIVE_INFINITY;
  for (let each = 0; each < fitted.candidateCount; each++) {
    const gpu = fitted.candidates[each] ?? 0;
    let close = 0;
    let isChosen = false;
    for (let other = 0; other < size; other++) {
      if (chosen[other] === gpu) isChosen = true;
      close += closeness(state, node, gpu, chosen[other] ?? 0);
    }
    const free = freeFractions[gpu] ?? 0;
    if (isChosen || close < bestClose || (close === bestClose && free >= bestFree)) continue;
    best = gpu;
    bestClose = close;
    bestFree = free;
  }
  return best;
}

function totalCloseness(state: ClusterState, node: number, gpus: Int32Array, count: number): number {
  let total = 0;
  for (let a = 0; a < count; a++) {
    for (let b = a + 1; b < count; b++) total += closeness(state, node, gpus[a] ?? 0, gpus[b] ?? 0);
  }
  return total;
}

/** Link weight of two GPUs of a node; sharing a NUMA node counts as the weakest link. */
function closeness(state: ClusterState, node: number, a: number, b: number): number {
  const count = state.gpuCount[node] ?? 0;
  const start = state.gpuStart[node] ?? 0;
  const link = state.links[node]?.[a * count + b] ?? 0;
  if (link > 0) return link + 1;
  const numa = state.gpuNuma[start + a] ?? -1;
  return numa >= 0 && numa === state.gpuNuma[start + b] ? 1 : 0;
}
