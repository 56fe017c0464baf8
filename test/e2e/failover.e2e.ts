// Two replicas with leader election behind one address. The leader is killed, asked to leave, and frozen past the end of
// its lease, each in the middle of its work: the other takes over with fresh lists, and no two ever bind at once.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { createPods } from './cluster.ts';
import { startPulse } from './cluster-pulse.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { EXTENDER_USER } from './installation.ts';
import { leadershipTerms, termFaults } from './leadership-terms.ts';
import { eventually } from './process.ts';
import { ServiceAddress } from './service-address.ts';
import { gpuNodes, gpuPods } from './workload.ts';

const REPLICAS = ['replica-a', 'replica-b'] as const;
const PODS_PER_ROUND = 80;
const DISTURB_AFTER = 20;
/** A lease of 15 s, a retry of at most 2.4 s, and time to list. */
const TAKEOVER_MILLIS = 30_000;

let cluster: GpuCluster;
let replicas: readonly ExtenderProcess[];
let service: ServiceAddress;
let created = 0;

beforeAll(async () => {
  const users = REPLICAS.map((uid) => ({ ...EXTENDER_USER, uid }));
  cluster = await GpuCluster.start({ nodes: gpuNodes(80), users });
  replicas = await Promise.all(REPLICAS.map((uid) => cluster.startExtender(uid, [], uid)));
  service = await ServiceAddress.start(replicas);
  expect(await eventually(() => Promise.resolve(service.ready !== undefined), TAKEOVER_MILLIS)).toBe(true);
  await cluster.startScheduler({ extenderOrigin: service.origin });
});
afterAll(async () => {
  await service.stop();
  await cluster.stop();
});
beforeEach(() => cluster.reportLogsOnFailure());

test('only one of the replicas is ready', async () => {
  expect((await Promise.all(replicas.map((replica) => replica.isReady()))).filter(Boolean)).toHaveLength(1);
});

const DISTURBANCES: readonly (readonly [string, (leader: ExtenderProcess) => Promise<void>])[] = [
  ['is killed', (leader) => leader.kill()],
  ['is asked to end', (leader) => leader.stop()],
  ['is frozen past the end of its lease', (leader) => Promise.resolve(leader.freeze())],
  ['is killed again', (leader) => leader.kill()],
];

test.each(DISTURBANCES)('work goes on when the leader %s', async (_what, disturb) => {
  const { plane, history, nodes } = cluster;
  const leader = service.ready;
  if (leader === undefined) throw new Error('no replica is ready');
  const pods = gpuPods({ count: created + PODS_PER_ROUND, seed: 4, small: true }).slice(created);
  created += PODS_PER_ROUND;
  const before = history.bound;
  const pulse = startPulse(plane.admin, nodes[0]?.name ?? '');
  await createPods(plane.admin, pods);
  await history.untilBound(before + DISTURB_AFTER, 30_000);
  await disturb(leader);
  const isTakenOver = (): Promise<boolean> => Promise.resolve(service.ready !== undefined && service.ready !== leader);
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
  const leader = service.ready;
  if (leader === undefined) throw new Error('no replica is ready');
  await cluster.expectSound(leader);
  await cluster.expectOneBindingPerPod(created);
});
