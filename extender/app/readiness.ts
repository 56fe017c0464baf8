// Whether the extender may answer, and if not, why. Fails closed: a verb that cannot be answered from a complete and
// fresh view is refused with a sentence, never with an empty "nothing fits".

import type { Clock } from './ports.ts';

export type ReadinessState = 'syncing' | 'standby' | 'active' | 'draining' | 'stale';

/** What readiness depends on. Each is read at the moment of the question. */
export interface ReadinessSources {
  /** Names of feeds that have not delivered their first complete list. */
  unsynced(): readonly string[];
  /** Monotonic time of the latest sign of life of the quietest feed. */
  lastContactMillis(): number;
  isLeader(): boolean;
  /** Complete lists have been taken in since becoming leader. */
  isCaughtUp(): boolean;
}

export interface ReadinessReport {
  /** Verbs are answered. */
  readonly ready: boolean;
  /** Ready, or fit to take over: a standby whose view of the cluster is complete and fresh. */
  readonly warm: boolean;
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
    if (this.#isDraining) return cold('draining', 'shutting down; another replica takes over');
    const isLeader = this.#sources.isLeader();
    const gap = this.#gap(isLeader);
    if (!isLeader) {
      const detail = 'another replica holds the lease; this one takes over when it ends';
      const caveat = gap === undefined ? '' : ` (${gap.detail})`;
      return { ready: false, warm: gap === undefined, state: 'standby', detail: detail + caveat };
    }
    return gap ?? { ready: true, warm: true, state: 'active', detail: 'answering' };
  }

  /** What the view of the cluster lacks, if anything. */
  #gap(isLeader: boolean): ReadinessReport | undefined {
    const unsynced = this.#sources.unsynced();
    if (unsynced.length > 0) return cold('syncing', `waiting for the first complete list of ${unsynced.join(', ')}`);
    if (isLeader && !this.#sources.isCaughtUp()) {
      return cold('syncing', 'leading since a moment ago; waiting for fresh lists of everything');
    }
    const silentMillis = this.#clock.monotonicMillis() - this.#sources.lastContactMillis();
    if (silentMillis <= this.#staleAfterMillis) return undefined;
    const seconds = Math.round(silentMillis / 1000);
    return cold('stale', `nothing heard from the API server for ${seconds} s; not deciding on old data`);
  }

  /** Why verbs must be refused now, or undefined while active. */
  refusal(): string | undefined {
    const { ready, state, detail } = this.report();
    return ready ? undefined : `gpuloom is ${state}: ${detail}`;
  }
}

function cold(state: ReadinessState, detail: string): ReadinessReport {
  return { ready: false, warm: false, state, detail };
}
