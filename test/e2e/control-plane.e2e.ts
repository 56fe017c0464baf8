// Proves the harness itself on a real API server and a real kube-scheduler: nothing of gpuloom runs here.

import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';

import { serviceAccountUser } from './accounts.ts';
import { ApiError } from './api.ts';
import { requireBinaries } from './binaries.ts';
import type { LiveNode, LivePod } from './cluster.ts';
import { createNamespace, createNodes, createPods, podsPath, untilBound } from './cluster.ts';
import type { ControlPlane } from './control-plane.ts';
import { startControlPlane } from './control-plane.ts';
import { applyManifests } from './manifests.ts';
import { eventually } from './process.ts';

const NODES = 100;
const PODS = 100;
const OUTSIDER = serviceAccountUser('default', 'outsider');
const NODE_READER = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: node-reader }
rules: [{ apiGroups: [''], resources: [nodes], verbs: [list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: node-reader }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: node-reader }
subjects: [{ kind: ServiceAccount, namespace: default, name: outsider }]
`;

describe('a control plane of real programs on loopback', () => {
  let plane: ControlPlane;

  beforeAll(async () => {
    plane = await startControlPlane({ binaries: await requireBinaries(), auditLog: true, users: [OUTSIDER] });
  });
  afterAll(async () => {
    await plane.stop();
  });
  beforeEach(() => {
    onTestFailed(async () => {
      console.error(await plane.logTails());
    });
  });

  test('takes a hundred ready nodes with their GPU memory', async () => {
    const resources = { cpu: '32', memory: '128Gi', pods: '110', 'gpuloom.io/gpu-mem': '640' };
    await createNodes(
      plane.admin,
      Array.from({ length: NODES }, (_, index) => ({ name: `node-${index}`, resources })),
    );
    const { items } = await plane.admin.list<LiveNode & { spec?: { taints?: unknown } }>('/api/v1/nodes');
    expect(items).toHaveLength(NODES);
    expect(items.map((node) => node.status?.allocatable?.['gpuloom.io/gpu-mem'])).toEqual(Array(NODES).fill('640'));
    expect(items.filter((node) => node.spec?.taints !== undefined)).toEqual([]);
  });

  test('has a hundred pods bound by the plain scheduler', async () => {
    const configFile = join(import.meta.dirname, 'plain-scheduler.yaml');
    const scheduler = await plane.startScheduler({ name: 'kube-scheduler', configFile });
    const limits = { cpu: '1', 'gpuloom.io/gpu-mem': '8' };
    await createPods(
      plane.admin,
      Array.from({ length: PODS }, (_, index) => ({ name: `pod-${index}`, limits })),
    );
    const { nodeByPod } = await untilBound(plane.admin, { namespace: 'default', count: PODS, timeoutMillis: 60_000 });
    await scheduler.stop();
    expect(nodeByPod.size).toBe(PODS);
  });

  test('merges the annotations of a Binding into the pod in the one write that binds it', async () => {
    await createPods(plane.admin, [{ name: 'one-write', annotations: { 'example.com/kept': 'yes' } }]);
    const target = { apiVersion: 'v1', kind: 'Node', name: 'node-7' };
    const metadata = { name: 'one-write', annotations: { 'example.com/allocation': '{"gpu":3}' } };
    await plane.admin.create(`${podsPath('default')}/one-write/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata,
      target,
    });

    const pod = await plane.admin.get<LivePod>(`${podsPath('default')}/one-write`);
    expect(pod.spec?.nodeName).toBe('node-7');
    expect(pod.metadata?.annotations).toEqual({ 'example.com/kept': 'yes', 'example.com/allocation': '{"gpu":3}' });
    const writes = (await plane.auditedWrites()).filter(({ name }) => name === 'one-write');
    expect(writes.map(({ verb, resource, user, status }) => ({ verb, resource, user, status }))).toEqual([
      { verb: 'create', resource: 'pods', user: 'admin', status: 201 },
      { verb: 'create', resource: 'pods/binding', user: 'admin', status: 201 },
    ]);
  });

  test('gives a user exactly what an applied role allows', async () => {
    const outsider = await plane.client(OUTSIDER.name);
    const refusal: unknown = await outsider.list('/api/v1/nodes').catch((cause: unknown) => cause);
    expect(refusal).toBeInstanceOf(ApiError);
    expect(refusal).toMatchObject({ status: 403 });

    await applyManifests(plane.admin, NODE_READER);
    await applyManifests(plane.admin, NODE_READER);
    const allowed = await eventually(() => outsider.list('/api/v1/nodes').then(Boolean, () => false), 10_000);
    expect(allowed).toBe(true);
    await expect(outsider.delete('/api/v1/nodes/node-0')).rejects.toThrow('cannot delete resource "nodes"');
  });

  test('runs single controllers of the controller manager when asked', async () => {
    await createNamespace(plane.admin, 'to-empty');
    await createPods(plane.admin, [{ name: 'inside', namespace: 'to-empty' }]);
    await plane.admin.delete('/api/v1/namespaces/to-empty');
    const manager = await plane.startControllerManager(['namespace']);
    const gone = await eventually(
      () =>
        plane.admin.get('/api/v1/namespaces/to-empty').then(
          () => false,
          (cause) => cause instanceof ApiError && cause.status === 404,
        ),
      60_000,
    );
    expect(gone).toBe(true);
    await manager.stop();
  });

  test('keeps its data over a crash of the API server, on the same address', async () => {
    const path = `${podsPath('default')}/one-write`;
    const before = await plane.admin.get<LivePod>(path);
    await plane.stopApiServer();
    await expect(plane.admin.get(path)).rejects.toThrow();
    await plane.startApiServer();
    expect(await plane.admin.get<LivePod>(path)).toEqual(before);
  });

  test('answers a call that began while the API server was frozen once it thaws', async () => {
    plane.freezeApiServer();
    const answer = plane.admin.get<LiveNode>('/api/v1/nodes/node-0');
    const early = await Promise.race([
      answer.then(() => 'answered'),
      new Promise((resolve) => setTimeout(resolve, 300, 'silent')),
    ]);
    plane.thawApiServer();
    expect(early).toBe('silent');
    expect((await answer).metadata?.name).toBe('node-0');
  });
});
