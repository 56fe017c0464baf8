// What the HTTP shell needs from the application. The shell decodes, validates, measures and answers;
// every decision is behind these interfaces. It never reaches past them into the ledger or the cluster.

import type {
  ExtenderArgs,
  ExtenderBindingArgs,
  ExtenderBindingResult,
  ExtenderFilterResult,
  HostPriority,
} from '../app/extender-api.ts';
import type { HostArgs } from '../app/host-bytes.ts';
import type { JudgedHosts, ScoredHosts } from '../app/judged-hosts.ts';

export interface VerbSurface {
  /** Synchronous; a domain failure is a result with `Error` set, never an exception. */
  filter(args: ExtenderArgs): ExtenderFilterResult;
  /** Synchronous; may throw when it cannot answer yet (not synced, not leader). */
  prioritize(args: ExtenderArgs): readonly HostPriority[];
  bind(args: ExtenderBindingArgs): Promise<ExtenderBindingResult>;
  /**
   * The first two for requests whose names are left in bytes, which spares most of the cost of a call. What they return
   * is valid until the next request. An application without it gets strings.
   */
  readonly inBytes?: {
    filter(args: HostArgs): ExtenderFilterResult | JudgedHosts;
    prioritize(args: HostArgs): ScoredHosts;
  };
}

export interface OpsSurface {
  health(): { readonly live: boolean; readonly detail: string };
  readiness(): {
    readonly ready: boolean;
    /** Ready, or a standby that could take over at once. */
    readonly warm: boolean;
    readonly state: 'syncing' | 'standby' | 'active' | 'draining' | 'stale';
    readonly detail: string;
  };
  /** `undefined` means that the pod is not known. */
  explain(podKey: { readonly namespace: string; readonly name: string }): unknown;
  snapshot(): unknown;
  /** All nodes, or one. `undefined` means that the node is not known. */
  inspect(nodeName?: string): GpushareInspect | undefined;
}

/** gpushare's inspect document. `totalGPU` and `usedGPU` are memory units, not numbers of GPUs. */
export interface GpushareInspect {
  readonly nodes: readonly GpushareInspectNode[];
  readonly error?: string;
}

export interface GpushareInspectNode {
  readonly name: string;
  readonly totalGPU: number;
  readonly usedGPU: number;
  readonly devs: readonly GpushareInspectDevice[];
}

export interface GpushareInspectDevice {
  readonly id: number;
  readonly totalGPU: number;
  readonly usedGPU: number;
  readonly pods: readonly { readonly name: string; readonly namespace: string; readonly usedGPU: number }[];
}
