// The total order of nodes for a shape, and its translation to the extender protocol's integer scores 0..10.
// Order: score, higher first (soft affinity before policy, at full precision); then node name, lower first.

import type { ClusterState } from './state.ts';
import type { ShapeVerdicts } from './verdicts.ts';

/** `decisive`: one candidate alone holds the top score. `advisory`: equal nodes keep equal scores. */
export type Ranking = 'decisive' | 'advisory';

export const MAX_EXTENDER_SCORE = 10;

/**
 * How many nodes a narrowed filter answer holds at most; 0 = every feasible one. Under decisive ranking prioritize lets
 * nobody but the best node win, and a list of one spares kube-scheduler the scoring and a whole call; see
 * docs/decisions/0013.
 */
export function keptNodes(narrow: number, ranking: Ranking): number {
  return ranking === 'decisive' ? Math.min(narrow, 1) : narrow;
}

/** Whether node `a` comes before node `b`. */
export function isBetter(verdicts: ShapeVerdicts, ranks: Int32Array, a: number, b: number): boolean {
  const scoreA = verdicts.scores[a] ?? 0;
  const scoreB = verdicts.scores[b] ?? 0;
  return scoreA > scoreB || (scoreA === scoreB && (ranks[a] ?? 0) < (ranks[b] ?? 0));
}

/** The best `most` of a stream of nodes, kept as a heap with the worst on top. Reused between calls. */
export class BestNodes {
  readonly nodes: Int32Array;
  count = 0;
  #verdicts: ShapeVerdicts | undefined;
  #ranks: Int32Array = new Int32Array(0);

  constructor(most: number) {
    this.nodes = new Int32Array(most);
  }

  begin(verdicts: ShapeVerdicts, state: ClusterState): void {
    this.count = 0;
    this.#verdicts = verdicts;
    this.#ranks = state.nameRanks();
  }

  offer(node: number): void {
    const { nodes } = this;
    if (this.count < nodes.length) {
      nodes[this.count] = node;
      this.#siftUp(this.count++);
    } else if (this.#isBetter(node, nodes[0] ?? 0)) {
      nodes[0] = node;
      this.#siftDown();
    }
  }

  /** The kept nodes, best first. */
  ranked(): number[] {
    return Array.from(this.nodes.subarray(0, this.count)).sort((a, b) => (this.#isBetter(a, b) ? -1 : 1));
  }

  #isBetter(a: number, b: number): boolean {
    return this.#verdicts !== undefined && isBetter(this.#verdicts, this.#ranks, a, b);
  }

  #siftUp(from: number): void {
    const { nodes } = this;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBetter(nodes[parent] ?? 0, nodes[at] ?? 0)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #siftDown(): void {
    const { nodes } = this;
    let at = 0;
    for (;;) {
      let worst = at;
      for (let child = 2 * at + 1; child <= 2 * at + 2 && child < this.count; child++) {
        if (this.#isBetter(nodes[worst] ?? 0, nodes[child] ?? 0)) worst = child;
      }
      if (worst === at) return;
      this.#swap(at, worst);
      at = worst;
    }
  }

  #swap(a: number, b: number): void {
    const kept = this.nodes[a] ?? 0;
    this.nodes[a] = this.nodes[b] ?? 0;
    this.nodes[b] = kept;
  }
}

/**
 * Writes a score 0..10 for each of `count` candidates. Unknown nodes (index -1) and nodes that do not fit get 0.
 * Decisive: the best gets 10 and everybody else 0..9 in proportion. Advisory: 0..10 in proportion, all 10 if equal.
 */
export function scaleScores(
  verdicts: ShapeVerdicts,
  state: ClusterState,
  ranking: Ranking,
  candidates: Int32Array,
  count: number,
  out: Uint8Array,
): void {
  const ranks = state.nameRanks();
  const { scores, reasons } = verdicts;
  let best = -1;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let each = 0; each < count; each++) {
    const node = candidates[each] ?? -1;
    if (node < 0 || reasons[node] !== 0) continue;
    const score = scores[node] ?? 0;
    if (score < low) low = score;
    if (score > high) high = score;
    if (best < 0 || isBetter(verdicts, ranks, node, best)) best = node;
  }
  const top = ranking === 'decisive' ? MAX_EXTENDER_SCORE - 1 : MAX_EXTENDER_SCORE;
  const span = high - low;
  for (let each = 0; each < count; each++) {
    const node = candidates[each] ?? -1;
    if (node < 0 || reasons[node] !== 0) out[each] = 0;
    else if (ranking === 'decisive' && node === best) out[each] = MAX_EXTENDER_SCORE;
    else out[each] = span === 0 ? top : Math.floor((((scores[node] ?? 0) - low) / span) * top);
  }
}
