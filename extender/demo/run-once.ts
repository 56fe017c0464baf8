// One filling of the cluster: arrivals one after the other, nothing finishes, every bind is awaited. Each decision is made
// on a view that is up to date, so the same seed ends in the same placements.

import type { VerbName } from './extender-calls.ts';
import { until, type RunningExtender } from './extender-service.ts';
import type { PodIdentity } from './manifests.ts';
import { asksFor } from './node-resources-fit.ts';
import { MANAGED, openSession, type Session, type SessionOptions } from './session.ts';
import type { Workload } from './workload.ts';

export interface RunOnceOptions extends Pick<SessionOptions, 'server' | 'seed'> {
  readonly extender: RunningExtender;
  readonly workload: Workload;
  readonly pods: number;
  /** Aborted: no more arrivals, and the session ends early. */
  readonly signal: AbortSignal;
  readonly onProgress: (session: Session) => void;
}

/** Pods created before the scheduler is let loose on them: fewer waits for the extender's watch. */
const BATCH = 25;
const RETRIES_AFTER_FAILURE = 3;

/** The extender answers nothing but errors; going on would only take time. */
export class ExtenderFault extends Error {}

/** Failed calls of one verb in a row, over at least two pods, after which nothing better is expected. */
const MOST_FAILURES_IN_A_ROW = 2 * (RETRIES_AFTER_FAILURE + 1);

/** The session with all arrivals tried; the caller closes it. Throws ExtenderFault where the extender only fails. */
export async function runOnce(options: RunOnceOptions): Promise<Session> {
  const { server, extender, seed, workload, pods, signal, onProgress } = options;
  const seen = (pod: PodIdentity): Promise<void> =>
    until(() => extender.hasSeen(pod.uid), `the extender to see pod ${pod.namespace}/${pod.name}`);
  const failures = new Failures();
  const session = openSession({
    server,
    extender,
    seed,
    bindConcurrency: 1,
    queue: { backoffMillis: 0, maxBackoffMillis: 0, maxRetries: RETRIES_AFTER_FAILURE, now: () => 0 },
    afterDirectBind: seen,
    onCall: (verb, { uid }, failure) => failures.note(verb, uid, failure),
  });
  try {
    let left = pods;
    while (left > 0 && !signal.aborted) {
      const latestGpuPod = submitBatch(session, workload, Math.min(BATCH, left));
      left -= BATCH;
      // The watch keeps the order, so the latest pod seen means all of them seen.
      if (latestGpuPod !== undefined) await seen(latestGpuPod);
      await session.scheduler.drain(AbortSignal.any([signal, failures.tooMany]));
      failures.tooMany.throwIfAborted();
      onProgress(session);
    }
    if (!signal.aborted) failures.throwIfUndecided();
    return session;
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** What went wrong between scheduler and extender. */
class Failures {
  readonly #tooMany = new AbortController();
  /** Pods whose latest attempt failed. */
  readonly #undecided = new Set<string>();
  readonly #inARow = new Map<VerbName, number>();
  #latest = '';

  /** Aborted, with an ExtenderFault as the reason, once failures are all there is. */
  get tooMany(): AbortSignal {
    return this.#tooMany.signal;
  }

  note(verb: VerbName, uid: string, failure: string | undefined): void {
    if (failure === undefined) {
      this.#inARow.delete(verb);
      this.#undecided.delete(uid);
      return;
    }
    this.#latest = failure;
    this.#undecided.add(uid);
    const inARow = (this.#inARow.get(verb) ?? 0) + 1;
    this.#inARow.set(verb, inARow);
    if (inARow < MOST_FAILURES_IN_A_ROW) return;
    const times = `${inARow} calls of ${verb} in a row failed`;
    this.#tooMany.abort(
      new ExtenderFault(`the extender answers nothing but errors: ${times}, the last with "${failure}"`),
    );
  }

  throwIfUndecided(): void {
    if (this.#undecided.size === 0) return;
    const pods = `pods that were not decided: ${this.#undecided.size}, because ${RETRIES_AFTER_FAILURE + 1} calls for each failed`;
    throw new ExtenderFault(`${pods}, the last with "${this.#latest}"`);
  }
}

function submitBatch(session: Session, workload: Workload, count: number): PodIdentity | undefined {
  let latest: PodIdentity | undefined;
  for (let each = 0; each < count; each++) {
    const arrival = workload.next();
    if (arrival === undefined) break;
    const identity = session.submit(arrival.pod);
    if (asksFor(arrival.pod, MANAGED)) latest = identity;
  }
  return latest;
}
