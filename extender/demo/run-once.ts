// One filling of the cluster: arrivals one after the other, nothing finishes, every bind is awaited. Each decision is made
// on a view that is up to date, so the same seed ends in the same placements.

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

/** The session with all arrivals tried; the caller closes it. */
export async function runOnce(options: RunOnceOptions): Promise<Session> {
  const { server, extender, seed, workload, pods, signal, onProgress } = options;
  const seen = (pod: PodIdentity): Promise<void> =>
    until(() => extender.hasSeen(pod.uid), `the extender to see pod ${pod.namespace}/${pod.name}`);
  const session = openSession({
    server,
    extender,
    seed,
    bindConcurrency: 1,
    queue: { backoffMillis: 0, maxBackoffMillis: 0, maxRetries: RETRIES_AFTER_FAILURE, now: () => 0 },
    afterDirectBind: seen,
  });
  let left = pods;
  while (left > 0 && !signal.aborted) {
    const latestGpuPod = submitBatch(session, workload, Math.min(BATCH, left));
    left -= BATCH;
    // The watch keeps the order, so the latest pod seen means all of them seen.
    if (latestGpuPod !== undefined) await seen(latestGpuPod);
    await session.scheduler.drain(signal);
    onProgress(session);
  }
  return session;
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
