// The extender dies by SIGKILL again and again in the middle of its work and is started again, as a kubelet would: nothing
// may be granted twice or lost, and in the end every pod is bound.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { createPods } from './cluster.ts';
import { startPulse } from './cluster-pulse.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { gpuNodes, gpuPods } from './workload.ts';

const KILLS = 10;
const PODS_PER_ROUND = 60;
const PODS = KILLS * PODS_PER_ROUND;
/** Bound pods of a round at which the extender is killed, different every time. */
const KILL_AFTER = [1, 25, 7, 40, 13, 31, 3, 19, 45, 10] as const;

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

test('killed ten times while it binds, it grants nothing twice and loses nothing', { timeout: 300_000 }, async () => {
  const { plane, history, nodes } = cluster;
  const pulse = startPulse(plane.admin, nodes[0]?.name ?? '');
  const pods = gpuPods({ count: PODS, seed: 99, small: true });
  for (const [round, killAfter] of KILL_AFTER.entries()) {
    const before = history.bound;
    await createPods(plane.admin, pods.slice(round * PODS_PER_ROUND, (round + 1) * PODS_PER_ROUND));
    await history.untilBound(before + killAfter, 60_000);
    await extender.kill();
    await extender.start();
    await extender.untilReady();
  }
  await history.untilBound(PODS, 120_000);
  await pulse.stop();
  await history.finish();
  await cluster.expectSound(extender);
  await cluster.expectOneBindingPerPod(PODS);
});

test('the last of its many lives knows every allocation of the earlier ones', async () => {
  const { residents } = await extender.snapshot();
  expect(residents.filter(({ gpus }) => gpus.length > 0)).toHaveLength(PODS);
});
