// The accounting of GPUs: which pod holds how much of which GPU. The only writer of ClusterState.
// Keyed by pod UID. A node's usage is always recounted from the pods on it, so usage cannot leak or underflow.
// Everything here is synchronous; callers must not await between reading the state and `assume`.

import type { StringMap } from './manifest.ts';
import type { NodeRecord, PodRecord, PodRequest } from './model.ts';
import { TermRegistry } from './affinity.ts';
import { NODE_CLOSED, NODE_OPEN, NODE_WITHOUT_GPUS, type ClusterState } from './state.ts';

/**
 * Life of a reservation. `assumed`: a Binding is in flight. `unknown`: its outcome is not known yet.
 * `confirmed`: the API server shows the pod on its node.
 */
export type ResidentState = 'assumed' | 'unknown' | 'confirmed';

export interface GpuKey {
  /** Empty for a GPU that gpushare's annotations name by index. */
  readonly uuid: string;
  readonly index: number;
}

/** A pod that occupies a node. */
export interface Resident {
  readonly uid: string;
  readonly pod: PodRecord;
  readonly request: PodRequest | undefined;
  readonly nodeName: string;
  /** The GPUs it holds; empty for host-only pods and for pods that came without a usable allocation. */
  readonly gpus: readonly GpuKey[];
  /** Positions of `gpus` in the node's GPU range; -1 where the GPU is not in the inventory. */
  positions: readonly number[];
  state: ResidentState;
  /** Monotonic milliseconds, as given by the caller, of the latest change of `state`. */
  sinceMillis: number;
}

export type ObserveResult = 'unchanged' | 'changed' | 'tampered';

const CORE_PERCENT = 100;

export class Ledger {
  readonly state: ClusterState;
  readonly terms: TermRegistry = new TermRegistry();
  readonly #residents = new Map<string, Resident>();
  readonly #byNode = new Map<string, Set<Resident>>();
  readonly #nodes = new Map<string, NodeRecord>();
  /** GPU indices that gpushare's ConfigMap marks unhealthy, by node name. */
  readonly #markedUnhealthy = new Map<string, ReadonlySet<number>>();
  readonly #inFlight = new Set<string>();

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
    this.#writeInventory(index, node);
    for (const resident of this.residentsOf(node.name)) resident.positions = this.#locate(resident, index);
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
    this.#writeInventory(index, node);
    this.#recount(index);
  }

  /** Reserves GPUs for a pod before its Binding is sent. The caller has checked that they fit. */
  assume(pod: PodRecord, request: PodRequest, nodeName: string, gpus: readonly GpuKey[], nowMillis: number): void {
    this.release(pod.uid);
    this.#add({ uid: pod.uid, pod, request, nodeName, gpus, positions: [], state: 'assumed', sinceMillis: nowMillis });
  }

  /** The Binding is committed. */
  confirm(uid: string, nowMillis: number): void {
    this.#setState(uid, 'confirmed', nowMillis);
  }

  /** The Binding may or may not be committed; the reservation stays until a read or the watch decides. */
  doubt(uid: string, nowMillis: number): void {
    this.#setState(uid, 'unknown', nowMillis);
  }

  /** The Binding was certainly not committed. A reservation that the watch has confirmed meanwhile stays. */
  forget(uid: string): void {
    if (this.#residents.get(uid)?.state !== 'confirmed') this.release(uid);
  }

  /** The pod no longer occupies anything: it ended, or the object is gone. */
  release(uid: string): void {
    const resident = this.#residents.get(uid);
    if (resident === undefined) return;
    this.#residents.delete(uid);
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

  #add(resident: Resident): void {
    this.#residents.set(resident.uid, resident);
    if (resident.state !== 'confirmed') this.#inFlight.add(resident.uid);
    const onNode = this.#byNode.get(resident.nodeName);
    if (onNode === undefined) this.#byNode.set(resident.nodeName, new Set([resident]));
    else onNode.add(resident);
    if (resident.request !== undefined) this.terms.arrived(resident);
    const index = this.state.indexOf(resident.nodeName);
    if (index === undefined) return;
    resident.positions = this.#locate(resident, index);
    this.#recount(index);
  }

  #setState(uid: string, state: ResidentState, nowMillis: number): void {
    const resident = this.#residents.get(uid);
    if (resident === undefined || resident.state === 'confirmed') return;
    resident.state = state;
    resident.sinceMillis = nowMillis;
    if (state === 'confirmed') this.#inFlight.delete(uid);
  }

  #locate(resident: Resident, index: number): readonly number[] {
    const { gpuStart, gpuCount, gpuUuid, gpuIndex } = this.state;
    const start = gpuStart[index] ?? 0;
    const count = gpuCount[index] ?? 0;
    return resident.gpus.map((key) => {
      for (let position = 0; position < count; position++) {
        const byUuid = gpuUuid[start + position] === key.uuid;
        if (byUuid || (key.uuid === '' && gpuIndex[start + position] === key.index)) return position;
      }
      return -1;
    });
  }

  #writeInventory(index: number, node: NodeRecord): void {
    const { state } = this;
    const gpus = node.gpus.kind === 'inventory' ? node.gpus.inventory.gpus : [];
    const marked = this.#markedUnhealthy.get(node.name);
    state.resizeGpus(index, gpus.length);
    const start = state.gpuStart[index] ?? 0;
    gpus.forEach((gpu, position) => {
      const at = start + position;
      state.gpuCapacity[at] = gpu.slices;
      state.gpuModel[at] = state.models.modelId(gpu.model);
      state.gpuHealthy[at] = gpu.health === 'healthy' && marked?.has(gpu.index) !== true ? 1 : 0;
      state.gpuNuma[at] = gpu.numa;
      state.gpuUuid[at] = gpu.uuid;
      state.gpuIndex[at] = gpu.index;
    });
    const links = node.gpus.kind === 'inventory' ? node.gpus.inventory.links : [];
    state.links[index] = links.length > 0 ? Int32Array.from(links.flat()) : undefined;
  }

  #recountByName(nodeName: string): void {
    const index = this.state.indexOf(nodeName);
    if (index !== undefined) this.#recount(index);
  }

  /** Recomputes every usage column of a node from the pods on it, decides whether it is open, and journals it. */
  #recount(index: number): void {
    const { state } = this;
    const name = state.nodeNames[index] ?? '';
    const node = this.#nodes.get(name);
    if (node === undefined) return;
    this.#clearUsage(index);
    let cpuMilli = node.allocatable.cpuMilli;
    let memoryMiB = node.allocatable.memoryMiB;
    let trouble = '';
    for (const resident of this.residentsOf(name)) {
      cpuMilli -= resident.pod.host.cpuMilli;
      memoryMiB -= resident.pod.host.memoryMiB;
      if (resident.request !== undefined) trouble = this.#charge(index, resident, resident.request) ?? trouble;
    }
    state.cpuFreeMilli[index] = cpuMilli;
    state.memoryFreeMiB[index] = memoryMiB;
    this.#settle(index, node, trouble);
    state.mark(index);
  }

  #clearUsage(index: number): void {
    const { state } = this;
    const start = state.gpuStart[index] ?? 0;
    const end = start + (state.gpuCount[index] ?? 0);
    for (let at = start; at < end; at++) state.gpuFree[at] = state.gpuCapacity[at] ?? 0;
    state.gpuFreeCore.fill(CORE_PERCENT, start, end);
    state.gpuSharers.fill(0, start, end);
    state.gpuOnline.fill(0, start, end);
    state.gpuBatch.fill(0, start, end);
    state.gpuBatchSlices.fill(0, start, end);
    state.gpuBatchApart.fill(0, start, end);
  }

  /** Counts one pod on its GPUs; returns why the node must close, if it must. */
  #charge(index: number, resident: Resident, request: PodRequest): string | undefined {
    const start = this.state.gpuStart[index] ?? 0;
    if (resident.gpus.length === 0) {
      // It runs on a GPU we do not know: its share is held back on every GPU until it is gone.
      const count = this.state.gpuCount[index] ?? 0;
      for (let at = start; at < start + count; at++) this.#chargeGpu(at, request);
      return undefined;
    }
    let trouble: string | undefined;
    for (let each = 0; each < resident.positions.length; each++) {
      const position = resident.positions[each] ?? -1;
      if (position >= 0) this.#chargeGpu(start + position, request);
      else {
        trouble = `GPU ${resident.gpus[each]?.uuid ?? ''} vanished while pod ${resident.pod.namespace}/${resident.pod.name} holds it`;
      }
    }
    return trouble;
  }

  #chargeGpu(at: number, request: PodRequest): void {
    const { state } = this;
    state.gpuFree[at] = (state.gpuFree[at] ?? 0) - request.slicesPerGpu;
    state.gpuFreeCore[at] = (state.gpuFreeCore[at] ?? 0) - request.corePerGpu;
    if (request.corePerGpu === 0) state.gpuSharers[at] = (state.gpuSharers[at] ?? 0) + 1;
    if (request.class === 'online') state.gpuOnline[at] = (state.gpuOnline[at] ?? 0) + 1;
    else {
      state.gpuBatch[at] = (state.gpuBatch[at] ?? 0) + 1;
      state.gpuBatchSlices[at] = (state.gpuBatchSlices[at] ?? 0) + request.slicesPerGpu;
      if (staysApart(request)) state.gpuBatchApart[at] = (state.gpuBatchApart[at] ?? 0) + 1;
    }
  }

  /** Saturates free amounts at zero and closes a node whose books do not balance. */
  #settle(index: number, node: NodeRecord, trouble: string): void {
    const { state } = this;
    const start = state.gpuStart[index] ?? 0;
    const end = start + (state.gpuCount[index] ?? 0);
    let why = node.gpus.kind === 'closed' ? node.gpus.why : trouble;
    for (let at = start; at < end; at++) {
      if ((state.gpuFree[at] ?? 0) < 0 || (state.gpuFreeCore[at] ?? 0) < 0) {
        if (why === '' && !this.#hasUnplaced(node.name))
          why = `GPU ${state.gpuUuid[at] ?? ''} is granted beyond its capacity`;
        state.gpuFree[at] = Math.max(0, state.gpuFree[at] ?? 0);
        state.gpuFreeCore[at] = Math.max(0, state.gpuFreeCore[at] ?? 0);
      }
    }
    state.closedWhy[index] = why;
    state.nodeKind[index] = why !== '' ? NODE_CLOSED : node.gpus.kind === 'none' ? NODE_WITHOUT_GPUS : NODE_OPEN;
  }

  /** Shares held back on every GPU may sum to more than one GPU without any GPU being over its capacity. */
  #hasUnplaced(nodeName: string): boolean {
    for (const { request, gpus } of this.residentsOf(nodeName)) {
      if (request !== undefined && gpus.length === 0) return true;
    }
    return false;
  }
}

/** Batch work of several GPUs or of a gang: one evicted member idles the others, so it is kept off online GPUs. */
export function staysApart(request: PodRequest): boolean {
  return request.class === 'batch' && (request.gpuCount > 1 || request.gang);
}

/** A claim that names another number of GPUs than the pod asks for is not trusted: the pod then counts as unplaced. */
function claimedGpus({ claim }: PodRecord, request: PodRequest | undefined): readonly GpuKey[] {
  return claim.kind === 'gpus' && claim.gpus.length === request?.gpuCount ? claim.gpus : [];
}

function sameLabels(a: StringMap, b: StringMap): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}

function sameGpus(a: readonly GpuKey[], b: readonly GpuKey[]): boolean {
  return (
    a.length === b.length &&
    a.every((key) =>
      b.some(({ uuid, index }) => (uuid === '' || key.uuid === '' ? index === key.index : uuid === key.uuid)),
    )
  );
}

/** Heartbeats update a node every few seconds; only what the ledger reads counts as a change. */
function sameNode(a: NodeRecord, b: NodeRecord): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
