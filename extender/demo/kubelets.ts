// The kubelets of the demo's cluster: a bound pod runs, succeeds after its time, and is deleted a little later.
// Writes to the embedded cluster in process. Ends with `stop`; nothing fires afterwards.

import { asPod, identityOf, isTerminal, type PodIdentity } from './manifests.ts';
import type { EmbeddedCluster } from '../embedded/cluster.ts';
import type { Change } from '../embedded/store.ts';
import type { Timers } from '../embedded/timers.ts';

export interface KubeletsOptions {
  readonly cluster: EmbeddedCluster;
  readonly timers: Timers;
  /** How long a pod runs, in milliseconds of this process. */
  readonly runMillis: (pod: PodIdentity) => number;
  /** How long a finished pod stays visible. */
  readonly keepMillis: number;
}

export class Kubelets {
  readonly #options: KubeletsOptions;
  /** Cancels the next step of each pod, by UID. */
  readonly #steps = new Map<string, () => void>();
  #stopped = false;

  constructor(options: KubeletsOptions) {
    this.#options = options;
  }

  observe({ resource, type, current }: Pick<Change, 'resource' | 'type' | 'current'>): void {
    if (resource !== 'pods' || this.#stopped) return;
    const pod = asPod(current.object);
    const identity = identityOf(pod);
    if (type === 'DELETED') this.#cancel(identity.uid);
    else if (pod.spec?.nodeName && !isTerminal(pod) && !this.#steps.has(identity.uid)) this.#start(identity);
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#steps.values()) cancel();
    this.#steps.clear();
  }

  #start(pod: PodIdentity): void {
    const { cluster, timers, runMillis, keepMillis } = this.#options;
    const later = (millis: number, step: () => void): void => {
      this.#steps.set(pod.uid, timers.after(millis, step));
    };
    later(runMillis(pod), () => {
      later(keepMillis, () => cluster.delete('pods', pod.namespace, pod.name));
      cluster.setPodPhase(pod.namespace, pod.name, 'Succeeded');
    });
    cluster.setPodPhase(pod.namespace, pod.name, 'Running');
  }

  #cancel(uid: string): void {
    this.#steps.get(uid)?.();
    this.#steps.delete(uid);
  }
}
