// Whether the extender may answer, and if not, why. Fails closed: a verb that cannot be answered from a complete and
// fresh view is refused with a sentence, never with an empty "nothing fits".

import type { Clock } from './ports.ts';

export type ReadinessState = 'syncing' | 'standby' | 'active' | 'draining' | 'stale';

/** What readiness depends on. Each is read at the moment of the question. */
export interface ReadinessSources {
  /** Names of feeds that have not delivered their first complete list, or not since becoming leader. */
  unsynced(): readonly string[];
  /** Monotonic time of the latest sign of life of the quietest feed. */
  lastContactMillis(): number;
  isLeader(): boolean;
}

export interface ReadinessReport {
  readonly ready: boolean;
  readonly state: ReadinessState;
  readonly detail: string;
}

export class Readiness {
  readonly #sources: ReadinessSources;
  readonly #clock: Clock;
  readonly #staleAfterMillis: number;
  #isDraining = false;

  constructor(sources: ReadinessSources, clock: Clock, staleAfterMillis: number) {
    this.#sources = sources;
    this.#clock = clock;
    this.#staleAfterMillis = staleAfterMillis;
  }

  /** From now on new calls are refused; those in flight finish. */
  drain(): void {
    this.#isDraining = true;
  }

  report(): ReadinessReport {
    if (this.#isDraining)
      return { ready: false, state: 'draining', detail: 'shutting down; another replica takes over' };
    if (!this.#sources.isLeader()) {
      return {
        ready: false,
        state: 'standby',
        detail: 'another replica holds the lease; this one takes over when it ends',
      };
    }
    const unsynced = this.#sources.unsynced();
    if (unsynced.length > 0) {
      return {
        ready: false,
        state: 'syncing',
        detail: `waiting for the first complete list of ${unsynced.join(', ')}`,
      };
    }
    const silentMillis = this.#clock.monotonicMillis() - this.#sources.lastContactMillis();
    if (silentMillis > this.#staleAfterMillis) {
      const seconds = Math.round(silentMillis / 1000);
      return {
        ready: false,
        state: 'stale',
        detail: `nothing heard from the API server for ${seconds} s; not deciding on old data`,
      };
    }
    return { ready: true, state: 'active', detail: 'answering' };
  }

  /** Why verbs must be refused now, or undefined while active. */
  refusal(): string | undefined {
    const { ready, state, detail } = this.report();
    return ready ? undefined : `gpuloom is ${state}: ${detail}`;
  }
}
