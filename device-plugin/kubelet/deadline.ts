// Runs one handler against a deadline and the caller's patience. No state outlives the call.
// The handler's own promise may settle later; that is ignored, so a handler must undo what it did when it is aborted.

import type { CallContext } from './handlers.ts';
import type { KubeletClock } from './clock.ts';

/** The deadline passed before the handler was done. */
export class DeadlineError extends Error {}

export interface DeadlineOptions {
  readonly clock: KubeletClock;
  readonly limitMillis: number;
  /** Completes "<what> did not finish within 2000 ms". */
  readonly what: string;
  /** Quoted until the handler names something better. */
  readonly waitsFor: string;
  /** Receives the abort, for a caller that gives up earlier. */
  readonly controller: AbortController;
}

export function withDeadline<T>(options: DeadlineOptions, run: (call: CallContext) => Promise<T>): Promise<T> {
  const { clock, controller, limitMillis, what } = options;
  const { signal } = controller;
  let waitsFor = options.waitsFor;
  const context: CallContext = {
    signal,
    waitingFor: (thing) => {
      waitsFor = thing;
    },
  };
  return new Promise<T>((resolve, reject) => {
    const cancelTimer = clock.after(limitMillis, () => {
      stopWaiting();
      reject(new DeadlineError(`${what} did not finish within ${limitMillis} ms; it waited for ${waitsFor}`));
      controller.abort();
    });
    const giveUp = (): void => {
      stopWaiting();
      reject(new Error(`${what} was cancelled by the kubelet; it waited for ${waitsFor}`));
    };
    const stopWaiting = (): void => {
      cancelTimer();
      signal.removeEventListener('abort', giveUp);
    };
    signal.addEventListener('abort', giveUp);
    // A handler that throws before its first await is a rejection like any other.
    const running = Promise.resolve().then(() => run(context));
    void running.then(resolve, reject).finally(stopWaiting);
  });
}
