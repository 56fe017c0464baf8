// The accounting of GPUs: which pod holds how much of which GPU. The only writer of ClusterState.
// Keyed by pod UID. A node's usage is always recounted from the pods on it, so usage cannot leak or underflow.
// Everything here is synchronous; callers must not await between reading the state and `assume`.

import { sameGpus, type GpuKey, type Resident, type ResidentState } from './resident.ts';
import { locateGpus, recountNode, writeInventory } from './accounting.ts';
import type { StringMap } from './manifest.ts';
import type { NodeRecord, PodRecord, PodRequest } from './model.ts';
import { TermRegistry } from './affinity.ts';
import type { ClusterState } from './state.ts';

export type ObserveResult = 'unchanged' | 'changed' | 'tampered';

export class Ledger {
  readonly state: ClusterState;
  readonly terms: TermRegistry = new TermRegistry();
  readonly #residents = new Map<string, Resident>();
  readonly #byNode = new Map<string, Set<Resident>>();
  readonly #nodes = new Map<string, NodeRecord>();
  /** GPU indices that gpushare's ConfigMap marks unhealthy, by node name. */
  readonly #markedUnhealthy = new Map<string, ReadonlySet<number>>();
  readonly #inFlight = new Set<string>();
  /** Ledger keys of reservations set aside, by pod UID. */
  readonly #aside = new Map<string, string[]>();

  constructor(state: ClusterState) {
    this.state = state;
  }

  get size(): number {
    return this.#residents.size;
  }

  resident(uid: string): Resident | undefined {
    return this.#residents.get(uid);
  }

  residents(): IterableIterator<Resident> {
    return this.#residents.values();
  }

  /** Pods on a node, also on one that is absent at the moment. */
  residentsOf(nodeName: string): Iterable<Resident> {
    return this.#byNode.get(nodeName) ?? [];
  }

  node(name: string): NodeRecord | undefined {
    return this.#nodes.get(name);
  }

  nodes(): IterableIterator<NodeRecord> {
    return this.#nodes.values();
  }

  markedUnhealthy(nodeName: string): ReadonlySet<number> {
    return this.#markedUnhealthy.get(nodeName) ?? new Set();
  }

  /** UIDs of residents that are not confirmed. */
  unconfirmed(): ReadonlySet<string> {
    return this.#inFlight;
  }

  /** Adds or replaces a node. Allocations on it are kept and matched to the new inventory by UUID or index. */
  upsertNode(node: NodeRecord): void {
    const before = this.#nodes.get(node.name);
    if (before !== undefined && sameNode(before, node)) return;
    this.#nodes.set(node.name, node);
    const index = this.state.addNode(node.name);
    writeInventory(this.state, index, node, this.markedUnhealthy(node.name));
    for (const resident of this.residentsOf(node.name))
      resident.positions = locateGpus(this.state, index, resident.gpus);
    this.#recount(index);
  }

  /** Forgets a node but not the pods on it: they count again when a node of that name returns. */
  removeNode(name: string): void {
    const index = this.state.indexOf(name);
    this.#nodes.delete(name);
    if (index !== undefined) this.state.removeNode(index);
  }

  /** GPU indices of a node that gpushare's `unhealthy-gpu-<node>` ConfigMap lists. */
  markUnhealthy(nodeName: string, indices: ReadonlySet<number>): void {
    if (indices.size === 0) this.#markedUnhealthy.delete(nodeName);
    else this.#markedUnhealthy.set(nodeName, indices);
    const node = this.#nodes.get(nodeName);
    const index = this.state.indexOf(nodeName);
    if (node === undefined || index === undefined) return;
    writeInventory(this.state, index, node, this.markedUnhealthy(node.name));
    this.#recount(index);
  }

  /** Reserves GPUs for a pod before its Binding is sent. The caller has checked that they fit. */
  assume(pod: PodRecord, request: PodRequest, nodeName: string, gpus: readonly GpuKey[], nowMillis: number): void {
    this.#drop(pod.uid);
    this.#add({ uid: pod.uid, pod, request, nodeName, gpus, positions: [], state: 'assumed', sinceMillis: nowMillis });
  }

  /** The Binding is committed; any other Binding of the pod can no longer be. */
  confirm(uid: string, nowMillis: number): void {
    this.#dropAside(uid);
    this.#setState(uid, 'confirmed', nowMillis);
  }

  /** The Binding may or may not be committed; the reservation stays until a read or the watch decides. */
  doubt(uid: string, nowMillis: number): void {
    this.#setState(uid, 'unknown', nowMillis);
  }

  /** The Binding was certainly not committed. A reservation that the watch has confirmed meanwhile stays. */
  forget(uid: string): void {
    if (this.#residents.get(uid)?.state !== 'confirmed') this.#drop(uid);
  }

  /**
   * Keeps a doubtful reservation under a key of its own, because the pod is about to be reserved on another node
   * while its earlier Binding may still commit. Whatever the API server shows of the pod ends it.
   */
  setAside(uid: string): void {
    const resident = this.#residents.get(uid);
    if (resident === undefined || resident.state !== 'unknown') return;
    const key = `${uid}@${resident.nodeName}`;
    this.#drop(uid);
    this.#drop(key);
    this.#aside.set(uid, [...(this.#aside.get(uid) ?? []).filter((each) => each !== key), key]);
    this.#add({ ...resident, uid: key });
  }

  /** The pod no longer occupies anything: it ended, or the object is gone. */
  release(uid: string): void {
    this.#dropAside(uid);
    this.#drop(uid);
  }

  #dropAside(uid: string): void {
    for (const key of this.#aside.get(uid) ?? []) this.#drop(key);
  }

  #drop(uid: string): void {
    const resident = this.#residents.get(uid);
    if (resident === undefined) return;
    this.#residents.delete(uid);
    if (resident.uid !== resident.pod.uid) this.#forgetAside(resident.pod.uid, resident.uid);
    this.#inFlight.delete(uid);
    const onNode = this.#byNode.get(resident.nodeName);
    onNode?.delete(resident);
    if (onNode?.size === 0) this.#byNode.delete(resident.nodeName);
    if (resident.request !== undefined) this.terms.left(resident);
    this.#recountByName(resident.nodeName);
  }

  /**
   * Takes in a pod as the API server shows it. A bound pod is confirmed where it is bound; an unbound one leaves
   * a reservation in flight alone. `tampered`: its allocation annotation changed after it was confirmed; ignored.
   */
  observe(pod: PodRecord, nowMillis: number): ObserveResult {
    const known = this.#residents.get(pod.uid);
    if (pod.terminal) {
      this.release(pod.uid);
      return known === undefined ? 'unchanged' : 'changed';
    }
    if (pod.nodeName === '') return 'unchanged';
    const request = pod.demand.kind === 'request' ? pod.demand.request : undefined;
    let gpus = claimedGpus(pod, request);
    let result: ObserveResult = 'changed';
    if (known !== undefined && known.nodeName === pod.nodeName) {
      const same = sameGpus(known.gpus, gpus);
      if (known.state === 'confirmed' && known.gpus.length > 0) {
        if (same && sameLabels(known.pod.labels, pod.labels)) return 'unchanged';
        if (!same) result = 'tampered';
        gpus = known.gpus;
      } else if (same && known.state !== 'confirmed') {
        this.confirm(pod.uid, nowMillis);
        return 'changed';
      }
    }
    this.release(pod.uid);
    const { uid, nodeName } = pod;
    this.#add({ uid, pod, request, nodeName, gpus, positions: [], state: 'confirmed', sinceMillis: nowMillis });
    return result;
  }

  /** Takes over a resident of another ledger as it stands: for rebuilds and snapshots. */
  adopt(resident: Resident): void {
    this.#drop(resident.uid);
    if (resident.uid !== resident.pod.uid) {
      this.#aside.set(resident.pod.uid, [...(this.#aside.get(resident.pod.uid) ?? []), resident.uid]);
    }
    this.#add({ ...resident });
  }

  #add(resident: Resident): void {
    this.#residents.set(resident.uid, resident);
    if (resident.state !== 'confirmed') this.#inFlight.add(resident.uid);
    const onNode = this.#byNode.get(resident.nodeName);
    if (onNode === undefined) this.#byNode.set(resident.nodeName, new Set([resident]));
    else onNode.add(resident);
    if (resident.request !== undefined) this.terms.arrived(resident);
    const index = this.state.indexOf(resident.nodeName);
    if (index === undefined) return;
    resident.positions = locateGpus(this.state, index, resident.gpus);
    this.#recount(index);
  }

  #setState(uid: string, state: ResidentState, nowMillis: number): void {
    const resident = this.#residents.get(uid);
    if (resident === undefined || resident.state === 'confirmed') return;
    resident.state = state;
    resident.sinceMillis = nowMillis;
    if (state === 'confirmed') this.#inFlight.delete(uid);
  }

  #forgetAside(uid: string, key: string): void {
    const left = (this.#aside.get(uid) ?? []).filter((each) => each !== key);
    if (left.length === 0) this.#aside.delete(uid);
    else this.#aside.set(uid, left);
  }

  #recountByName(nodeName: string): void {
    const index = this.state.indexOf(nodeName);
    if (index !== undefined) this.#recount(index);
  }

  #recount(index: number): void {
    const name = this.state.nodeNames[index] ?? '';
    const node = this.#nodes.get(name);
    if (node !== undefined) recountNode(this.state, index, node, this.#byNode.get(name));
  }
}

/** A claim that names another number of GPUs than the pod asks for is not trusted: the pod then counts as unplaced. */
function claimedGpus({ claim }: PodRecord, request: PodRequest | undefined): readonly GpuKey[] {
  return claim.kind === 'gpus' && claim.gpus.length === request?.gpuCount ? claim.gpus : [];
}

function sameLabels(a: StringMap, b: StringMap): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}

/** Heartbeats update a node every few seconds; only what the ledger reads counts as a change. */
function sameNode(a: NodeRecord, b: NodeRecord): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
