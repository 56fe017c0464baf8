// kube-scheduler's own view of the nodes, as far as it differs from node to node here: the filter NodeResourcesFit over
// CPU, memory and the node's total of GPU slices, and the scores NodeResourcesLeastAllocated and
// NodeResourcesBalancedAllocation over CPU and memory, each a whole number 0..100 of weight 1, as in 1.20. All other
// default plugins give every node the same for pods without volumes, affinity, tolerations, owner or image locality.

import type { Ledger } from '../../extender/core/ledger.ts';
import type { PodRequest } from '../../extender/core/model.ts';
import type { InTreeScores } from '../run/driver.ts';

const MOST = 100;

/** 100 for an idle node, 0 for a full one: mean over CPU and memory, each cut to a whole number, and cut again. */
export function leastAllocated(cpuUsed: number, cpu: number, memoryUsed: number, memory: number): number {
  return Math.floor((unused(cpuUsed, cpu) + unused(memoryUsed, memory)) / 2);
}

/** 100 where CPU and memory are used in the same proportion; 0 where one of them is used up. */
export function balancedAllocation(cpuUsed: number, cpu: number, memoryUsed: number, memory: number): number {
  const cpuFraction = cpu === 0 ? 1 : cpuUsed / cpu;
  const memoryFraction = memory === 0 ? 1 : memoryUsed / memory;
  if (cpuFraction >= 1 || memoryFraction >= 1) return 0;
  return Math.floor((1 - Math.abs(cpuFraction - memoryFraction)) * MOST);
}

/** 100 for a full node: mean over CPU and memory, cut as above. */
export function mostAllocated(cpuUsed: number, cpu: number, memoryUsed: number, memory: number): number {
  return Math.floor((usedPart(cpuUsed, cpu) + usedPart(memoryUsed, memory)) / 2);
}

function usedPart(used: number, capacity: number): number {
  return capacity === 0 || used > capacity ? 0 : Math.floor((used * MOST) / capacity);
}

function unused(used: number, capacity: number): number {
  return capacity === 0 || used > capacity ? 0 : Math.floor(((capacity - used) * MOST) / capacity);
}

/** Reads the ledger at the moment of each call. Nodes must not come or go after construction. */
export class InTreePlugins {
  readonly #ledger: Ledger;
  readonly #cpuMilli: Float64Array;
  readonly #memoryMiB: Float64Array;

  constructor(ledger: Ledger) {
    const { state } = ledger;
    this.#ledger = ledger;
    this.#cpuMilli = new Float64Array(state.nodeSlots);
    this.#memoryMiB = new Float64Array(state.nodeSlots);
    for (const { name, allocatable } of ledger.nodes()) {
      const node = state.indexOf(name) ?? -1;
      this.#cpuMilli[node] = allocatable.cpuMilli;
      this.#memoryMiB[node] = allocatable.memoryMiB;
    }
  }

  /** Whether the node as a whole has room: what a pod asks of single GPUs is not known in-tree. */
  passes(node: number, { host, gpuCount, slicesPerGpu }: PodRequest): boolean {
    const { state } = this.#ledger;
    if (host.cpuMilli > (state.cpuFreeMilli[node] ?? 0)) return false;
    if (host.memoryMiB > (state.memoryFreeMiB[node] ?? 0)) return false;
    let missing = gpuCount * slicesPerGpu;
    if (missing === 0) return true;
    const start = state.gpuStart[node] ?? 0;
    const end = start + (state.gpuCount[node] ?? 0);
    for (let at = start; at < end && missing > 0; at++) missing -= state.gpuFree[at] ?? 0;
    return missing <= 0;
  }

  /** The sum of the in-tree scores of a node with the pod on it, 0..200. */
  score(which: InTreeScores, node: number, { host }: PodRequest): number {
    if (which === 'none') return 0;
    const { state } = this.#ledger;
    const cpu = this.#cpuMilli[node] ?? 0;
    const memory = this.#memoryMiB[node] ?? 0;
    const cpuUsed = cpu - (state.cpuFreeMilli[node] ?? 0) + host.cpuMilli;
    const memoryUsed = memory - (state.memoryFreeMiB[node] ?? 0) + host.memoryMiB;
    if (which === 'most-allocated') return mostAllocated(cpuUsed, cpu, memoryUsed, memory);
    return leastAllocated(cpuUsed, cpu, memoryUsed, memory) + balancedAllocation(cpuUsed, cpu, memoryUsed, memory);
  }
}
