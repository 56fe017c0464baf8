// Looks at the MPS control daemon at an interval and says whether the node may promise its limits. What was first seen
// holds at once; after that the opposite must be seen at every look for a while, so that a daemon that restarts, or that
// dies again and again, changes nothing back and forth. Single-threaded; `onSettled` runs synchronously and must not throw.

import type { MpsDaemon, MpsReach } from '../ports.ts';

export interface MpsWatchPolicy {
  readonly lookEveryMillis: number;
  /** How long every look must contradict what was settled. */
  readonly settleMillis: number;
}

export const DEFAULT_MPS_WATCH: MpsWatchPolicy = { lookEveryMillis: 2000, settleMillis: 10_000 };

export interface MpsWatchOptions {
  readonly daemon: MpsDaemon;
  readonly policy: MpsWatchPolicy;
  readonly timers: {
    /** Monotonic milliseconds. */
    now(): number;
    /** Runs the action once after the delay; the returned function takes it back. */
    after(delayMillis: number, action: () => void): () => void;
  };
  /** `isFirst`: nothing was settled before. */
  readonly onSettled: (reach: MpsReach, isFirst: boolean) => void;
}

export class MpsWatch {
  readonly #options: MpsWatchOptions;
  #latest: MpsReach | undefined;
  #settled: MpsReach | undefined;
  #contradictedSinceMillis: number | undefined;
  #isStopped = false;
  #cancel: () => void = () => undefined;

  constructor(options: MpsWatchOptions) {
    this.#options = options;
  }

  /** What the latest look found; undefined before the first. */
  get latest(): MpsReach | undefined {
    return this.#latest;
  }

  /** Whether the daemon may be counted on; not before the first look. */
  get isSettledUp(): boolean {
    return this.#settled?.kind === 'reached';
  }

  /** Resolves after the first look. */
  async start(): Promise<void> {
    await this.#look();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }

  async #look(): Promise<void> {
    const { daemon, policy, timers } = this.#options;
    const reach = await daemon.look();
    if (this.#isStopped) return;
    this.#take(reach);
    this.#cancel = timers.after(policy.lookEveryMillis, () => void this.#look());
  }

  #take(reach: MpsReach): void {
    const { policy, timers, onSettled } = this.#options;
    this.#latest = reach;
    const before = this.#settled;
    if (before?.kind === reach.kind) {
      this.#contradictedSinceMillis = undefined;
      return;
    }
    const nowMillis = timers.now();
    this.#contradictedSinceMillis ??= nowMillis;
    if (before !== undefined && nowMillis - this.#contradictedSinceMillis < policy.settleMillis) return;
    this.#settled = reach;
    this.#contradictedSinceMillis = undefined;
    onSettled(reach, before === undefined);
  }
}
