// The nodes a verb was asked about, as node indices. Reused buffers; valid until the next call.

import type { NodeManifest } from '../core/manifest.ts';
import type { ClusterState } from '../core/state.ts';
import type { ExtenderArgs, ExtenderFilterResult } from './extender-api.ts';
import type { HostArgs, HostBytes } from './host-bytes.ts';

export class Candidates {
  /** By candidate: the node's index, or -1 where the node is not known. */
  indices: Int32Array = new Int32Array(1024);
  count = 0;
  /** Set when the names came as bytes; then no string is made of a name unless somebody asks for it. */
  hosts: HostBytes | undefined;
  #names: readonly string[] = [];
  /** Set when full nodes were sent, in the order of the names. */
  #nodes: readonly NodeManifest[] | undefined;

  /** Reads names, or the names of full nodes. False where the request carries neither. */
  read(args: ExtenderArgs | HostArgs, state: ClusterState): boolean {
    this.hosts = undefined;
    this.#nodes = undefined;
    if ('Hosts' in args) {
      this.#readBytes(args.Hosts, state);
      return true;
    }
    const items = args.Nodes?.items ?? undefined;
    if (args.NodeNames !== null && args.NodeNames !== undefined) this.#readNames(args.NodeNames, state);
    else if (items !== undefined) {
      this.#nodes = items;
      this.#readNames(
        items.map((node) => node.metadata?.name ?? ''),
        state,
      );
    } else return false;
    return true;
  }

  nameAt(each: number): string {
    return this.hosts === undefined ? (this.#names[each] ?? '') : this.hosts.nameAt(each);
  }

  names(): readonly string[] {
    return this.hosts === undefined ? this.#names : Array.from({ length: this.count }, (_, each) => this.nameAt(each));
  }

  /** A filter answer in the form of the question: names for names, full nodes for full nodes. */
  answer(
    fitting: readonly string[],
    failed: Readonly<Record<string, string>>,
    unresolvable: Readonly<Record<string, string>>,
  ): ExtenderFilterResult {
    return {
      Nodes: this.#nodes === undefined ? null : { items: nodesNamed(this.#nodes, new Set(fitting)) },
      NodeNames: fitting,
      FailedNodes: failed,
      FailedAndUnresolvableNodes: unresolvable,
      Error: '',
    };
  }

  #readBytes(hosts: HostBytes, state: ClusterState): void {
    this.hosts = hosts;
    this.#setCount(hosts.count);
    const { bytes, starts, ends } = hosts;
    const { indices, count } = this;
    for (let each = 0; each < count; each++) {
      indices[each] = state.indexOfBytes(bytes, starts[each] ?? 0, ends[each] ?? 0);
    }
  }

  #readNames(names: readonly string[], state: ClusterState): void {
    this.#names = names;
    this.#setCount(names.length);
    for (let each = 0; each < this.count; each++) this.indices[each] = state.indexOf(names[each] ?? '') ?? -1;
  }

  #setCount(count: number): void {
    this.count = count;
    if (count > this.indices.length) this.indices = new Int32Array(count * 2);
  }
}

function nodesNamed(nodes: readonly NodeManifest[], names: ReadonlySet<string>): readonly NodeManifest[] {
  return nodes.filter((node) => names.has(node.metadata?.name ?? ''));
}
