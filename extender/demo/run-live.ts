// The continuous demo: pods arrive, run for their time, finish, and are retried when room is freed, until it is told to
// stop. Arrivals, kubelets and the scheduler run beside each other; nothing here promises repeatable placements.

import type { NodeManifest } from '../core/manifest.ts';
import { PROFILES } from '../core/resources.ts';
import { systemTimers } from '../embedded/timers.ts';
import type { EmbeddedCluster } from '../embedded/cluster.ts';
import { systemDelays, type Delays } from '../kube/delays.ts';
import { Kubelets } from './kubelets.ts';
import type { PodIdentity } from './manifests.ts';
import { paceFor, type Pace } from './pace.ts';
import { seededRandom, type Random } from '../random.ts';
import { isPending, openSession, type Session, type SessionOptions } from './session.ts';
import type { Arrival, Workload } from './workload.ts';

export interface RunLiveOptions extends Pick<SessionOptions, 'server' | 'extender' | 'seed'> {
  readonly nodes: readonly NodeManifest[];
  readonly workload: Workload;
  /** Arrivals after which no more come; endless where undefined. */
  readonly pods: number | undefined;
  readonly signal: AbortSignal;
}

export interface LiveRun {
  readonly session: Session;
  readonly pace: Pace;
  /** Settles when the signal has aborted and everything has stopped; rejects when something broke. */
  readonly ended: Promise<void>;
}

const SAMPLE = 500;
const BIND_CONCURRENCY = 8;
/** Minutes of the pods' time, like their run times. */
const KEEP_MINUTES = 0.5;
const PATIENCE_MINUTES = 30;
const BACKOFF = { backoffMillis: 100, maxBackoffMillis: 2000 };

export function runLive(options: RunLiveOptions): LiveRun {
  const { server, extender, seed, signal, nodes, workload, pods = Number.POSITIVE_INFINITY } = options;
  const sample = take(workload, Math.min(SAMPLE, pods));
  const pace = paceFor(totalSlices(nodes), sample);
  const runMillis = new Map<string, number>();
  const kubelets = new Kubelets({
    cluster: server.cluster,
    timers: systemTimers,
    runMillis: ({ namespace, name }) => runMillis.get(`${namespace}/${name}`) ?? 0,
    keepMillis: KEEP_MINUTES * pace.millisPerMinute,
  });
  const session = openSession({
    server,
    extender,
    seed,
    bindConcurrency: BIND_CONCURRENCY,
    queue: { ...BACKOFF, maxRetries: Number.POSITIVE_INFINITY, now: () => performance.now() },
    observe: (change) => {
      kubelets.observe(change);
      const { namespace = '', name } = change.current.object.metadata;
      if (change.resource === 'pods' && change.type === 'DELETED') runMillis.delete(`${namespace}/${name}`);
    },
  });
  const submit = ({ pod, runMinutes }: Arrival): void => {
    const { namespace = '', name = '' } = pod.metadata ?? {};
    runMillis.set(`${namespace}/${name}`, runMinutes * pace.millisPerMinute);
    const identity = session.submit(pod);
    systemTimers.after(PATIENCE_MINUTES * pace.millisPerMinute, () => withdraw(server.cluster, identity, signal));
  };
  const arrivals = arrive(arrivalsOf(sample, workload, pods), submit, pace, seededRandom(seed, 'gaps'), signal);
  const ended = Promise.all([arrivals, session.scheduler.run(signal)])
    .then(() => undefined)
    .finally(() => kubelets.stop());
  return { session, pace, ended };
}

function take(workload: Workload, count: number): Arrival[] {
  const taken: Arrival[] = [];
  for (let next = workload.next(); next !== undefined; next = workload.next()) {
    taken.push(next);
    if (taken.length >= count) break;
  }
  return taken;
}

/** The pods already drawn for the sample come first. */
function* arrivalsOf(sample: readonly Arrival[], workload: Workload, most: number): Generator<Arrival> {
  yield* sample;
  for (let count = sample.length; count < most; count++) {
    const arrival = workload.next();
    if (arrival === undefined) return;
    yield arrival;
  }
}

async function arrive(
  arrivals: Iterable<Arrival>,
  submit: (arrival: Arrival) => void,
  pace: Pace,
  random: Random,
  signal: AbortSignal,
  delays: Delays = systemDelays(),
): Promise<void> {
  let count = 0;
  // Pods are due at points in time: a late wake-up lets several in at once and the rate stays right.
  let dueMillis = performance.now();
  for (const arrival of arrivals) {
    const perSecond = count < pace.fillPods ? pace.fillPerSecond : pace.perSecond;
    dueMillis += (random.gap() * 1000) / perSecond;
    const wait = dueMillis - performance.now();
    if (wait > 0) await delays.sleep(wait, signal);
    if (signal.aborted) return;
    submit(arrival);
    count++;
  }
}

/** Nobody waits for ever: a pod still pending is deleted by its owner. */
function withdraw(cluster: EmbeddedCluster, pod: PodIdentity, signal: AbortSignal): void {
  if (!signal.aborted && isPending(cluster, pod)) cluster.delete('pods', pod.namespace, pod.name);
}

function totalSlices(nodes: readonly NodeManifest[]): number {
  return nodes.reduce((sum, node) => sum + Number(node.status?.capacity?.[PROFILES.gpuloom.memoryResource] ?? 0), 0);
}
