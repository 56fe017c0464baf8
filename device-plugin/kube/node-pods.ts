// The pods of this node: a reflector on its own field selector, and a live read where the watch lags.

import type { ObjectFeed } from '../../extender/app/ports.ts';
import type { PodRecord } from '../../extender/core/model.ts';
import { podRecord } from '../../extender/core/records.ts';
import { RequestPool } from '../../extender/core/request-pool.ts';
import type { Profile } from '../../extender/core/resources.ts';
import { apiPath, describeAnswer, isRecord, type KubeApi } from '../../extender/kube/kube-api.ts';
import { startReflector } from '../../extender/kube/reflector.ts';
import type { Reflector, ReflectorOptions } from '../../extender/kube/reflector-options.ts';
import type { NodePods } from '../ports.ts';

const LIVE_READ_MILLIS = 5000;

export interface NodePodsOptions extends Pick<ReflectorOptions<PodRecord>, 'api' | 'clock' | 'delays' | 'report'> {
  readonly nodeName: string;
  readonly profile: Profile;
  /** A pod has ended or is gone from this node. */
  readonly onGone: (uid: string) => void;
  /** A pod has come or changed. */
  readonly onSeen: (pod: PodRecord) => void;
}

export interface WatchedNodePods extends NodePods {
  readonly reflector: Reflector;
}

export function watchNodePods(options: NodePodsOptions): WatchedNodePods {
  const { api, nodeName, profile } = options;
  const pool = new RequestPool();
  const byUid = new Map<string, PodRecord>();
  const uidByName = new Map<string, string>();
  const project = (raw: unknown): PodRecord | undefined => {
    const record = isRecord(raw) ? podRecord(raw, profile, pool) : undefined;
    return record === undefined || record.demand.kind === 'none' || record.terminal ? undefined : record;
  };
  const remove = ({ uid, namespace, name }: PodRecord): void => {
    byUid.delete(uid);
    const key = `${namespace}/${name}`;
    if (uidByName.get(key) === uid) uidByName.delete(key);
    options.onGone(uid);
  };
  const upsert = (pod: PodRecord): void => {
    byUid.set(pod.uid, pod);
    uidByName.set(`${pod.namespace}/${pod.name}`, pod.uid);
    options.onSeen(pod);
  };
  const feed: ObjectFeed<PodRecord> = {
    upsert,
    remove,
    replace(pods) {
      const listed = new Set(pods.map(({ uid }) => uid));
      for (const pod of [...byUid.values()]) if (!listed.has(pod.uid)) remove(pod);
      for (const pod of pods) upsert(pod);
    },
  };
  const reflector = startReflector({
    api,
    path: apiPath('v1', 'pods'),
    query: { fieldSelector: `spec.nodeName=${nodeName}` },
    project,
    feed,
    clock: options.clock,
    delays: options.delays,
    ...(options.report === undefined ? {} : { report: options.report }),
  });
  return {
    reflector,
    byUid: (uid) => byUid.get(uid),
    byName: (namespace, name) => byUid.get(uidByName.get(`${namespace}/${name}`) ?? ''),
    all: () => byUid.values(),
    readLive: (namespace, name) => readPod(api, profile, namespace, name),
    async readAll(timeoutMillis) {
      // From the server's cache: as fresh as the kubelet's own watch, and cheap in a large cluster.
      const query = { fieldSelector: `spec.nodeName=${nodeName}`, resourceVersion: '0' };
      const answer = await api.request('GET', apiPath('v1', 'pods'), { query, timeoutMillis });
      if (answer.status !== 200) throw new Error(`listing this node's pods failed: ${describeAnswer(answer)}`);
      const items = isRecord(answer.body) ? answer.body['items'] : undefined;
      return Array.isArray(items) ? items.flatMap((raw) => project(raw) ?? []) : [];
    },
  };
}

async function readPod(
  api: KubeApi,
  profile: Profile,
  namespace: string,
  name: string,
): Promise<PodRecord | undefined> {
  const answer = await api.request('GET', apiPath('v1', 'namespaces', namespace, 'pods', name), {
    timeoutMillis: LIVE_READ_MILLIS,
  });
  if (answer.status === 404) return undefined;
  if (answer.status !== 200) throw new Error(`reading pod ${namespace}/${name} failed: ${describeAnswer(answer)}`);
  return isRecord(answer.body) ? podRecord(answer.body, profile) : undefined;
}
