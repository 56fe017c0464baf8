// kube-scheduler's own view of the nodes and its NodeResourcesFit filter: CPU, memory, number of pods, and extended
// resources by the node's total. It knows nothing of single GPUs, just as the real one does not.
// Assumed pods count from the moment they are chosen until the watch shows them or they are forgotten. Synchronous.

import type { ContainerManifest, NodeManifest, PodManifest, ResourceList } from '../core/manifest.ts';
import { cpuMilli, memoryMiB, parseCount } from '../core/quantity.ts';
import { effective, hostRequest } from '../core/request.ts';
import { identityOf, isTerminal } from './manifests.ts';

/** Amounts by resource name: `cpu` in milli-cores, `memory` in MiB, the others as they are. */
export type Amounts = ReadonlyMap<string, number>;

interface Node {
  readonly name: string;
  allocatable: Amounts;
  readonly used: Map<string, number>;
  readonly pods: Set<string>;
}

interface Occupant {
  readonly nodeName: string;
  readonly requests: Amounts;
}

export class NodesView {
  readonly #nodes = new Map<string, Node>();
  readonly #occupants = new Map<string, Occupant>();
  #order: readonly string[] | undefined;

  get nodeCount(): number {
    return this.#nodes.size;
  }

  upsertNode(manifest: NodeManifest): void {
    const name = manifest.metadata?.name ?? '';
    const allocatable = amountsOf(manifest.status?.allocatable ?? manifest.status?.capacity ?? {});
    const known = this.#nodes.get(name);
    if (known === undefined) {
      this.#nodes.set(name, { name, allocatable, used: new Map(), pods: new Set() });
      this.#order = undefined;
    } else known.allocatable = allocatable;
  }

  removeNode(name: string): void {
    this.#nodes.delete(name);
    this.#order = undefined;
  }

  /** Counts a pod on a node before the API server shows it there. */
  assume(pod: PodManifest, nodeName: string): void {
    this.#occupy(identityOf(pod).uid, { nodeName, requests: podRequests(pod) });
  }

  forget(uid: string): void {
    const occupant = this.#occupants.get(uid);
    if (occupant === undefined) return;
    this.#occupants.delete(uid);
    const node = this.#nodes.get(occupant.nodeName);
    if (node?.pods.delete(uid) !== true) return;
    for (const [name, amount] of occupant.requests) node.used.set(name, (node.used.get(name) ?? 0) - amount);
  }

  /** Takes in a pod as the watch shows it. */
  observe(pod: PodManifest): void {
    const { uid } = identityOf(pod);
    if (isTerminal(pod)) this.forget(uid);
    else if (pod.spec?.nodeName) this.#occupy(uid, { nodeName: pod.spec.nodeName, requests: podRequests(pod) });
  }

  /** Names of the nodes with room, in name order; the others are told to `refuse` with every lacking resource. */
  filter(requests: Amounts, refuse: (nodeName: string, reasons: readonly string[]) => void): string[] {
    this.#order ??= [...this.#nodes.keys()].sort();
    return this.#order.filter((name) => {
      const node = this.#nodes.get(name);
      const reasons = node === undefined ? ['node is gone'] : lacking(node, requests);
      if (reasons.length > 0) refuse(name, reasons);
      return reasons.length === 0;
    });
  }

  #occupy(uid: string, occupant: Occupant): void {
    this.forget(uid);
    this.#occupants.set(uid, occupant);
    const node = this.#nodes.get(occupant.nodeName);
    if (node === undefined) return;
    node.pods.add(uid);
    for (const [name, amount] of occupant.requests) node.used.set(name, (node.used.get(name) ?? 0) + amount);
  }
}

function lacking(node: Node, requests: Amounts): string[] {
  const reasons: string[] = [];
  if (node.pods.size + 1 > (node.allocatable.get('pods') ?? 0)) reasons.push('Too many pods');
  for (const [name, amount] of requests) {
    if (amount === 0) continue;
    const free = (node.allocatable.get(name) ?? 0) - (node.used.get(name) ?? 0);
    if (amount > free) reasons.push(`Insufficient ${name}`);
  }
  return reasons;
}

function amountsOf(list: ResourceList): Amounts {
  const amounts = new Map<string, number>();
  for (const [name, quantity] of Object.entries(list)) amounts.set(name, amountOf(name, quantity));
  return amounts;
}

function amountOf(name: string, quantity: string | number | undefined): number {
  if (name === 'cpu') return cpuMilli(quantity);
  return name === 'memory' ? memoryMiB(quantity) : (parseCount(quantity) ?? 0);
}

/** What a pod asks of a node in all: init containers by the max rule, sidecars summed, overhead included. */
export function podRequests(pod: PodManifest): Amounts {
  const host = hostRequest(pod);
  const requests = new Map([
    ['cpu', host.cpuMilli],
    ['memory', host.memoryMiB],
  ]);
  const init = pod.spec?.initContainers ?? [];
  const main = pod.spec?.containers ?? [];
  const parts = [
    ...init.map(
      (container) => ({ container, role: container.restartPolicy === 'Always' ? 'sidecar' : 'init' }) as const,
    ),
    ...main.map((container) => ({ container, role: 'main' }) as const),
  ];
  for (const name of new Set(parts.flatMap(({ container }) => Object.keys(limitsOf(container))))) {
    if (!name.includes('/')) continue;
    const amounts = parts.map(({ container, role }) => ({ role, amount: amountOf(name, limitsOf(container)[name]) }));
    requests.set(name, effective(amounts));
  }
  return requests;
}

/** Extended resources cannot be overcommitted, so the limit is the request where only one is given. */
function limitsOf({ resources }: ContainerManifest): ResourceList {
  return { ...resources?.limits, ...resources?.requests };
}

/** Whether kube-scheduler calls the extender for this pod: a container names one of the managed resources. */
export function asksFor(pod: PodManifest, managedResources: ReadonlySet<string>): boolean {
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  return containers.some((container) => Object.keys(limitsOf(container)).some((name) => managedResources.has(name)));
}
