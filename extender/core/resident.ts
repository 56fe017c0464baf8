// A pod that occupies a node, as the ledger keeps it.

import type { PodRecord, PodRequest } from './model.ts';

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

/** What stands for the UUID of a GPU that gpushare's node status counts and does not name; no GPU is called so. */
export function nameByIndex(index: number): string {
  return `index-${index}`;
}

/** How an allocation names a GPU: one without a UUID by its index alone, so that it is found again under its UUID. */
export function gpuKey(uuid: string, index: number): GpuKey {
  return { uuid: uuid === nameByIndex(index) ? '' : uuid, index };
}

/** Whether two allocations name the same GPUs, in whatever order; one without a UUID is the same by its index. */
export function sameGpus(a: readonly GpuKey[], b: readonly GpuKey[]): boolean {
  return (
    a.length === b.length &&
    a.every((key) =>
      b.some(({ uuid, index }) => (uuid === '' || key.uuid === '' ? index === key.index : uuid === key.uuid)),
    )
  );
}

/** A pod that occupies a node. */
export interface Resident {
  /** The pod's UID; for a reservation set aside, the UID with its node name. */
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
