// What the owner of the devices decides, and how a decision is written into the kubelet's messages.
// Types and pure conversions only.

import type { ContainerAllocateResponse } from '../proto/types.ts';

/** What a container is given besides its resource count. Everything here stays for the pod's whole life. */
export interface ContainerAllocation {
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts?: readonly {
    readonly containerPath: string;
    readonly hostPath: string;
    readonly readOnly: boolean;
  }[];
  readonly devices?: readonly {
    readonly containerPath: string;
    readonly hostPath: string;
    readonly permissions: string;
  }[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** Fully qualified names, `<vendor>/<class>=<name>`. */
  readonly cdiDevices?: readonly string[];
}

/** A call in progress. A handler that honours neither part is still correct. */
export interface CallContext {
  /** Aborted when the deadline passes or the kubelet gives up. */
  readonly signal: AbortSignal;
  /** Names what the handler waits for now; quoted when the deadline passes. */
  waitingFor(what: string): void;
}

export interface PreferredQuestion {
  readonly available: readonly string[];
  readonly mustInclude: readonly string[];
  readonly size: number;
}

/** A rejected promise is a refusal: its message reaches the pod's status, so it should say what to do. */
export interface PluginHandlers {
  /** For one container. The kubelet's whole admission waits; it has 2 s. */
  allocate(ids: readonly string[], call: CallContext): Promise<ContainerAllocation>;
  /** Before each start of a container, when PodResources already shows who holds the ids; it has 25 s. */
  preStart(ids: readonly string[], call: CallContext): Promise<void>;
  /** A hint; whatever is missing or impossible in the answer is repaired. It has 1 s, then the plain answer is given. */
  prefer(question: PreferredQuestion, call: CallContext): readonly string[] | Promise<readonly string[]>;
}

export function allocationMessage(allocation: ContainerAllocation): ContainerAllocateResponse {
  return {
    envs: allocation.env ?? {},
    mounts: (allocation.mounts ?? []).map(({ containerPath, hostPath, readOnly }) => ({
      container_path: containerPath,
      host_path: hostPath,
      read_only: readOnly,
    })),
    devices: (allocation.devices ?? []).map(({ containerPath, hostPath, permissions }) => ({
      container_path: containerPath,
      host_path: hostPath,
      permissions,
    })),
    annotations: allocation.annotations ?? {},
    cdi_devices: (allocation.cdiDevices ?? []).map((name) => ({ name })),
  };
}

/**
 * The answer to a preference question: what must be in it, then what the owner prefers of the available ids, then the
 * rest of the available ids in their order, up to `size`. Total: any question and any preference have an answer.
 */
export function completedPreference(question: PreferredQuestion, preferred: readonly string[]): string[] {
  const size = Math.max(0, question.size);
  const available = new Set(question.available);
  const chosen = new Set(question.mustInclude);
  for (const id of preferred) if (chosen.size < size && available.has(id)) chosen.add(id);
  for (const id of question.available) {
    if (chosen.size >= size) break;
    chosen.add(id);
  }
  return [...chosen].slice(0, Math.max(size, new Set(question.mustInclude).size));
}
