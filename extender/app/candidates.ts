// The nodes a verb was asked about, as node indices. One reused buffer; valid until the next call.

import type { NodeManifest } from '../core/manifest.ts';
import type { ClusterState } from '../core/state.ts';
import type { ExtenderArgs } from './extender-api.ts';

export class Candidates {
  indices: Int32Array = new Int32Array(1024);
  count = 0;
  names: readonly string[] = [];
  /** Set when full nodes were sent, in the order of `names`. */
  nodes: readonly NodeManifest[] | undefined;

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
    for (let each = 0; each < this.count; each++) this.indices[each] = state.indexOf(this.names[each] ?? '') ?? -1;
    return true;
  }
}
