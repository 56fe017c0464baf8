// Delayed actions for the embedded cluster, injected so that tests move time by hand.
// Owns no state; must not keep the process alive. Actions run on the event loop, never inside `after`.

export interface Timers {
  /** Runs `action` once after `delayMillis`; the returned function cancels it and may be called at any time. */
  after(delayMillis: number, action: () => void): () => void;
}

export const systemTimers: Timers = {
  after(delayMillis: number, action: () => void): () => void {
    const timer = setTimeout(action, delayMillis);
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};
