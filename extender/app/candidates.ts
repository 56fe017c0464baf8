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
    const successor = this.#successor;
    let previous = 0;
    for (let each = 0; each < this.count; each++) {
      const name = names[each] ?? '';
      const guess = successor[previous] ?? 0;
      let index = state.nodeNames[guess] === name && state.isPresent(guess) ? guess : -1;
      if (index < 0) {
        index = state.indexOf(name) ?? -1;
        if (index >= 0) successor[previous] = index;
      }
      indices[each] = index;
      previous = index + 1;
    }
  }
}
