// Why a pod found no node, as kube-scheduler would report it, and as one line for a count of pods. Pure.

/** Who dropped a node, in the order of closeness: a node that only lacks free room came closest. */
export type RefusalStage = 'in-tree' | 'unresolvable' | 'resolvable';

const STAGES: readonly RefusalStage[] = ['in-tree', 'unresolvable', 'resolvable'];

export class Refusal {
  readonly #counts: Readonly<Record<RefusalStage, Map<string, number>>> = {
    'in-tree': new Map(),
    unresolvable: new Map(),
    resolvable: new Map(),
  };
  readonly #nodes = new Set<string>();

  add(nodeName: string, stage: RefusalStage, reason: string): void {
    const counts = this.#counts[stage];
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
    this.#nodes.add(nodeName);
  }

  /** The reason most frequent among the nodes that came closest, without the pod's own figures. */
  get cause(): string {
    const closest = STAGES.findLast((stage) => this.#counts[stage].size > 0) ?? 'in-tree';
    const [first] = ranked(this.#counts[closest]);
    return first === undefined ? 'no nodes in the cluster' : withoutFigures(first.reason);
  }

  /** `0/8 nodes are available: 5 no GPU has 8 free slices, 3 Insufficient cpu.` */
  message(nodeCount: number): string {
    const all = new Map<string, number>();
    for (const stage of STAGES) {
      for (const [reason, count] of this.#counts[stage]) all.set(reason, (all.get(reason) ?? 0) + count);
    }
    const parts = ranked(all).map(({ reason, count }) => `${count} ${reason}`);
    return `0/${nodeCount} nodes are available: ${parts.join(', ')}.`;
  }
}

/** Most frequent first, then by text. */
export function ranked(counts: ReadonlyMap<string, number>): { readonly reason: string; readonly count: number }[] {
  return [...counts]
    .map(([reason, count]) => ({ reason, count }))
    .sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1));
}

/** `no GPU has 8 free slices` → `no GPU has N free slices`: pods of all sizes are counted under one reason. */
export function withoutFigures(reason: string): string {
  return reason.replaceAll(/(?<![\w.-])\d+(?![\w.-]*[A-Za-z])/g, 'N');
}
