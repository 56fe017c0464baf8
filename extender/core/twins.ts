// Which nodes are in equal states: whatever looks at nothing but a node's own columns judges such twins alike, so one
// judgement serves them all. Most nodes of a cluster are empty machines of a few kinds. Reads the state, never writes it.

import type { ClusterState } from './state.ts';

const NOBODY = -1;
/** Numbers given out before all are given out anew, as a multiple of the nodes; more only cost memory. */
const NUMBERS_PER_NODE = 4;

/** Tells twins among the nodes of one cluster; a call looks at nodes that changed since the last one. */
export class Twins {
  /** By node: nodes of equal numbers are twins. Twins may have different numbers: that costs work, not truth. */
  #numbers = new Int32Array(0);
  /** By node: the change that the number holds for. */
  #numberedAt = new Float64Array(0);
  #given = 0;
  /** A node whose state has this hash. The place is shared by all hashes that end alike. */
  #latest = new Int32Array(0);
  /** By number: the first node that has it. */
  #firstOf = new Int32Array(0);
  #firsts = new Int32Array(0);
  #generation = -1;

  /**
   * By node: the first node in the same state, which is the node itself where it is the first. Equal are CPU, memory,
   * kind, isolation, and all of each GPU but its name, NUMA node and links. The returned array is reused.
   */
  firsts(state: ClusterState): Int32Array {
    const { nodeSlots, generation, changedAt } = state;
    if (generation === this.#generation) return this.#firsts;
    if (nodeSlots > this.#numbers.length || this.#given > this.#firstOf.length - nodeSlots) this.#startOver(nodeSlots);
    for (let node = 0; node < nodeSlots; node++) {
      if (this.#numberedAt[node] !== changedAt[node]) this.#number(state, node);
    }
    this.#firstOf.fill(NOBODY, 0, this.#given);
    for (let node = 0; node < nodeSlots; node++) {
      const number = this.#numbers[node] ?? 0;
      const first = this.#firstOf[number] ?? NOBODY;
      if (first < 0) this.#firstOf[number] = node;
      this.#firsts[node] = first < 0 ? node : first;
    }
    this.#generation = generation;
    return this.#firsts;
  }

  #number(state: ClusterState, node: number): void {
    const place = hashOf(state, node) & (this.#latest.length - 1);
    const other = this.#latest[place] ?? NOBODY;
    const isKnown = other >= 0 && this.#numberedAt[other] === state.changedAt[other] && areTwins(state, node, other);
    this.#numbers[node] = isKnown ? (this.#numbers[other] ?? 0) : this.#given++;
    this.#numberedAt[node] = state.changedAt[node] ?? 0;
    this.#latest[place] = node;
  }

  #startOver(nodeSlots: number): void {
    const slots = Math.max(64, Math.ceil(nodeSlots * 1.25));
    let places = 1;
    while (places < 2 * slots) places *= 2;
    this.#numbers = new Int32Array(slots);
    this.#numberedAt = new Float64Array(slots).fill(-1);
    this.#given = 0;
    this.#latest = new Int32Array(places).fill(NOBODY);
    this.#firstOf = new Int32Array(slots * NUMBERS_PER_NODE);
    this.#firsts = new Int32Array(slots);
  }
}

/** Of the columns in which nodes differ most; what else differs is found by comparing. */
function hashOf(state: ClusterState, node: number): number {
  const start = state.gpuStart[node] ?? 0;
  const end = start + (state.gpuCount[node] ?? 0);
  let hash = mixed(mixed(end - start, state.cpuFreeMilli[node] ?? 0), state.memoryFreeMiB[node] ?? 0);
  for (let at = start; at < end; at++) hash = mixed(mixed(hash, state.gpuFree[at] ?? 0), state.gpuModel[at] ?? 0);
  return hash ^ (hash >>> 15);
}

function mixed(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x9e3779b1) ^ (hash >>> 13);
}

function areTwins(state: ClusterState, a: number, b: number): boolean {
  const gpus = state.gpuCount[a];
  if (
    gpus !== state.gpuCount[b] ||
    state.cpuFreeMilli[a] !== state.cpuFreeMilli[b] ||
    state.memoryFreeMiB[a] !== state.memoryFreeMiB[b] ||
    state.nodeKind[a] !== state.nodeKind[b] ||
    state.nodeIsolation[a] !== state.nodeIsolation[b]
  ) {
    return false;
  }
  const startA = state.gpuStart[a] ?? 0;
  const startB = state.gpuStart[b] ?? 0;
  for (let gpu = 0; gpu < (gpus ?? 0); gpu++) if (!areTwinGpus(state, startA + gpu, startB + gpu)) return false;
  return true;
}

function areTwinGpus(state: ClusterState, a: number, b: number): boolean {
  return (
    state.gpuFree[a] === state.gpuFree[b] &&
    state.gpuModel[a] === state.gpuModel[b] &&
    state.gpuCapacity[a] === state.gpuCapacity[b] &&
    state.gpuFreeCore[a] === state.gpuFreeCore[b] &&
    state.gpuSharers[a] === state.gpuSharers[b] &&
    state.gpuHealthy[a] === state.gpuHealthy[b] &&
    state.gpuOnline[a] === state.gpuOnline[b] &&
    state.gpuBatch[a] === state.gpuBatch[b] &&
    state.gpuBatchSlices[a] === state.gpuBatchSlices[b] &&
    state.gpuBatchApart[a] === state.gpuBatchApart[b]
  );
}
