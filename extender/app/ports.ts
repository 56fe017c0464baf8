// What the verbs need from the outside world. Implementations live in extender/kube (a real API server or the
// embedded one), in tests and in the simulator. The core never sees these.

import type { PodManifest, StringMap } from '../core/manifest.ts';

export interface Clock {
  /** Wall clock, milliseconds since the epoch. For people and annotations, never for a decision. */
  wallMillis(): number;
  /** Monotonic clock in milliseconds, for timeouts, leases and staleness. */
  monotonicMillis(): number;
}

export interface PodRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** One Binding: node name and annotations are committed by the API server in one transaction. */
export interface BindingOrder {
  readonly pod: PodRef;
  readonly nodeName: string;
  readonly annotations: StringMap;
}

/**
 * What became of a Binding.
 * `bound`: committed. `refused`: certainly not committed by this call (404, 409, 403, 422, deleting pod).
 * `unknown`: timeout, 5xx, 429 after send, or a broken connection; it may still commit.
 */
export type BindOutcome =
  | { readonly kind: 'bound' }
  | { readonly kind: 'refused'; readonly status: number; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string };

export interface Binder {
  /**
   * Never throws and never retries. Resolves within `timeoutMillis`. `isStillWanted` is asked just before the Binding is
   * sent; where it says no, the outcome is `refused`.
   */
  bind(order: BindingOrder, timeoutMillis: number, isStillWanted: () => boolean): Promise<BindOutcome>;
}

export type PodReading =
  | { readonly kind: 'found'; readonly pod: PodManifest }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unavailable'; readonly message: string };

export interface PodReader {
  /** A consistent live read (never from the watch cache). Never throws. */
  read(namespace: string, name: string, timeoutMillis: number): Promise<PodReading>;
}

export interface PodEvent {
  readonly pod: PodRef;
  readonly type: 'Normal' | 'Warning';
  /** Short CamelCase word, such as `GpuAllocated` or `GpuRefused`. */
  readonly reason: string;
  readonly message: string;
}

export interface EventSink {
  /** Fire and forget: deduplicates, limits the rate, never throws and never blocks a verb. */
  publish(event: PodEvent): void;
}

/** Receives one kind of object from a list and watch. Calls are synchronous and in order. */
export interface ObjectFeed<T> {
  /** The complete state at a list; whatever is not in `items` no longer exists. */
  replace(items: readonly T[]): void;
  upsert(item: T): void;
  remove(item: T): void;
}
