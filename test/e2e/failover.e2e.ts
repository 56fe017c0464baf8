// Two replicas with leader election behind one address, that of the leader, which publishes it. The leader is killed, asked
// to leave, and frozen past the end of its lease, each in the middle of its work: the other takes over with fresh lists,
// and no two ever bind at once.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { createPods } from './cluster.ts';
import { startPulse } from './cluster-pulse.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { EXTENDER_USER } from './installation.ts';
import { leadershipTerms, termFaults } from './leadership-terms.ts';
import { applyManifests } from './manifests.ts';
import { eventually } from './process.ts';
import { ServiceAddress } from './service-address.ts';
import { gpuNodes, gpuPods } from './workload.ts';

const REPLICAS = ['replica-a', 'replica-b'] as const;
const SERVICE = join(import.meta.dirname, '../../deploy/kustomize/base/service.yaml');
const PODS_PER_ROUND = 80;
const DISTURB_AFTER = 20;
/** A lease of 15 s, a retry of at most 2.4 s, and time to list. */
const TAKEOVER_MILLIS = 30_000;

let cluster: GpuCluster;
let replicas: readonly ExtenderProcess[];
let service: ServiceAddress;
let created = 0;

/** No loopback address, which the API server takes for no endpoint. */
function addressOf(at: number): string {
  return `10.99.0.${at + 1}`;
}

async function startReplica(uid: string, at: number): Promise<ExtenderProcess> {
  const config = join(cluster.plane.dir, `${uid}.yaml`);
  await writeFile(config, `podIp: ${addressOf(at)}\n`);
  return cluster.startExtender(uid, ['--publish-endpoint=gpuloom-extender', `--config=${config}`], uid);
}

beforeAll(async () => {
  const users = REPLICAS.map((uid) => ({ ...EXTENDER_USER, uid }));
  cluster = await GpuCluster.start({ nodes: gpuNodes(80), users });
  await applyManifests(cluster.plane.admin, await readFile(SERVICE, 'utf8'));
  replicas = await Promise.all(REPLICAS.map(startReplica));
  const byAddress = new Map(replicas.map((replica, at) => [addressOf(at), replica]));
  service = await ServiceAddress.start(cluster.plane.admin, byAddress);
  expect(await eventually(() => Promise.resolve(service.target !== undefined), TAKEOVER_MILLIS)).toBe(true);
  await cluster.startScheduler({ extenderOrigin: service.origin });
});
afterAll(async () => {
  await service.stop();
  await cluster.stop();
});
beforeEach(() => cluster.reportLogsOnFailure());

test('only one of the replicas is ready, the one behind the Service', async () => {
  const ready = await Promise.all(replicas.map((replica) => replica.isReady()));
  expect(replicas.filter((_, at) => ready[at])).toEqual([service.target]);
});

const DISTURBANCES: readonly (readonly [string, (leader: ExtenderProcess) => Promise<void>])[] = [
  ['is killed', (leader) => leader.kill()],
  ['is asked to end', (leader) => leader.stop()],
  ['is frozen past the end of its lease', (leader) => Promise.resolve(leader.freeze())],
  ['is killed again', (leader) => leader.kill()],
];

test.each(DISTURBANCES)('work goes on when the leader %s', async (_what, disturb) => {
  const { plane, history, nodes } = cluster;
  const leader = service.target;
  if (leader === undefined) throw new Error('the Service has no endpoint');
  const pods = gpuPods({ count: created + PODS_PER_ROUND, seed: 4, small: true }).slice(created);
  created += PODS_PER_ROUND;
  const before = history.bound;
  const pulse = startPulse(plane.admin, nodes[0]?.name ?? '');
  await createPods(plane.admin, pods);
  await history.untilBound(before + DISTURB_AFTER, 30_000);
  await disturb(leader);
  const isTakenOver = (): Promise<boolean> =>
    Promise.resolve(service.target !== undefined && service.target !== leader);
  expect(await eventually(isTakenOver, TAKEOVER_MILLIS)).toBe(true);
  if (leader.isRunning) leader.thaw();
  else await leader.start();
  await history.untilBound(created, 60_000);
  await pulse.stop();
});

test('every leader took fresh lists before it bound, and bound only during its own term', async () => {
  const terms = leadershipTerms(await cluster.plane.auditedCalls());
  expect(termFaults(terms)).toEqual([]);
  // More where a slow machine makes a leader miss its renewal; fewer would mean that something was not disturbed.
  expect(terms.filter(({ bindings }) => bindings.length > 0).length).toBeGreaterThan(DISTURBANCES.length);
});

test('nothing was granted twice, nothing was lost, and the books agree', async () => {
  await cluster.history.finish();
  const leader = service.target;
  if (leader === undefined) throw new Error('the Service has no endpoint');
  await cluster.expectSound(leader);
  await cluster.expectOneBindingPerPod(created);
});
