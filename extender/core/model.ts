// The records that cross the core's boundary. Plain, readonly, with units in their names.

import type { StringMap } from './manifest.ts';
import type { AffinityTerm } from './selector.ts';

/** Latency-sensitive (`online`) or interruptible (`batch`) work. */
export type WorkloadClass = 'online' | 'batch';

export const POLICY_NAMES = ['fragmentation', 'binpack', 'spread', 'topology'] as const;
export type PolicyName = (typeof POLICY_NAMES)[number];

export type GpuHealth = 'healthy' | 'unhealthy';
/** What keeps the pods of a GPU within their shares, weakest first: nothing, or limits that the MPS daemon enforces. */
export const ISOLATION_LEVELS = ['none', 'mps'] as const;
export type IsolationLevel = (typeof ISOLATION_LEVELS)[number];

/** Position of a level in `ISOLATION_LEVELS`: a node serves requests of its own rank and below. */
export function isolationRank(level: IsolationLevel): number {
  return ISOLATION_LEVELS.indexOf(level);
}

/** One physical GPU as its node reports it. `slices` is its memory in units of the node's `unitMiB`. */
export interface Gpu {
  readonly uuid: string;
  readonly index: number;
  readonly minor: number;
  readonly model: string;
  readonly memoryMiB: number;
  readonly slices: number;
  /** NUMA node, or -1 where unknown. */
  readonly numa: number;
  readonly health: GpuHealth;
}

export interface Inventory {
  readonly unitMiB: number;
  readonly isolation: IsolationLevel;
  readonly gpus: readonly Gpu[];
  /** Link weight between GPUs by position in `gpus` (higher is closer, 0 = no direct link); empty where unknown. */
  readonly links: readonly (readonly number[])[];
}

/** What we know of a node's GPUs. `closed` nodes take no pods until the reason is mended. */
export type NodeGpus =
  | { readonly kind: 'inventory'; readonly inventory: Inventory; readonly source: 'gpuloom' | 'gpushare' }
  | { readonly kind: 'none' }
  | { readonly kind: 'closed'; readonly why: string };

export interface HostResources {
  readonly cpuMilli: number;
  readonly memoryMiB: number;
}

export interface NodeRecord {
  readonly name: string;
  readonly uid: string;
  readonly allocatable: HostResources;
  readonly gpus: NodeGpus;
  readonly address: string;
}

/** Admissible GPU models; an empty `allow` admits every model that is not denied. */
export interface ModelConstraint {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

/** What one container holds on each of the pod's GPUs. */
export interface ContainerDemand {
  readonly name: string;
  readonly role: 'main' | 'init' | 'sidecar';
  readonly slicesPerGpu: number;
  readonly corePerGpu: number;
}

export interface Affinities {
  readonly required: AffinityTerm | undefined;
  readonly forbidden: AffinityTerm | undefined;
  readonly preferred: AffinityTerm | undefined;
  readonly avoided: AffinityTerm | undefined;
}

/** What a pod asks of one node. Per-GPU figures hold on each of `gpuCount` different GPUs. */
export interface PodRequest {
  readonly gpuCount: number;
  readonly slicesPerGpu: number;
  /** Percent of one GPU, 1..100; 0 = unset, shares what is left. */
  readonly corePerGpu: number;
  readonly containers: readonly ContainerDemand[];
  readonly class: WorkloadClass;
  /** Member of a gang by one of the known pod-group markers. */
  readonly gang: boolean;
  readonly models: ModelConstraint;
  readonly uuids: readonly string[];
  readonly affinities: Affinities;
  /** The pod's own choice of policy; undefined = the extender's default. */
  readonly policy: PolicyName | undefined;
  /** The least isolation that the node must offer. */
  readonly isolation: IsolationLevel;
  readonly host: HostResources;
  /** The pod has soft in-tree preferences that need to see every feasible node. */
  readonly hasSoftPreferences: boolean;
}

export type GpuDemand =
  | { readonly kind: 'none' }
  | { readonly kind: 'request'; readonly request: PodRequest }
  | { readonly kind: 'invalid'; readonly why: string };

export interface GpuGrant {
  readonly uuid: string;
  readonly index: number;
  readonly slices: number;
  readonly core: number;
}

export interface ContainerGrant {
  readonly name: string;
  readonly gpus: readonly GpuGrant[];
}

/** GPUs and amounts given to one pod's containers. */
export interface Allocation {
  readonly containers: readonly ContainerGrant[];
}

/** Which GPUs a bound pod's annotations name. Amounts are always counted from the pod's spec. */
export type AllocationClaim =
  | { readonly kind: 'none' }
  | { readonly kind: 'gpus'; readonly gpus: readonly { readonly uuid: string; readonly index: number }[] }
  | { readonly kind: 'invalid'; readonly why: string };

/** The slim form of a pod that the ledger keeps. */
export interface PodRecord {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  /** Empty while unbound. */
  readonly nodeName: string;
  /** When the object was created, in seconds of Unix time; 0 or absent where that is not known. */
  readonly createdSeconds?: number;
  readonly terminal: boolean;
  readonly deleting: boolean;
  readonly labels: StringMap;
  readonly host: HostResources;
  readonly demand: GpuDemand;
  readonly claim: AllocationClaim;
}
