// How many nodes kube-scheduler looks at for one pod, and which: it stops once enough nodes have passed its own filters,
// before any extender is asked, and the next pod starts where it stopped. After kube-scheduler 1.20
// (numFeasibleNodesToFind, findNodesThatPassFilters), with the nodes checked one after another: the real one checks 16 at
// a time and may look at a few more.

/** Clusters of fewer nodes are looked at in full, and never fewer than this many suitable ones are sought. */
const LEAST_NODES = 100;
const LEAST_PERCENT = 5;
const FULL_PERCENT = 50;
const NODES_PER_PERCENT = 125;

/** How many nodes must pass the in-tree filters for the search to stop. `percent` 0 = 50 - nodes/125, at least 5. */
export function feasibleNodesToFind(nodes: number, percent: number): number {
  if (nodes < LEAST_NODES || percent >= 100) return nodes;
  const adaptive = Math.max(LEAST_PERCENT, FULL_PERCENT - Math.floor(nodes / NODES_PER_PERCENT));
  return Math.max(LEAST_NODES, Math.floor((nodes * (percent > 0 ? percent : adaptive)) / 100));
}

/** The nodes of one search after another. */
export class NodeSampler {
  /** The nodes found by the last search, in the order they were looked at; `count` of them are valid. */
  readonly found: Int32Array;
  count = 0;
  readonly #nodes: number;
  readonly #wanted: number;
  #start = 0;

  constructor(nodes: number, percent: number) {
    this.#nodes = nodes;
    this.#wanted = feasibleNodesToFind(nodes, percent);
    this.found = new Int32Array(nodes);
  }

  search(passes: (node: number) => boolean): void {
    this.count = 0;
    let looked = 0;
    for (; looked < this.#nodes; looked++) {
      const node = (this.#start + looked) % this.#nodes;
      if (!passes(node)) continue;
      // It takes one node more than wanted to notice that there are enough; that one is the first to be looked at next.
      if (this.count === this.#wanted) break;
      this.found[this.count++] = node;
    }
    this.#start = (this.#start + looked) % this.#nodes;
  }
}
