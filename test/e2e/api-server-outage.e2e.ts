// The API server stops answering, and goes away for twenty seconds, while pods are being bound. Bindings sent to a server
// that does not answer may or may not be committed; the extender stays up, keeps what it reserved until it knows, and
// catches up; every pod ends bound, and nothing is granted twice.

import { setTimeout as delay } from 'node:timers/promises';

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { createPods } from './cluster.ts';
import { startPulse } from './cluster-pulse.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { gpuNodes, gpuPods } from './workload.ts';

const PODS_IN_SILENCE = 150;
const PODS_BEFORE = 300;
const PODS_AFTER = 100;
const PODS = PODS_IN_SILENCE + PODS_BEFORE + PODS_AFTER;
/** Longer than the 3 s after which the extender gives up on a Binding, and than kube-scheduler's 5 s. */
const SILENCE_MILLIS = 8_000;
const OUTAGE_MILLIS = 20_000;

const pods = gpuPods({ count: PODS, seed: 5, small: true });

let cluster: GpuCluster;
let extender: ExtenderProcess;

beforeAll(async () => {
  cluster = await GpuCluster.start({ nodes: gpuNodes(80) });
  extender = await cluster.startExtender('extender', ['--no-leader-election']);
  await extender.untilReady();
  await cluster.startScheduler({ extenderOrigin: extender.verbsOrigin });
});
afterAll(() => cluster.stop());
beforeEach(() => cluster.reportLogsOnFailure());

test('Bindings of unknown outcome are neither lost nor repeated', { timeout: 180_000 }, async () => {
  const { plane, history, nodes } = cluster;
  const pulse = startPulse(plane.admin, nodes[0]?.name ?? '');
  const creating = createPods(plane.admin, pods.slice(0, PODS_IN_SILENCE));
  await history.untilBound(PODS_IN_SILENCE / 5, 60_000);
  plane.freezeApiServer();
  await delay(SILENCE_MILLIS);
  plane.thawApiServer();
  await creating;
  await history.untilBound(PODS_IN_SILENCE, 100_000);
  await pulse.stop();
  console.log('binds by outcome:', Object.fromEntries(await extender.metric('gpuloom_binds_total')));
});

test('after an outage of the API server every pod ends bound, once', { timeout: 240_000 }, async () => {
  const { plane, history, nodes } = cluster;
  const pulse = startPulse(plane.admin, nodes[0]?.name ?? '');
  await createPods(plane.admin, pods.slice(PODS_IN_SILENCE, PODS - PODS_AFTER));
  await history.untilBound(PODS_IN_SILENCE + PODS_BEFORE / 3, 60_000);
  await plane.stopApiServer();
  await delay(OUTAGE_MILLIS);
  expect(await extender.isLive()).toBe(true);
  await plane.startApiServer();
  await createPods(plane.admin, pods.slice(PODS - PODS_AFTER));
  await history.untilBound(PODS, 150_000);
  await pulse.stop();
  await history.finish();
  await cluster.expectSound(extender);
  // The log may lack the last answers of the server that was killed, so it proves "not twice" only.
  const bindings = await cluster.successfulBindings();
  expect(new Set(bindings).size).toBe(bindings.length);
});
