// Static rules of co-location on one GPU, as numbers an operator may change.
// Sources: MuxFlow, Lucid and AntMan agree on one batch tenant beside an online one; qGPU caps tenants at 16 per GPU.

export interface GpuLimits {
  /** Batch pods on a GPU that also holds online pods. */
  readonly batchBesideOnline: number;
  /** Percent of a GPU's slices that batch pods may hold beside online pods. */
  readonly batchShareBesideOnlinePercent: number;
  /** Batch pods on a GPU without online pods. */
  readonly batchPerGpu: number;
  /** Pods of any class on a GPU. */
  readonly podsPerGpu: number;
}

export const DEFAULT_LIMITS: GpuLimits = {
  batchBesideOnline: 1,
  batchShareBesideOnlinePercent: 50,
  batchPerGpu: 4,
  podsPerGpu: 16,
};
