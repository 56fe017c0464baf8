// What a placement policy is: it chooses GPUs among the candidates on one node and says how good that choice is.

import type { FitScratch } from '../fit.ts';
import { MAX_GPUS_PER_NODE } from '../inventory-codec.ts';
import type { Shape } from '../shape.ts';
import type { ClusterState } from '../state.ts';

/** A choice of GPUs on one node; positions are relative to the node's first GPU. Allocated once and reused. */
export class Choice {
  readonly gpus: Int32Array = new Int32Array(MAX_GPUS_PER_NODE);
  count = 0;
  /** Figures behind the score, in the order of the policy's `termNames`. */
  readonly terms: Float64Array = new Float64Array(4);
}

export interface PlacementPolicy {
  /** One of `POLICY_NAMES`, or the name a caller of the engine gives to a policy of its own. */
  readonly name: string;
  readonly termNames: readonly string[];
  /** Changes whenever a score for an unchanged node may change; scores are cached under it. */
  version(): number;
  /**
   * The score depends on nothing but the shape and what `Twins` compares of a node, so that nodes in equal states are
   * judged once.
   */
  readonly scoresTwinsAlike?: true;
  /**
   * Chooses `shape.request.gpuCount` of the candidates into `choice` and returns the node's score, higher is
   * better, with an absolute value below 2^30. Deterministic: equal GPUs are taken by lowest position.
   */
  place(state: ClusterState, node: number, shape: Shape, fitted: FitScratch, choice: Choice): number;
}

/**
 * Chooses the `count` candidates with the smallest key, lowest position first among equals. Keys are given by
 * position in `keys`. Selection by repeated minimum: at most a few GPUs of a few are wanted.
 */
export function chooseSmallest(fitted: FitScratch, keys: Float64Array, count: number, choice: Choice): void {
  choice.count = 0;
  let lastKey = Number.NEGATIVE_INFINITY;
  let lastPosition = -1;
  while (choice.count < count) {
    let best = -1;
    let bestKey = Number.POSITIVE_INFINITY;
    for (let each = 0; each < fitted.candidateCount; each++) {
      const position = fitted.candidates[each] ?? 0;
      const key = keys[position] ?? 0;
      const isTaken = key < lastKey || (key === lastKey && position <= lastPosition);
      if (!isTaken && key < bestKey) {
        best = position;
        bestKey = key;
      }
    }
    if (best < 0) return;
    choice.gpus[choice.count++] = best;
    lastKey = bestKey;
    lastPosition = best;
  }
}

/**
 * Whether a candidate before number `each` is in the same state, so that trying this one cannot give another score.
 * `columns` hold, by position, everything of a GPU that the score depends on.
 */
export function hasTwin(columns: readonly ArrayLike<number>[], fitted: FitScratch, each: number): boolean {
  const gpu = fitted.candidates[each] ?? 0;
  for (let earlier = 0; earlier < each; earlier++) {
    if (isAlike(columns, gpu, fitted.candidates[earlier] ?? 0)) return true;
  }
  return false;
}

function isAlike(columns: readonly ArrayLike<number>[], gpu: number, other: number): boolean {
  for (const column of columns) if (column[gpu] !== column[other]) return false;
  return true;
}
