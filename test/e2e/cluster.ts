// Fake nodes and plain pods on a real API server, in bulk, and waiting for pods to be bound. No kubelet stands behind
// these nodes: a bound pod stays Pending. Every wait has an end.

import type { NodeManifest, PodManifest, ResourceList, StringMap } from '../../extender/core/manifest.ts';
import type { ApiClient, ApiObject } from './api.ts';
import { ApiError, inParallel } from './api.ts';
import { eventually } from './process.ts';

export type LivePod = PodManifest & ApiObject;
export type LiveNode = NodeManifest & ApiObject;

export interface FakeNode {
  readonly name: string;
  readonly resources: ResourceList;
  readonly labels?: StringMap;
  readonly annotations?: StringMap;
}

export interface PlainPod {
  readonly name: string;
  readonly namespace?: string;
  readonly limits?: ResourceList;
  readonly labels?: StringMap;
  readonly annotations?: StringMap;
  readonly schedulerName?: string;
  readonly priorityClassName?: string;
}

export interface BoundPods {
  readonly nodeByPod: ReadonlyMap<string, string>;
  /** Monotonic milliseconds at which the first and the last of them were seen bound. */
  readonly firstMillis: number;
  readonly lastMillis: number;
}

export interface BoundWait {
  readonly namespace: string;
  readonly count: number;
  readonly timeoutMillis: number;
}

const IN_FLIGHT = 16;

/** Ready nodes with this capacity. The API server takes a node's status at its creation. */
export function createNodes(api: ApiClient, nodes: readonly FakeNode[]): Promise<void> {
  return inParallel(nodes, IN_FLIGHT, (node) => api.create('/api/v1/nodes', nodeObject(node)));
}

export function createPods(api: ApiClient, pods: readonly PlainPod[]): Promise<void> {
  return inParallel(pods, IN_FLIGHT, (pod) => api.create(podsPath(pod.namespace ?? 'default'), podObject(pod)));
}

export async function createNamespace(api: ApiClient, name: string): Promise<void> {
  try {
    await api.create('/api/v1/namespaces', { metadata: { name } });
  } catch (cause) {
    if (!(cause instanceof ApiError && cause.status === 409)) throw cause;
  }
}

export function podsPath(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/pods`;
}

export async function deletePods(api: ApiClient, namespace: string, timeoutMillis = 60_000): Promise<void> {
  const path = podsPath(namespace);
  const { items } = await api.list<LivePod>(path);
  await inParallel(items, IN_FLIGHT, (pod) => api.delete(`${path}/${pod.metadata?.name ?? ''}`));
  const gone = await eventually(async () => (await api.list(path)).items.length === 0, timeoutMillis);
  if (!gone) throw new Error(`pods in ${namespace} were still there ${timeoutMillis} ms after their deletion`);
}

export async function deleteNodes(api: ApiClient): Promise<void> {
  const { items } = await api.list<LiveNode>('/api/v1/nodes');
  await inParallel(items, IN_FLIGHT, (node) => api.delete(`/api/v1/nodes/${node.metadata?.name ?? ''}`));
}

/** Waits by watch until `count` pods of the namespace have a node. */
export async function untilBound(api: ApiClient, wait: BoundWait): Promise<BoundPods> {
  const nodeByPod = new Map<string, string>();
  let firstMillis = 0;
  let lastMillis = 0;
  const note = (pod: LivePod): void => {
    const name = pod.metadata?.name;
    const node = pod.spec?.nodeName;
    if (name === undefined || node === undefined || nodeByPod.has(name)) return;
    nodeByPod.set(name, node);
    lastMillis = performance.now();
    if (nodeByPod.size === 1) firstMillis = lastMillis;
  };
  const signal = AbortSignal.timeout(wait.timeoutMillis);
  const path = podsPath(wait.namespace);
  while (nodeByPod.size < wait.count && !signal.aborted) {
    const { items, resourceVersion } = await api.list<LivePod>(path);
    items.forEach(note);
    if (nodeByPod.size >= wait.count) break;
    for await (const event of api.watch<LivePod>(path, { resourceVersion, signal })) {
      note(event.object);
      if (nodeByPod.size >= wait.count) break;
    }
  }
  if (nodeByPod.size < wait.count) throw new Error(await whyUnbound(api, wait, nodeByPod.size));
  return { nodeByPod, firstMillis, lastMillis };
}

/** Posts a Binding, as a scheduler does. */
export async function bindPod(api: ApiClient, namespace: string, pod: string, node: string): Promise<void> {
  await api.create(`${podsPath(namespace)}/${pod}/binding`, {
    apiVersion: 'v1',
    kind: 'Binding',
    metadata: { name: pod },
    target: { apiVersion: 'v1', kind: 'Node', name: node },
  });
}

/** Messages of the events about this pod, oldest first. */
export async function eventMessages(api: ApiClient, namespace: string, pod: string): Promise<readonly string[]> {
  const query = `fieldSelector=${encodeURIComponent(`involvedObject.name=${pod}`)}`;
  const { items } = await api.list(`/api/v1/namespaces/${namespace}/events?${query}`);
  return items.map((event) => `${String(event['reason'])}: ${String(event['message'])}`);
}

async function whyUnbound(api: ApiClient, wait: BoundWait, bound: number): Promise<string> {
  const { items } = await api.list(`/api/v1/namespaces/${wait.namespace}/events`);
  const failed = items
    .filter((event) => event['reason'] === 'FailedScheduling')
    .map((event) => String(event['message']));
  const reasons = [...new Set(failed)].slice(0, 3).map((message) => `\n  ${message}`);
  return `${bound} of ${wait.count} pods in ${wait.namespace} were bound within ${wait.timeoutMillis} ms${reasons.join('')}`;
}

function nodeObject(node: FakeNode): Record<string, unknown> {
  const now = new Date().toISOString();
  return {
    metadata: {
      name: node.name,
      labels: { 'kubernetes.io/hostname': node.name, ...node.labels },
      ...(node.annotations === undefined ? {} : { annotations: node.annotations }),
    },
    status: {
      capacity: node.resources,
      allocatable: node.resources,
      conditions: [{ type: 'Ready', status: 'True', reason: 'Fake', lastHeartbeatTime: now, lastTransitionTime: now }],
    },
  };
}

function podObject(pod: PlainPod): Record<string, unknown> {
  return {
    metadata: {
      name: pod.name,
      ...(pod.labels === undefined ? {} : { labels: pod.labels }),
      ...(pod.annotations === undefined ? {} : { annotations: pod.annotations }),
    },
    spec: {
      schedulerName: pod.schedulerName ?? 'default-scheduler',
      ...(pod.priorityClassName === undefined ? {} : { priorityClassName: pod.priorityClassName }),
      containers: [
        { name: 'main', image: 'none', resources: { limits: pod.limits ?? {}, requests: pod.limits ?? {} } },
      ],
    },
  };
}
