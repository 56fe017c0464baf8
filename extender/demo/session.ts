// The demo's cluster at work: embedded API server, extender, the model of kube-scheduler and the count of pods, wired
// together. Pods are submitted in process, as their owners would; everything from the scheduler on goes over HTTP.

import { Pool } from 'undici';

import type { PodManifest } from '../core/manifest.ts';
import { PROFILES } from '../core/resources.ts';
import type { EmbeddedApiServer } from '../embedded/api-server.ts';
import type { EmbeddedCluster } from '../embedded/cluster.ts';
import type { Change } from '../embedded/store.ts';
import { CallFailed, connectExtender, type ExtenderCalls, type VerbName } from './extender-calls.ts';
import type { ExtenderEndpoint } from './extender-service.ts';
import { KubeScheduler, type KubeSchedulerOptions } from './kube-scheduler.ts';
import { Latencies } from './latencies.ts';
import { asPod, identityOf, type PodIdentity } from './manifests.ts';
import { OccupancyReader, type Occupancy } from './occupancy.ts';
import { seededRandom } from '../random.ts';
import { SchedulingQueue, type QueueOptions } from './scheduling-queue.ts';
import { Tally } from './tally.ts';

export interface SessionOptions {
  readonly server: EmbeddedApiServer;
  readonly extender: ExtenderEndpoint;
  readonly seed: number;
  readonly bindConcurrency: number;
  readonly queue: QueueOptions;
  /** Called after a pod was bound without the extender, before the scheduler goes on. */
  readonly afterDirectBind?: (pod: PodIdentity) => Promise<void>;
  /** Each filter and bind that the extender was asked: what failed, or undefined. */
  readonly onCall?: (verb: VerbName, pod: PodIdentity, failure: string | undefined) => void;
  /** Told about changes after scheduler and tally have seen them. */
  readonly observe?: (change: Change) => void;
}

export interface Session {
  readonly tally: Tally;
  readonly scheduler: KubeScheduler;
  readonly latencies: Latencies;
  submit(pod: PodManifest): PodIdentity;
  occupancy(): Occupancy;
  /** A pod that was refused and still waits. */
  refusedPod(): PodIdentity | undefined;
  close(): Promise<void>;
}

/** As in deploy/scheduler. */
const EXTENDER_WEIGHT = 200;
export const MANAGED: ReadonlySet<string> = new Set([PROFILES.gpuloom.memoryResource, PROFILES.gpuloom.coreResource]);

export function openSession(options: SessionOptions): Session {
  const { server, extender, bindConcurrency } = options;
  const { cluster } = server;
  const tally = new Tally();
  const latencies = new Latencies();
  const connections = bindConcurrency + 1;
  const onAnswer = latencies.add.bind(latencies);
  const connected = connectExtender({ verbsUrl: extender.verbsUrl, connections, onAnswer });
  const calls = options.onCall === undefined ? connected : observed(connected, options.onCall);
  const api = new Pool(server.url, { connections, pipelining: 1 });
  const occupancies = new OccupancyReader();
  let refused: PodIdentity | undefined;
  const onRefused = (pod: PodManifest, cause: string): void => {
    tally.refuse(identityOf(pod).uid, cause);
    // One pod is shown for as long as it waits, so that its name can be read.
    if (refused === undefined || !isPending(cluster, refused)) refused = identityOf(pod);
  };
  const scheduler = createScheduler(options, calls, api, onRefused);
  const unsubscribe = cluster.subscribe((change) => {
    tally.observe(change);
    scheduler.observe(change);
    options.observe?.(change);
  });
  return {
    tally,
    scheduler,
    latencies,
    submit: (pod) => identityOf(asPod(cluster.create('pods', pod))),
    occupancy: () => occupancies.read(cluster.list('nodes'), cluster.list('pods')),
    refusedPod: () => (refused !== undefined && isPending(cluster, refused) ? refused : undefined),
    close: async () => {
      unsubscribe();
      await Promise.all([calls.close(), api.close()]);
    },
  };
}

function observed(calls: ExtenderCalls, onCall: NonNullable<SessionOptions['onCall']>): ExtenderCalls {
  const told = async <T>(verb: VerbName, pod: PodManifest, call: Promise<T>): Promise<T> => {
    try {
      const answer = await call;
      onCall(verb, identityOf(pod), undefined);
      return answer;
    } catch (error) {
      if (error instanceof CallFailed) onCall(verb, identityOf(pod), error.message);
      throw error;
    }
  };
  return {
    ...calls,
    filter: (pod, nodeNames) => told('filter', pod, calls.filter(pod, nodeNames)),
    bind: (pod, nodeName) => told('bind', pod, calls.bind(pod, nodeName)),
  };
}

function createScheduler(
  { server, seed, bindConcurrency, queue, afterDirectBind }: SessionOptions,
  calls: ExtenderCalls,
  api: Pool,
  onRefused: KubeSchedulerOptions['onRefused'],
): KubeScheduler {
  const scheduler = new KubeScheduler({
    calls,
    bindConcurrency,
    onRefused,
    managedResources: MANAGED,
    weight: EXTENDER_WEIGHT,
    queue: new SchedulingQueue(queue),
    random: seededRandom(seed, 'ties'),
    bindDirectly: async (pod, nodeName) => {
      await postBinding(api, pod, nodeName);
      await afterDirectBind?.(identityOf(pod));
    },
  });
  for (const current of server.cluster.store.list('nodes')) {
    scheduler.observe({ resource: 'nodes', type: 'ADDED', current });
  }
  return scheduler;
}

/** At the API server, without a node, and the same pod still. */
export function isPending(cluster: EmbeddedCluster, { namespace, name, uid }: PodIdentity): boolean {
  const object = cluster.get('pods', namespace, name);
  return object?.metadata.uid === uid && !asPod(object).spec?.nodeName;
}

/** What kube-scheduler's own binder does. */
async function postBinding(api: Pool, pod: PodManifest, nodeName: string): Promise<void> {
  const { namespace, name, uid } = identityOf(pod);
  const { statusCode, body } = await api
    .request({
      method: 'POST',
      path: `/api/v1/namespaces/${namespace}/pods/${name}/binding`,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { namespace, name, uid },
        target: { kind: 'Node', name: nodeName },
      }),
    })
    .catch((error: unknown) => {
      throw new CallFailed(`the API server did not answer the binding: ${String(error)}`);
    });
  const text = await body.text();
  if (statusCode >= 300) throw new CallFailed(`the API server refused the binding (${statusCode}): ${text}`);
}
