// Everything the API server showed of the pods, in its order, from before the first pod on; and the check that no GPU
// was over its limits at any moment of it. The accounting here is the test's own: amounts from pod specs, GPUs from the
// allocation annotation, nothing from the extender's ledger.
// A watch that breaks is resumed; after a compaction the present list stands in for what was missed.

import { setTimeout as delay } from 'node:timers/promises';

import type { ApiClient } from './api.ts';
import type { LivePod } from './cluster.ts';
import { eventually } from './process.ts';

export interface PodSighting {
  readonly kind: 'shown' | 'gone';
  readonly pod: LivePod;
}

const PODS = '/api/v1/pods';

export class WatchHistory {
  readonly sightings: PodSighting[] = [];
  readonly #api: ApiClient;
  readonly #stop = new AbortController();
  readonly #present = new Map<string, LivePod>();
  /** Highest resource version seen; the real API server's are numbers of one sequence. */
  #latest = 0;
  /** Settled, and replaced, by every sighting. */
  #change = Promise.withResolvers<void>();
  #running: Promise<void> = Promise.resolve();

  private constructor(api: ApiClient) {
    this.#api = api;
  }

  /** Starts with the pods there are; every later change is recorded. */
  static async start(api: ApiClient): Promise<WatchHistory> {
    const history = new WatchHistory(api);
    const resourceVersion = await history.#relist();
    history.#running = history.#follow(resourceVersion);
    return history;
  }

  /** Pods that have a node at present. */
  get bound(): number {
    let count = 0;
    for (const pod of this.#present.values()) if (pod.spec?.nodeName !== undefined) count++;
    return count;
  }

  /** Pods as last shown. */
  pods(): readonly LivePod[] {
    return [...this.#present.values()];
  }

  async untilBound(count: number, timeoutMillis: number): Promise<void> {
    const timeout = AbortSignal.timeout(timeoutMillis);
    const late = new Promise((resolve) => timeout.addEventListener('abort', resolve, { once: true }));
    while (this.bound < count) {
      if (timeout.aborted) throw new Error(`${this.bound} pods were bound in ${timeoutMillis} ms, expected ${count}`);
      await Promise.race([this.#change.promise, late]);
    }
  }

  /** Ends the recording once it has everything up to now. */
  async finish(): Promise<void> {
    const { items } = await this.#api.list<LivePod>(PODS);
    const now = Math.max(0, ...items.map(versionOf));
    const reached = await eventually(() => Promise.resolve(this.#latest >= now), 30_000);
    this.#stop.abort();
    await this.#running;
    if (!reached) throw new Error('the recorded watch did not reach the present');
  }

  async #follow(from: string): Promise<void> {
    const { signal } = this.#stop;
    let resourceVersion = from;
    while (!signal.aborted) {
      try {
        for await (const { type, object } of this.#api.watch<LivePod>(PODS, { resourceVersion, signal })) {
          this.#record({ kind: type === 'DELETED' ? 'gone' : 'shown', pod: object });
          resourceVersion = object.metadata?.resourceVersion ?? resourceVersion;
        }
      } catch (cause) {
        if (!(cause instanceof Error)) throw cause;
        if (cause.message.includes('too old resource version')) resourceVersion = await this.#relist();
      }
      await delay(100);
    }
  }

  async #relist(): Promise<string> {
    const { items, resourceVersion } = await this.#api.list<LivePod>(PODS);
    const listed = new Set(items.map(({ metadata }) => metadata?.uid));
    for (const pod of [...this.#present.values()]) {
      if (!listed.has(pod.metadata?.uid)) this.#record({ kind: 'gone', pod });
    }
    for (const pod of items) this.#record({ kind: 'shown', pod });
    return resourceVersion;
  }

  #record(sighting: PodSighting): void {
    const uid = sighting.pod.metadata?.uid ?? '';
    this.sightings.push(sighting);
    this.#latest = Math.max(this.#latest, versionOf(sighting.pod));
    if (sighting.kind === 'gone') this.#present.delete(uid);
    else this.#present.set(uid, sighting.pod);
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}

function versionOf(pod: LivePod): number {
  return Number(pod.metadata?.resourceVersion ?? 0);
}
