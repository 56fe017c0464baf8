// Time, waiting and chance for everything that talks to the kubelet, injected so that tests decide them.
// Holds no state.

export interface KubeletClock {
  /** Monotonic, for intervals and deadlines. */
  monotonicMillis(): number;
  /** Runs `action` once after `delayMillis`; the returned function cancels it and may be called at any time. */
  after(delayMillis: number, action: () => void): () => void;
  /** Uniform in [0, 1). */
  random(): number;
}

export const systemClock: KubeletClock = {
  monotonicMillis: () => performance.now(),
  after: (delayMillis, action) => {
    const timer = setTimeout(action, delayMillis);
    return () => {
      clearTimeout(timer);
    };
  },
  random: () => Math.random(),
};

/** Capped exponential backoff, between half and the whole of the nominal delay; `attempt` counts from 0. */
export function backoffMillis(baseMillis: number, capMillis: number, attempt: number, clock: KubeletClock): number {
  return Math.min(capMillis, baseMillis * 2 ** Math.min(attempt, 30)) * (0.5 + clock.random() / 2);
}
