// What the binding needs from the node and the cluster. Implementations: device-plugin/kubelet, device-plugin/kube and
// device-plugin/binding/spec-folder.ts; tests bring their own.

import type { PodRecord } from '../extender/core/model.ts';
import type { CheckpointHolding, ContainerHolding } from './binding/owner.ts';

/** The kubelet's two witnesses for one resource. Both reject with a sentence when they cannot be heard. */
export interface KubeletWitness {
  /** A list begun after this call. */
  holdings(): Promise<readonly ContainerHolding[]>;
  checkpoint(): Promise<readonly CheckpointHolding[]>;
}

/** Pods of this node as the watch shows them, and one live read where it lags. */
export interface NodePods {
  byUid(uid: string): PodRecord | undefined;
  byName(namespace: string, name: string): PodRecord | undefined;
  all(): Iterable<PodRecord>;
  /** Reads the pod from the API server; undefined where it is gone. Rejects when the server cannot be reached. */
  readLive(namespace: string, name: string): Promise<PodRecord | undefined>;
  /** The pods of this node that ask for GPUs and have not ended, from the API server. Rejects like `readLive`. */
  readAll(timeoutMillis: number): Promise<readonly PodRecord[]>;
}

/** CDI spec files, by key. */
export interface SpecStore {
  /** Written whole or not at all; replaces an earlier one. */
  write(key: string, text: string): Promise<void>;
  /** Keys and texts of the specs that are there. */
  list(): Promise<readonly { readonly key: string; readonly text: string }[]>;
  remove(key: string): Promise<void>;
}

/** What a look at the MPS control daemon found. `why` completes "it cannot be reached:". */
export type MpsReach = { readonly kind: 'reached' } | { readonly kind: 'unreached'; readonly why: string };

export interface MpsDaemon {
  /** A look at this moment. Ends in bounded time and never rejects. */
  look(): Promise<MpsReach>;
}

/** What holds containers to their limits on this node. */
export interface LimitKeeper {
  /**
   * Why a container that started now would not be held to the limits that the node promises; undefined where it would be,
   * and where none are promised. Ends in bounded time and never rejects.
   */
  whyUnenforced(): Promise<string | undefined>;
}

/** What the agent says about a pod, beyond the error that the kubelet gets. */
export interface RefusalSink {
  refused(pod: PodRecord | undefined, why: string): void;
}
