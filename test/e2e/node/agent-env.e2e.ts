// gpuloom on a real node whose container runtime has no CDI, so that the agent binds by environment. A container may be
// refused there, and its pod's owner then creates another; but no container ever starts on another GPU than its own.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';

import { containerStatus, createNodePod, untilPod } from './containers.ts';
import type { NodePod } from './containers.ts';
import { churn } from './agent-churn.ts';
import { allocated, forgedAllocation, GpuNode } from './gpu-node.ts';
import { podShapes } from './gpu-pods.ts';
import { nodeBinariesOrSkip } from './node-binaries.ts';
import type { NodeBinaries } from './node-binaries.ts';

const GPUS = [0, 1, 2, 3].map((index) => ({ uuid: `GPU-${index}`, slices: 40 }));
const limits = (slices: number) => ({ limits: { 'gpuloom.io/gpu-mem': String(slices) } });
const binaries = await nodeBinariesOrSkip();

describe.skipIf(binaries === undefined)('gpuloom on a real node without CDI', () => {
  let gpuNode: GpuNode;

  beforeAll(async () => {
    gpuNode = await GpuNode.start({ runtime: 'containerd-1.6', binaries: binaries as NodeBinaries, gpus: GPUS });
    await gpuNode.startAgent('--binding=auto');
    await gpuNode.untilSlices(gpuNode.total);
    const extender = await gpuNode.startExtender();
    await gpuNode.startScheduler(extender.verbsOrigin);
  });
  afterAll(() => gpuNode?.stop());
  // Nothing that a failed test leaves behind is in the way of the next one.
  afterEach(() => gpuNode.discardAll());
  beforeEach(() => {
    onTestFailed(async () => console.error(await gpuNode.logTails()));
  });

  test('finds out by itself that this runtime has no CDI', async () => {
    expect(await gpuNode.agentLog()).toContain('containers are bound by env');
    await gpuNode.stopAgent();
    await gpuNode.untilSlices(0);
    await gpuNode.startAgent('--binding=env');
    await gpuNode.untilSlices(gpuNode.total);
  });

  test.each(podShapes(limits, 'gpuloom.io/gpu-count').map((shape) => ({ ...shape })))(
    'gives a pod of $title the GPUs of its allocation',
    async ({ pod, gpus, containers }) => {
      const running = await gpuNode.run(pod);
      expect(allocated(running)).toHaveLength(gpus);
      await gpuNode.expectExact(running, ...containers);
    },
  );

  test('runs sixteen equal pods created at once, each on the GPU of its allocation once its owner has had its way', async () => {
    const pods = Array.from({ length: 16 }, (_, at): NodePod => {
      return { name: `equal-${at}`, containers: [{ name: 'c', ...limits(3) }] };
    });
    await gpuNode.runAsOwner(pods);
  }, 400_000);

  test('is exact at every start or refuses while the agent is killed six times under churn', async () => {
    await churn(gpuNode, { kills: 6, agentArgs: ['--binding=env'], mayBeRefused: () => true });
  }, 300_000);

  test('fails a pod that came past the extender and says why', async () => {
    await createNodePod(gpuNode.plane.admin, {
      name: 'bypass',
      nodeName: 'node-a',
      containers: [{ name: 'c', ...limits(7) }],
    });
    const { status } = await untilPod(gpuNode.plane.admin, 'bypass', (pod) => pod.status?.phase === 'Failed', 60_000);
    expect(status).toMatchObject({ reason: 'UnexpectedAdmissionError' });
    expect(status?.message).toContain('no pod on this node with an allocation waits for 7 slices');
  });

  test('refuses an allocation written by hand that would overfill a GPU', async () => {
    // Pods of earlier tests are held to have their slices until they are gone.
    await gpuNode.untilOnly();
    await createForged('first', 22);
    const first = await gpuNode.outcomeOf('first');
    expect(first.kind).toBe('running');
    await gpuNode.expectExact(first.pod, 'c');
    await createForged('second', 23);
    await gpuNode.untilEvent(
      'second',
      /^UnexpectedAdmissionError: .*default\/second .* has \d+ of 40 slices .*held by .*default\/first/,
    );
    expect(containerStatus(await gpuNode.read('second'), 'c')?.state?.running).toBeUndefined();
  }, 300_000);

  test('is exact or refuses while the kubelet restarts', async () => {
    const pod = await gpuNode.run({ name: 'stays', containers: [{ name: 'c', ...limits(4) }] });
    await gpuNode.node.restartKubelet();
    await gpuNode.untilSlices(gpuNode.total);
    await gpuNode.expectExact(pod, 'c');
    await gpuNode.runAsOwner([{ name: 'after', containers: [{ name: 'c', ...limits(4) }] }]);
  }, 240_000);

  async function createForged(name: string, slices: number): Promise<void> {
    const annotations = forgedAllocation({ uuid: 'GPU-2', slices: 40 }, 2, slices);
    const containers = [{ name: 'c', ...limits(slices) }];
    await createNodePod(gpuNode.plane.admin, { name, nodeName: 'node-a', annotations, containers });
  }
});
