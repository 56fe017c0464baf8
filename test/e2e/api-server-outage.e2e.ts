// The API server goes away for twenty seconds while pods are being bound, and comes back: the extender stays up, answers
// truthfully, and catches up; every pod ends bound, and nothing is granted twice.

import { setTimeout as delay } from 'node:timers/promises';

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { createPods } from './cluster.ts';
import { startPulse } from './cluster-pulse.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { gpuNodes, gpuPods } from './workload.ts';

const PODS = 400;
const PODS_BEFORE = 300;
const OUTAGE_MILLIS = 20_000;

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

test('after an outage of the API server every pod ends bound, once', { timeout: 240_000 }, async () => {
  const { plane, history, nodes } = cluster;
  const pods = gpuPods({ count: PODS, seed: 5, small: true });
  const pulse = startPulse(plane.admin, nodes[0]?.name ?? '');
  await createPods(plane.admin, pods.slice(0, PODS_BEFORE));
  await history.untilBound(PODS_BEFORE / 3, 60_000);
  await plane.stopApiServer();
  await delay(OUTAGE_MILLIS);
  expect(await extender.isLive()).toBe(true);
  await plane.startApiServer();
  await createPods(plane.admin, pods.slice(PODS_BEFORE));
  await history.untilBound(PODS, 150_000);
  await pulse.stop();
  await history.finish();
  await cluster.expectSound(extender);
  // The log may lack the last answers of the server that was killed, so it proves "not twice" only.
  const bindings = await cluster.successfulBindings();
  expect(new Set(bindings).size).toBe(bindings.length);
});
