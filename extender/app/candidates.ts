// The nodes a verb was asked about, as node indices. Reused buffers; valid until the next call.

import type { NodeManifest } from '../core/manifest.ts';
import type { ClusterState } from '../core/state.ts';
import type { ExtenderArgs } from './extender-api.ts';

export class Candidates {
  indices: Int32Array = new Int32Array(1024);
  count = 0;
  names: readonly string[] = [];
  /** Set when full nodes were sent, in the order of `names`. */
  nodes: readonly NodeManifest[] | undefined;
  /** Which node followed each node in earlier calls; slot 0 is for the first of a call. */
  #successor: Int32Array = new Int32Array(1024);
  /**
   * The last name that was found to be each node's, and the node's name then. The listener hands out the same string
   * again for the same name, and strings that are one object compare without a look at their characters.
   */
  readonly #seen: string[] = [];
  readonly #seenAs: string[] = [];

  /** Reads names, or the names of full nodes. False where the request carries neither. */
  read(args: ExtenderArgs, state: ClusterState): boolean {
    this.nodes = undefined;
    const items = args.Nodes?.items ?? undefined;
    if (args.NodeNames !== null && args.NodeNames !== undefined) this.names = args.NodeNames;
    else if (items !== undefined) {
      this.nodes = items;
      this.names = items.map((node) => node.metadata?.name ?? '');
    } else return false;
    this.count = this.names.length;
    if (this.count > this.indices.length) this.indices = new Int32Array(this.count * 2);
    if (state.nodeSlots >= this.#successor.length) this.#successor = new Int32Array(state.nodeSlots * 2);
    this.#resolve(state);
    return true;
  }

  /**
   * kube-scheduler walks its nodes in one order, from a changing start. So each name is first compared with the one that
   * followed last time; only a wrong guess costs a look-up, which has to hash a string that was never seen before.
   */
  #resolve(state: ClusterState): void {
    const { names, indices } = this;
    const { nodeNames } = state;
    const successor = this.#successor;
    const seen = this.#seen;
    const seenAs = this.#seenAs;
    let previous = 0;
    for (let each = 0; each < this.count; each++) {
      const name = names[each] ?? '';
      const guess = successor[previous] ?? 0;
      const isGuess = seen[guess] === name && seenAs[guess] === nodeNames[guess] && state.isPresent(guess);
      const index = isGuess ? guess : (state.indexOf(name) ?? -1);
      if (!isGuess && index >= 0) {
        successor[previous] = index;
        seen[index] = name;
        seenAs[index] = nodeNames[index] ?? '';
      }
      indices[each] = index;
      previous = index + 1;
    }
  }
}
