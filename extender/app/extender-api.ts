// The scheduler extender v1 protocol as kube-scheduler speaks it (k8s.io/kube-scheduler/extender/v1).
// The Go structs carry no JSON tags, so keys are capitalised and unset values arrive as null.

import type { NodeManifest, PodManifest } from '../core/manifest.ts';

export interface ExtenderArgs {
  readonly Pod?: PodManifest | null;
  /** Full nodes, sent when the extender is not configured as nodeCacheCapable. */
  readonly Nodes?: { readonly items?: readonly NodeManifest[] | null } | null;
  readonly NodeNames?: readonly string[] | null;
}

export interface ExtenderFilterResult {
  readonly Nodes: { readonly items: readonly NodeManifest[] } | null;
  readonly NodeNames: readonly string[] | null;
  /** Every refused node: kube-scheduler before 1.21 reads no other map. */
  readonly FailedNodes: Readonly<Record<string, string>>;
  /** Of these, the ones that no preemption could make feasible. Where both name a node, this map wins (1.21 on). */
  readonly FailedAndUnresolvableNodes: Readonly<Record<string, string>>;
  readonly Error: string;
}

export interface HostPriority {
  readonly Host: string;
  /** Integer 0..10. */
  readonly Score: number;
}

export interface ExtenderBindingArgs {
  readonly PodName?: string;
  readonly PodNamespace?: string;
  readonly PodUID?: string;
  readonly Node?: string;
}

export interface ExtenderBindingResult {
  readonly Error: string;
}
