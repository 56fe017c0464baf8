// A standing check of the ledger's books: every call rebuilds a few nodes from scratch and compares. Goes round the
// whole cluster over many calls, so that no call delays a verb.

import { driftOfNode } from '../core/drift.ts';
import type { Ledger } from '../core/ledger.ts';

export class Audit {
  readonly #ledger: Ledger;
  readonly #nodesPerCall: number;
  #round: readonly string[] = [];
  #at = 0;
  #found = 0;
  #latest = 0;

  constructor(ledger: Ledger, nodesPerCall: number) {
    this.#ledger = ledger;
    this.#nodesPerCall = nodesPerCall;
  }

  /** Differences found so far in this round or, if more, in the last whole round. */
  get drift(): number {
    return Math.max(this.#found, this.#latest);
  }

  /** Checks the next few nodes; returns descriptions of what differs. */
  step(): readonly string[] {
    if (this.#at >= this.#round.length) {
      this.#latest = this.#found;
      this.#found = 0;
      this.#at = 0;
      this.#round = [...this.#ledger.nodes()].map(({ name }) => name);
    }
    const names = this.#round.slice(this.#at, this.#at + this.#nodesPerCall);
    this.#at += names.length;
    const differences = names
      .filter((name) => this.#ledger.node(name) !== undefined)
      .flatMap((name) => driftOfNode(this.#ledger, name));
    this.#found += differences.length;
    return differences.map(
      ({ node, gpu, column, ledger, rebuilt }) => `${node} ${gpu} ${column}: ${ledger}, rebuilt ${rebuilt}`,
    );
  }
}
