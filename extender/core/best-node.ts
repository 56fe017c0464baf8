// The best node for one shape, kept up to date as single nodes change: a tournament over the nodes in name order, in
// which the left of two equals wins. A change costs the logarithm of the number of nodes, and reading the best nothing.

import { NODE_ABSENT, type ClusterState } from './state.ts';

/** What the tournament reads: by node index, 0 in `reasons` where the node fits. */
export interface Judged {
  readonly reasons: Uint8Array;
  readonly scores: Float64Array;
}

const NOBODY = -1;

/** Who plays where: the nodes in name order, one at each leaf. */
class Seating {
  readonly ranks: Int32Array;
  /** A power of two. */
  readonly leaves: number;
  /** By leaf. */
  readonly nodes: Int32Array;

  constructor(state: ClusterState) {
    this.ranks = state.nameRanks();
    let leaves = 1;
    while (leaves < state.nodeSlots) leaves *= 2;
    this.leaves = leaves;
    this.nodes = new Int32Array(leaves).fill(NOBODY);
    for (let node = 0; node < state.nodeSlots; node++) {
      if (state.nodeKind[node] !== NODE_ABSENT) this.nodes[this.ranks[node] ?? 0] = node;
    }
  }
}

/** The seating that the tournaments of all shapes share, made anew when names come. */
export class Seats {
  #seating: Seating | undefined;

  of(state: ClusterState): Seating {
    if (this.#seating?.ranks !== state.nameRanks()) this.#seating = new Seating(state);
    return this.#seating;
  }
}

export class BestNode {
  readonly #judged: Judged;
  readonly #seats: Seats;
  #seating: Seating | undefined;
  /** Winner of each match by position in a binary heap; the leaves begin at their number. */
  #winners: Int32Array = new Int32Array(2).fill(NOBODY);

  constructor(judged: Judged, seats: Seats) {
    this.#judged = judged;
    this.#seats = seats;
  }

  /** The best node that fits, or -1. */
  get node(): number {
    return this.#winners[1] ?? NOBODY;
  }

  /** Whether the order of names has changed since the last rebuild. */
  isStale(state: ClusterState): boolean {
    return this.#seats.of(state) !== this.#seating;
  }

  /** Plays every match. Call after the verdicts of many nodes have been written, or when it is stale. */
  rebuild(state: ClusterState): void {
    const seating = this.#seats.of(state);
    this.#seating = seating;
    if (this.#winners.length !== 2 * seating.leaves) this.#winners = new Int32Array(2 * seating.leaves);
    this.#enter(seating);
    for (let match = seating.leaves - 1; match > 0; match--) this.#winners[match] = this.#winnerOf(match);
  }

  #enter({ leaves, nodes }: Seating): void {
    for (let leaf = 0; leaf < leaves; leaf++) {
      const node = nodes[leaf] ?? NOBODY;
      this.#winners[leaves + leaf] = node >= 0 && this.#judged.reasons[node] === 0 ? node : NOBODY;
    }
  }

  /** Call after the verdict of a node has been written. */
  update(node: number): void {
    const leaf = this.#seating?.ranks[node] ?? 0;
    if (this.#seating?.nodes[leaf] !== node) return;
    let match = this.#seating.leaves + leaf;
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
