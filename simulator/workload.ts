// What a simulation runs on, whatever it came from: nodes, the pod list, and the order in which pods arrive.
// Records only. Requests are shared between equal pods, since a trace has few distinct ones.

import type { ModelConstraint, PodRequest, WorkloadClass } from '../extender/core/model.ts';

/** Slices of a GPU in a simulation: one per thousandth of it. */
export const MILLI_PER_GPU = 1000;

export interface SimulatedNode {
  readonly name: string;
  readonly cpuMilli: number;
  readonly memoryMiB: number;
  readonly gpus: number;
  readonly model: string;
}

export interface PodList {
  /** Distinct requests, in order of first appearance. */
  readonly requests: readonly PodRequest[];
  /** The request of each pod of the list, as a position in `requests`. */
  readonly pods: Int32Array;
}

/** One sequence of arrivals on one order of nodes. */
export interface ArrivalOrder {
  /** Nodes in tie-break order, as positions in the node list: the first wins a tie over the second, and so on. */
  readonly nodes: ArrayLike<number>;
  /** Arriving pods as positions in the pod list; a pod may arrive more than once, as separate pods. */
  readonly pods: ArrayLike<number>;
}

export interface Workload {
  readonly trace: string;
  readonly seed: number;
  readonly nodes: readonly SimulatedNode[];
  readonly list: PodList;
  readonly order: ArrivalOrder;
}

const NO_AFFINITY = { required: undefined, forbidden: undefined, preferred: undefined, avoided: undefined };

/** Collects pods and shares equal requests. */
export class PodListBuilder {
  readonly #requests: PodRequest[] = [];
  readonly #byKey = new Map<string, number>();
  readonly #pods: number[] = [];

  get length(): number {
    return this.#pods.length;
  }

  /** `models` is a set of admissible models joined by `|`; empty admits all. */
  add(
    cpuMilli: number,
    memoryMiB: number,
    gpuCount: number,
    milliPerGpu: number,
    models: string,
    podClass: WorkloadClass = 'online',
  ): void {
    const key = `${cpuMilli};${memoryMiB};${gpuCount};${milliPerGpu};${models};${podClass}`;
    let at = this.#byKey.get(key);
    if (at === undefined) {
      at = this.#requests.push(gpuRequest(cpuMilli, memoryMiB, gpuCount, milliPerGpu, models, podClass)) - 1;
      this.#byKey.set(key, at);
    }
    this.#pods.push(at);
  }

  build(): PodList {
    return { requests: this.#requests, pods: Int32Array.from(this.#pods) };
  }
}

function gpuRequest(
  cpuMilli: number,
  memoryMiB: number,
  gpuCount: number,
  milliPerGpu: number,
  models: string,
  podClass: WorkloadClass,
): PodRequest {
  const constraint: ModelConstraint = { allow: models === '' ? [] : models.split('|'), deny: [] };
  return {
    gpuCount,
    slicesPerGpu: milliPerGpu,
    corePerGpu: 0,
    containers: [],
    class: podClass,
    gang: false,
    models: constraint,
    uuids: [],
    affinities: NO_AFFINITY,
    policy: undefined,
    host: { cpuMilli, memoryMiB },
    isolation: 'none',
    hasSoftPreferences: false,
  };
}

/** Milli-GPU that a request takes in all. */
export function milliOf({ gpuCount, slicesPerGpu }: PodRequest): number {
  return gpuCount * slicesPerGpu;
}

/** Milli-GPU of all GPUs of the nodes. */
export function capacityMilli(nodes: readonly SimulatedNode[]): number {
  return nodes.reduce((sum, { gpus }) => sum + gpus * MILLI_PER_GPU, 0);
}
