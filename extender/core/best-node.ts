// The best node for one shape, kept up to date as single nodes change: a tournament over the nodes in name order, in
// which the left of two equals wins. A change costs the logarithm of the number of nodes, and reading the best nothing.

import { NODE_ABSENT, type ClusterState } from './state.ts';

/** What the tournament reads: by node index, 0 in `reasons` where the node fits. */
export interface Judged {
  readonly reasons: Uint8Array;
  readonly scores: Float64Array;
}

const NOBODY = -1;

export class BestNode {
  readonly #judged: Judged;
  #ranks: Int32Array = new Int32Array(0);
  /** Winner of each match by position in a binary heap; the leaves, in name order, begin at `#leaves`. */
  #winners: Int32Array = new Int32Array(2).fill(NOBODY);
  /** The node of each leaf. */
  #entrants: Int32Array = new Int32Array(1).fill(NOBODY);
  #leaves = 1;

  constructor(judged: Judged) {
    this.#judged = judged;
  }

  /** The best node that fits, or -1. */
  get node(): number {
    return this.#winners[1] ?? NOBODY;
  }

  /** Whether the order of names has changed since the last rebuild. */
  isStale(state: ClusterState): boolean {
    return state.nameRanks() !== this.#ranks;
  }

  /** Plays every match. Call after the verdicts of many nodes have been written, or when it is stale. */
  rebuild(state: ClusterState): void {
    if (this.isStale(state)) this.#seat(state);
    this.#enter();
    for (let match = this.#leaves - 1; match > 0; match--) this.#winners[match] = this.#winnerOf(match);
  }

  #enter(): void {
    for (let rank = 0; rank < this.#leaves; rank++) {
      const node = this.#entrants[rank] ?? NOBODY;
      this.#winners[this.#leaves + rank] = node >= 0 && this.#judged.reasons[node] === 0 ? node : NOBODY;
    }
  }

  #seat(state: ClusterState): void {
    this.#ranks = state.nameRanks();
    let leaves = 1;
    while (leaves < state.nodeSlots) leaves *= 2;
    this.#leaves = leaves;
    this.#winners = new Int32Array(2 * leaves).fill(NOBODY);
    this.#entrants = new Int32Array(leaves).fill(NOBODY);
    for (let node = 0; node < state.nodeSlots; node++) {
      if (state.nodeKind[node] !== NODE_ABSENT) this.#entrants[this.#ranks[node] ?? 0] = node;
    }
  }

  /** Call after the verdict of a node has been written. */
  update(node: number): void {
    const rank = this.#ranks[node] ?? 0;
    if (this.#entrants[rank] !== node) return;
    let match = this.#leaves + rank;
    this.#winners[match] = this.#judged.reasons[node] === 0 ? node : NOBODY;
    for (match >>= 1; match > 0; match >>= 1) {
      const winner = this.#winnerOf(match);
      // A winner that stays and did not change itself leaves every later match as it is.
      if (winner === this.#winners[match] && winner !== node) return;
      this.#winners[match] = winner;
    }
  }

  #winnerOf(match: number): number {
    const left = this.#winners[2 * match] ?? NOBODY;
    const right = this.#winners[2 * match + 1] ?? NOBODY;
    if (right < 0) return left;
    if (left < 0) return right;
    return (this.#judged.scores[right] ?? 0) > (this.#judged.scores[left] ?? 0) ? right : left;
  }
}
