// A real kube-scheduler with the extender that agrees with everything: who binds which pods, and with which rights.

import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, expect, onTestFailed, test } from 'vitest';

import { serviceAccountUser } from './accounts.ts';
import { requireBinaries } from './binaries.ts';
import { createNodes, createPods, eventMessages, untilBound } from './cluster.ts';
import type { ControlPlane } from './control-plane.ts';
import { startControlPlane } from './control-plane.ts';
import { applyManifests } from './manifests.ts';
import { eventually, freePorts } from './process.ts';

const EXTENDER = serviceAccountUser('default', 'extender');
const MAY_BIND = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: binder }
rules: [{ apiGroups: [''], resources: [pods/binding], verbs: [create] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: binder }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: binder }
subjects: [{ kind: ServiceAccount, namespace: default, name: extender }]
`;
const NARROW = 3;

let plane: ControlPlane;

beforeAll(async () => {
  plane = await startControlPlane({ binaries: await requireBinaries(), auditLog: true, users: [EXTENDER] });
  await applyManifests(plane.admin, MAY_BIND);
  const resources = { cpu: '32', memory: '128Gi', pods: '110', 'gpuloom.io/gpu-mem': '640' };
  await createNodes(
    plane.admin,
    Array.from({ length: 20 }, (_, index) => ({ name: `node-${index}`, resources })),
  );
  const [port = 0] = await freePorts(1);
  const origin = `http://127.0.0.1:${port}`;
  await plane.startProgram('extender', process.execPath, [
    join(import.meta.dirname, 'yes-extender.ts'),
    `--kubeconfig=${plane.kubeconfig(EXTENDER.name)}`,
    `--listen=127.0.0.1:${port}`,
    `--narrow=${NARROW}`,
  ]);
  const listening = (): Promise<boolean> => fetch(`${origin}/healthz`).then(Boolean, () => false);
  expect(await eventually(listening, 20_000)).toBe(true);
  const configFile = join(import.meta.dirname, 'extender-scheduler.yaml');
  await plane.startScheduler({ name: 'kube-scheduler', configFile, extenderOrigin: origin });
});
afterAll(async () => {
  await plane.stop();
});
beforeEach(() => {
  onTestFailed(async () => {
    console.error(await plane.logTails());
  });
});

test('the extender binds the pods that ask for GPU memory, the scheduler itself the others', async () => {
  const gpuPods = Array.from({ length: 20 }, (_, index) => ({
    name: `gpu-${index}`,
    limits: { 'gpuloom.io/gpu-mem': '8' },
  }));
  const otherPods = Array.from({ length: 20 }, (_, index) => ({ name: `cpu-${index}`, limits: { cpu: '1' } }));
  await createPods(plane.admin, [...gpuPods, ...otherPods]);
  await untilBound(plane.admin, { namespace: 'default', count: 40, timeoutMillis: 60_000 });
  const bindings = (await plane.auditedWrites()).filter(({ resource }) => resource === 'pods/binding');
  const binders = new Map(bindings.map(({ name, user }) => [name, user]));
  expect(bindings).toHaveLength(40);
  expect(new Set(gpuPods.map(({ name }) => binders.get(name)))).toEqual(new Set([EXTENDER.name]));
  expect(new Set(otherPods.map(({ name }) => binders.get(name)))).toEqual(new Set(['system:kube-scheduler']));
});

test('a pod too large for every node is left with the reasons of the scheduler', async () => {
  await createPods(plane.admin, [{ name: 'too-large', limits: { 'gpuloom.io/gpu-mem': '641' } }]);
  const explained = async (): Promise<boolean> => {
    const messages = await eventMessages(plane.admin, 'default', 'too-large');
    return messages.some((message) => message.includes('20 Insufficient gpuloom.io/gpu-mem'));
  };
  expect(await eventually(explained, 20_000)).toBe(true);
});
