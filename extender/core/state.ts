// The cluster as a struct of arrays: dense node and GPU indices, typed arrays, names only at the edge.
// Only the ledger writes here; everything else reads. Each change of a node is entered in the journal,
// so that a reader who remembers a generation recomputes changed nodes and no others.

import { ModelCatalog } from './model-catalog.ts';
import { NameIndex } from './name-index.ts';

export const NODE_ABSENT = 0;
export const NODE_OPEN = 1;
export const NODE_WITHOUT_GPUS = 2;
export const NODE_CLOSED = 3;

/** A power of two, so that a mask finds the place of an entry however large its number has become. */
const JOURNAL_LENGTH: number = 1 << 16;
const JOURNAL_MASK: number = JOURNAL_LENGTH - 1;

export class ClusterState {
  readonly models: ModelCatalog = new ModelCatalog();

  /** Nodes ever indexed; indices of absent nodes are reused. */
  nodeSlots = 0;
  readonly nodeNames: string[] = [];
  /** Why a node is closed; empty while open. */
  readonly closedWhy: string[] = [];
  nodeKind: Uint8Array = new Uint8Array(64);
  /** Rank of the isolation that each node offers. */
  nodeIsolation: Uint8Array = new Uint8Array(64);
  cpuFreeMilli: Float64Array = new Float64Array(64);
  memoryFreeMiB: Float64Array = new Float64Array(64);
  gpuStart: Int32Array = new Int32Array(64);
  gpuCount: Int32Array = new Int32Array(64);
  /** Generation of the latest change of each node. */
  changedAt: Float64Array = new Float64Array(64);

  gpuSlots = 0;
  gpuCapacity: Int32Array = new Int32Array(512);
  gpuFree: Int32Array = new Int32Array(512);
  /** Percent of compute not granted, 0..100. */
  gpuFreeCore: Int32Array = new Int32Array(512);
  /** Pods on the GPU that named no compute share and live on what is left. */
  gpuSharers: Int32Array = new Int32Array(512);
  gpuModel: Int32Array = new Int32Array(512);
  gpuHealthy: Uint8Array = new Uint8Array(512);
  gpuNuma: Int32Array = new Int32Array(512);
  gpuOnline: Int32Array = new Int32Array(512);
  gpuBatch: Int32Array = new Int32Array(512);
  gpuBatchSlices: Int32Array = new Int32Array(512);
  /** Batch pods on the GPU that may never be beside online work: of several GPUs, or of a gang. */
  gpuBatchApart: Int32Array = new Int32Array(512);
  readonly gpuUuid: string[] = [];
  readonly gpuIndex: number[] = [];
  /** Link weights by node, row-major over its GPUs; undefined where unknown. */
  readonly links: (Int32Array | undefined)[] = [];

  /** Number of node changes so far. */
  generation = 0;
  readonly #journal = new Int32Array(JOURNAL_LENGTH);
  readonly #indexByName = new Map<string, number>();
  /** Made when it is first asked: the simulator never does. */
  #indexByBytes: NameIndex | undefined;
  readonly #freeSlots: number[] = [];
  readonly #gpuRoom: number[] = [];
  #ranks = new Int32Array(0);
  #ranksStale = true;

  indexOf(nodeName: string): number | undefined {
    return this.#indexByName.get(nodeName);
  }

  /** The node whose name is `bytes[start]` up to, but not including, `bytes[end]`, or -1. */
  indexOfBytes(bytes: Uint8Array, start: number, end: number): number {
    this.#indexByBytes ??= this.#indexNames();
    return this.#indexByBytes.find(bytes, start, end);
  }

  get nodeTotal(): number {
    return this.#indexByName.size;
  }

  /** Indices of present nodes, in no particular order. */
  nodeIndices(): IterableIterator<number> {
    return this.#indexByName.values();
  }

  addNode(name: string): number {
    const known = this.#indexByName.get(name);
    if (known !== undefined) return known;
    const index = this.#freeSlots.pop() ?? this.nodeSlots++;
    this.#growNodes(this.nodeSlots);
    this.nodeNames[index] = name;
    this.closedWhy[index] = '';
    this.gpuCount[index] = 0;
    this.#indexByName.set(name, index);
    this.#indexByBytes?.add(name, index);
    this.#ranksStale = true;
    return index;
  }

  removeNode(index: number): void {
    this.#indexByName.delete(this.nodeNames[index] ?? '');
    this.#indexByBytes?.remove(index);
    this.nodeKind[index] = NODE_ABSENT;
    this.gpuCount[index] = 0;
    this.links[index] = undefined;
    this.#freeSlots.push(index);
    this.mark(index);
  }

  /** Gives the node a contiguous range of `count` GPU slots, moving it where its old range is too short. */
  resizeGpus(index: number, count: number): void {
    if (count > (this.#gpuRoom[index] ?? 0)) {
      this.gpuStart[index] = this.gpuSlots;
      this.#gpuRoom[index] = count;
      this.gpuSlots += count;
      this.#growGpus(this.gpuSlots);
    }
    this.gpuCount[index] = count;
  }

  /** Enters a node in the journal. Call it after its columns are written. */
  mark(index: number): void {
    this.#journal[this.generation & JOURNAL_MASK] = index;
    this.generation++;
    this.changedAt[index] = this.generation;
  }

  /** The node of change number `at` (from 0), or undefined where the journal no longer reaches back. */
  journalEntry(at: number): number | undefined {
    if (at < this.generation - JOURNAL_LENGTH || at >= this.generation) return undefined;
    return this.#journal[at & JOURNAL_MASK];
  }

  /** Position of each node in name order: the last rule of every tie. Valid until a node is added. */
  nameRanks(): Int32Array {
    if (!this.#ranksStale) return this.#ranks;
    const present = [...this.#indexByName.values()];
    const names = this.nodeNames;
    present.sort((a, b) => ((names[a] ?? '') < (names[b] ?? '') ? -1 : 1));
    this.#ranks = new Int32Array(this.nodeSlots);
    present.forEach((index, rank) => {
      this.#ranks[index] = rank;
    });
    this.#ranksStale = false;
    return this.#ranks;
  }

  #indexNames(): NameIndex {
    const index = new NameIndex();
    for (const [name, node] of this.#indexByName) index.add(name, node);
    return index;
  }

  #growNodes(needed: number): void {
    if (needed <= this.nodeKind.length) return;
    const length = Math.max(needed, this.nodeKind.length * 2);
    this.nodeKind = widen(this.nodeKind, new Uint8Array(length));
    this.nodeIsolation = widen(this.nodeIsolation, new Uint8Array(length));
    this.cpuFreeMilli = widen(this.cpuFreeMilli, new Float64Array(length));
    this.memoryFreeMiB = widen(this.memoryFreeMiB, new Float64Array(length));
    this.gpuStart = widen(this.gpuStart, new Int32Array(length));
    this.gpuCount = widen(this.gpuCount, new Int32Array(length));
    this.changedAt = widen(this.changedAt, new Float64Array(length));
  }

  #growGpus(needed: number): void {
    if (needed <= this.gpuCapacity.length) return;
    const length = Math.max(needed, this.gpuCapacity.length * 2);
    this.gpuCapacity = widen(this.gpuCapacity, new Int32Array(length));
    this.gpuFree = widen(this.gpuFree, new Int32Array(length));
    this.gpuFreeCore = widen(this.gpuFreeCore, new Int32Array(length));
    this.gpuSharers = widen(this.gpuSharers, new Int32Array(length));
    this.gpuModel = widen(this.gpuModel, new Int32Array(length));
    this.gpuHealthy = widen(this.gpuHealthy, new Uint8Array(length));
    this.gpuNuma = widen(this.gpuNuma, new Int32Array(length));
    this.gpuOnline = widen(this.gpuOnline, new Int32Array(length));
    this.gpuBatch = widen(this.gpuBatch, new Int32Array(length));
    this.gpuBatchSlices = widen(this.gpuBatchSlices, new Int32Array(length));
    this.gpuBatchApart = widen(this.gpuBatchApart, new Int32Array(length));
  }
}

function widen<T extends Uint8Array | Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
