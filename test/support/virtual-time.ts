// A clock that moves only when told to, with the sleeps that wait on it. Starts at 1,000 s of monotonic time.
// advance() wakes sleepers in the order of their due times and runs nothing else.

import type { Clock } from '../../extender/app/ports.ts';
import type { Delays } from '../../extender/kube/delays.ts';

interface Sleeper {
  readonly due: number;
  readonly wake: () => void;
}

export class VirtualTime implements Clock, Delays {
  #now = 1_000_000;
  #sleepers: Sleeper[] = [];
  readonly #random: () => number;

  /** `random` defaults to the middle of its range. */
  constructor(random: () => number = () => 0.5) {
    this.#random = random;
  }

  wallMillis(): number {
    return Date.UTC(2030, 0, 1) + this.#now;
  }

  monotonicMillis(): number {
    return this.#now;
  }

  random(): number {
    return this.#random();
  }

  sleep(millis: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const wake = (): void => {
        this.#sleepers = this.#sleepers.filter((one) => one !== sleeper);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const sleeper = { due: this.#now + millis, wake };
      this.#sleepers.push(sleeper);
      signal?.addEventListener('abort', wake);
    });
  }

  /** Time left of each sleep, shortest first. */
  sleeps(): readonly number[] {
    return this.#sleepers.map((sleeper) => sleeper.due - this.#now).toSorted((a, b) => a - b);
  }

  advance(millis: number): void {
    const until = this.#now + millis;
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      this.#now = next.due;
      next.wake();
    }
    this.#now = until;
  }

  #next(until: number): Sleeper | undefined {
    let first: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.due <= until && (first === undefined || sleeper.due < first.due)) first = sleeper;
    }
    return first;
  }
}

/** Lets everything run that needs no I/O and no time. */
export async function settled(rounds: number = 3): Promise<void> {
  for (let round = 0; round < rounds; round++) await new Promise((resolve) => setImmediate(resolve));
}
