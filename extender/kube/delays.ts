// Waiting and chance, injected so that tests run on a virtual clock with a seeded generator.
// Owns the backoff rule; holds no state.

export interface Delays {
  /** Resolves after `millis`, or at once when `signal` aborts. Never rejects. */
  sleep(millis: number, signal?: AbortSignal): Promise<void>;
  /** Uniform in [0, 1). */
  random(): number;
}

export function systemDelays(): Delays {
  return { sleep, random: () => Math.random() };
}

function sleep(millis: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, millis);
    signal?.addEventListener('abort', finish);
  });
}

export interface Backoff {
  readonly baseMillis: number;
  readonly capMillis: number;
}

/** Capped exponential backoff with full jitter; `attempt` counts from 0. */
export function backoffMillis(backoff: Backoff, attempt: number, random: () => number): number {
  return random() * Math.min(backoff.capMillis, backoff.baseMillis * 2 ** Math.min(attempt, 30));
}
