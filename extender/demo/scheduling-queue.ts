// Pods that wait for a node: first come, first served; a refused pod waits until capacity is freed and its backoff is
// over. Times are monotonic milliseconds given by the caller. Synchronous.

import type { PodManifest } from '../core/manifest.ts';
import { identityOf } from './manifests.ts';

export interface QueuedPod {
  readonly pod: PodManifest;
  readonly attempts: number;
}

interface WaitingPod extends QueuedPod {
  readonly readyAtMillis: number;
  /** Something happened since the refusal that could let it fit. */
  retry: boolean;
}

export interface QueueOptions {
  readonly backoffMillis: number;
  readonly maxBackoffMillis: number;
  /** How often a pod is tried again though nothing happened, after calls that failed. */
  readonly maxRetries: number;
  readonly now: () => number;
}

export class SchedulingQueue {
  readonly #options: QueueOptions;
  readonly #active = new Map<string, QueuedPod>();
  readonly #waiting = new Map<string, WaitingPod>();
  #wake: () => void = () => undefined;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#active.size + this.#waiting.size;
  }

  /** A pod that was not tried yet. */
  add(pod: PodManifest): void {
    const { uid } = identityOf(pod);
    if (this.#active.has(uid) || this.#waiting.has(uid)) return;
    this.#active.set(uid, { pod, attempts: 0 });
    this.#wake();
  }

  remove(uid: string): void {
    this.#active.delete(uid);
    this.#waiting.delete(uid);
  }

  /** Takes the oldest pod that may be tried now. */
  take(): QueuedPod | undefined {
    this.#releaseWaiting();
    const [first] = this.#active;
    if (first === undefined) return undefined;
    this.#active.delete(first[0]);
    return first[1];
  }

  /** A refused pod. `retry`: try again after the backoff even if nothing happens meanwhile. */
  putBack({ pod, attempts }: QueuedPod, retry: boolean): void {
    const { backoffMillis, maxBackoffMillis, maxRetries, now } = this.#options;
    const delay = Math.min(maxBackoffMillis, backoffMillis * 2 ** Math.min(attempts, 20));
    const { uid } = identityOf(pod);
    this.#waiting.set(uid, {
      pod,
      attempts: attempts + 1,
      readyAtMillis: now() + delay,
      retry: retry && attempts < maxRetries,
    });
  }

  /** Capacity was freed: every refused pod is worth another attempt after its backoff. */
  capacityFreed(): void {
    for (const waiting of this.#waiting.values()) waiting.retry = true;
    this.#wake();
  }

  /** Calls `wake` whenever a pod may have become ready; the queue holds one such function at a time. */
  onReady(wake: () => void): void {
    this.#wake = wake;
  }

  #releaseWaiting(): void {
    const now = this.#options.now();
    for (const [uid, { pod, attempts, readyAtMillis, retry }] of this.#waiting) {
      if (!retry || readyAtMillis > now) continue;
      this.#waiting.delete(uid);
      this.#active.set(uid, { pod, attempts });
    }
  }
}
