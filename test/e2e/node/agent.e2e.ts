// The whole of gpuloom on real programs: kube-apiserver, kube-scheduler with our extender, kubelet and containerd with our
// agent, which binds by CDI here. What counts is what a container's first process finds in its own environment.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFailed,
  onTestFinished,
  test,
} from 'vitest';

import { podsPath } from '../cluster.ts';
import type { ExtenderProcess } from '../extender-process.ts';
import { eventually } from '../process.ts';
import { containerStatus, createNodePod, isRunningPod, untilPod } from './containers.ts';
import { churn } from './agent-churn.ts';
import { allocated, forgedAllocation, GpuNode } from './gpu-node.ts';
import { podShapes } from './gpu-pods.ts';
import { nodeBinariesOrSkip } from './node-binaries.ts';
import type { NodeBinaries } from './node-binaries.ts';
import { deviceIds } from './pod-resources.ts';

const MEMORY = 'gpuloom.io/gpu-mem';
const GPUS = [
  ...[0, 1, 2, 3].map((index) => ({ uuid: `GPU-large-${index}`, slices: 40 })),
  ...[4, 5, 6, 7].map((index) => ({ uuid: `GPU-small-${index}`, slices: 16 })),
];
const limits = (slices: number) => ({ limits: { [MEMORY]: String(slices) } });
const binaries = await nodeBinariesOrSkip();

describe.skipIf(binaries === undefined)('gpuloom on a real node with CDI', () => {
  let gpuNode: GpuNode;
  let extender: ExtenderProcess;

  beforeAll(async () => {
    gpuNode = await GpuNode.start({ runtime: 'containerd-1.7', binaries: binaries as NodeBinaries, gpus: GPUS });
    await gpuNode.startAgent('--binding=auto');
    await gpuNode.untilSlices(gpuNode.total);
    extender = await gpuNode.startExtender();
    await gpuNode.startScheduler(extender.verbsOrigin);
  });
  afterAll(() => gpuNode?.stop());
  // Nothing that a failed test leaves behind is in the way of the next one.
  afterEach(() => gpuNode.discardAll());
  beforeEach(() => {
    onTestFailed(async () => console.error(await gpuNode.logTails()));
  });

  test('finds out by itself that this runtime does CDI', async () => {
    expect(await gpuNode.agentLog()).toContain('containers are bound by cdi');
  });

  test.each(podShapes(limits, 'gpuloom.io/gpu-count').map((shape) => ({ ...shape })))(
    'gives a pod of $title the GPUs of its allocation',
    async ({ pod, gpus, containers }) => {
      const running = await gpuNode.run(pod);
      expect(allocated(running)).toHaveLength(gpus);
      await gpuNode.expectExact(running, ...containers);
    },
  );

  test('gives thirty equal pods created at once each the GPU of its allocation', async () => {
    const names = Array.from({ length: 30 }, (_, at) => `equal-${at}`);
    await Promise.all(names.map((name) => createNodePod(gpuNode.plane.admin, { name, containers: [container(3)] })));
    for (const name of names) {
      await gpuNode.expectExact(await untilPod(gpuNode.plane.admin, name, isRunningPod, 120_000), 'c');
    }
  }, 300_000);

  test('registers again after the kubelet was restarted, and running pods keep slices and GPU', async () => {
    const pod = await gpuNode.run({ name: 'stays', containers: [container(4)] });
    const before = await idsOf('stays');
    await gpuNode.node.restartKubelet();
    await gpuNode.untilSlices(gpuNode.total);
    await gpuNode.expectExact(pod, 'c');
    await untilIds('stays', before);
    // Where the kubelet was asked before the plugin was back, it has failed the pod.
    await gpuNode.runAsOwner([{ name: 'after', containers: [container(4)] }]);
    const held = [...(await deviceIds(gpuNode.node, MEMORY))].filter(([holder]) => holder.startsWith('default/after'));
    const after = held.flatMap(([, ids]) => ids);
    expect(after.length).toBeGreaterThanOrEqual(4);
    expect(after.filter((id) => before.includes(id))).toEqual([]);
  }, 300_000);

  test('is listed by both versions of the PodResources API with as many slices as each container asked for', async () => {
    await gpuNode.run({ name: 'listed', containers: [container(3), { name: 'd', ...limits(2) }] });
    const lists = await Promise.all(
      (['v1', 'v1alpha1'] as const).map((version) => deviceIds(gpuNode.node, MEMORY, version)),
    );
    for (const list of lists) {
      expect(list.get('default/listed/c')).toHaveLength(3);
      expect(list.get('default/listed/d')).toHaveLength(2);
    }
    expect(lists[1]).toEqual(lists[0]);
  });

  test('takes its slices along when it goes, leaves running pods alone, and brings the slices back', async () => {
    const pod = await gpuNode.run({ name: 'alone', containers: [container(4)] });
    const before = await idsOf('alone');
    await gpuNode.stopAgent();
    await gpuNode.untilSlices(0);
    await gpuNode.untilResource('capacity', MEMORY, gpuNode.total);
    expect(await idsOf('alone')).toEqual(before);
    await gpuNode.startAgent();
    await gpuNode.untilSlices(gpuNode.total);
    expect(await idsOf('alone')).toEqual(before);
    await gpuNode.expectExact(pod, 'c');
    expect(containerStatus(await gpuNode.read('alone'), 'c')?.restartCount).toBe(0);
  });

  test('refuses a pod that came past the extender and says why', async () => {
    await createNodePod(gpuNode.plane.admin, { name: 'bypass', nodeName: 'node-a', containers: [container(4)] });
    await gpuNode.untilEvent('bypass', /^GpuRefusedByNode: .*without an allocation/);
    expect(containerStatus(await gpuNode.read('bypass'), 'c')?.state?.running).toBeUndefined();
  }, 240_000);

  test('refuses an allocation written by hand that would overfill a GPU beside a pod of the extender', async () => {
    const victim = await gpuNode.run({ name: 'victim', containers: [container(14)] });
    const index = GPUS.findIndex(({ uuid }) => uuid === allocated(victim)[0]);
    await createForged('forged', index, 38);
    await gpuNode.untilEvent('forged', /^GpuRefusedByNode: .*held by .*default\/victim/);
    expect(containerStatus(await gpuNode.read('forged'), 'c')?.state?.running).toBeUndefined();
  }, 300_000);

  test('starts only one of two pods whose allocations, both written by hand, together overfill a GPU', async () => {
    await createForged('first', 2, 24);
    await untilPod(gpuNode.plane.admin, 'first', isRunningPod, 120_000);
    // This one with a Binding, as the extender would have sent it: nothing but the node can know better.
    await createNodePod(gpuNode.plane.admin, { name: 'second', schedulerName: 'nobody', containers: [container(24)] });
    await gpuNode.plane.admin.create(`${podsPath('default')}/second/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'second', annotations: forged(2, 24) },
      target: { apiVersion: 'v1', kind: 'Node', name: 'node-a' },
    });
    await gpuNode.untilEvent('second', /^GpuRefusedByNode: .* has \d+ of 40 slices.*held by .*default\/first/);
    expect(containerStatus(await gpuNode.read('second'), 'c')?.state?.running).toBeUndefined();
    await gpuNode.expectExact(await gpuNode.read('first'), 'c');
    // What the node held back starts by itself once there is room.
    await gpuNode.discard('first');
    await gpuNode.expectExact(await untilPod(gpuNode.plane.admin, 'second', isRunningPod, 120_000), 'c');
  }, 400_000);

  test('takes an unhealthy GPU out of the offer and back, and nothing is placed on it meanwhile', async () => {
    const others = GPUS.filter(({ uuid }) => uuid !== 'GPU-small-7').map(({ uuid }) => uuid);
    await gpuNode.untilOnly();
    onTestFinished(() => gpuNode.breakGpus());
    await gpuNode.breakGpus(...others);
    await gpuNode.untilSlices(16);
    const pod = await gpuNode.run({ name: 'healthy-only', containers: [container(4)] });
    expect(allocated(pod)).toEqual(['GPU-small-7']);
    await gpuNode.expectExact(pod, 'c');
    await gpuNode.discard('healthy-only');
    await gpuNode.breakGpus();
    await gpuNode.untilSlices(gpuNode.total);
  }, 240_000);

  test('tells kubelet, extender and readers of Events of a broken GPU, and of its recovery', async () => {
    // The one that was not broken before, so that there is no older event about it.
    const broken = 'GPU-small-7';
    onTestFinished(() => gpuNode.breakGpus());
    const tellsOf = async (slices: number, health: string, event: RegExp): Promise<void> => {
      await gpuNode.breakGpus(...(health === 'healthy' ? [] : [broken]));
      const since = performance.now();
      const took = async (what: string, sees: () => Promise<boolean>): Promise<string> => {
        expect(await eventually(sees, 60_000), what).toBe(true);
        return `${what} ${Math.round(performance.now() - since)} ms`;
      };
      const figures = await Promise.all([
        took('kubelet', async () => (await kubeletSlices()) === slices),
        took('extender', async () => (await healthInExtender(broken)) === health),
        took('event', async () => (await gpuNode.news('node-a', 'kube-system')).some((message) => event.test(message))),
      ]);
      console.log(`GPU ${health}, told after: ${figures.join(', ')}`);
    };
    await tellsOf(gpuNode.total - 16, 'unhealthy', /^GpuUnhealthy: .*GPU-small-7/);
    await tellsOf(gpuNode.total, 'healthy', /^GpuHealthy: .*GPU-small-7/);
  }, 180_000);

  test('is exact at every start while the agent is killed twenty times under churn', async () => {
    // The kubelet admits nothing while no plugin is there: this must be its refusal, never the agent's.
    const mayBeRefused = (why: string): boolean => why.includes('UnexpectedAdmissionError') && !/slices/.test(why);
    await churn(gpuNode, { kills: 20, agentArgs: [], mayBeRefused });
  }, 600_000);

  // The kubelet's own grace period is five minutes.
  test.skipIf(process.env['GPULOOM_E2E_SLOW'] === undefined)(
    'is forgotten by the kubelet some minutes after it has gone for good',
    async () => {
      await gpuNode.stopAgent();
      await gpuNode.untilSlices(0);
      await gpuNode.untilResource('capacity', MEMORY, 0, 10 * 60_000);
    },
    11 * 60_000,
  );

  async function idsOf(pod: string): Promise<readonly string[]> {
    return (await deviceIds(gpuNode.node, MEMORY)).get(`default/${pod}/c`) ?? [];
  }

  /** A kubelet that has just started may still be silent. */
  async function untilIds(pod: string, ids: readonly string[]): Promise<void> {
    let seen: unknown;
    const agree = async (): Promise<boolean> => {
      seen = await idsOf(pod).catch((cause: unknown) => String(cause));
      return JSON.stringify(seen) === JSON.stringify(ids);
    };
    expect(await eventually(agree, 60_000), `${pod} holds ${String(seen)}`).toBe(true);
  }

  async function createForged(name: string, index: number, slices: number): Promise<void> {
    const annotations = forged(index, slices);
    await createNodePod(gpuNode.plane.admin, {
      name,
      nodeName: 'node-a',
      annotations,
      containers: [container(slices)],
    });
  }

  /** Healthy slices in the kubelet's own file, which it writes at every list that it is sent. */
  async function kubeletSlices(): Promise<number> {
    const text = await readFile(join(gpuNode.node.devicePluginDir, 'kubelet_internal_checkpoint'), 'utf8');
    const { Data } = JSON.parse(text) as { Data: { RegisteredDevices: Record<string, readonly string[]> } };
    return Data.RegisteredDevices[MEMORY]?.length ?? 0;
  }

  async function healthInExtender(uuid: string): Promise<string | undefined> {
    const snapshot = await extender.snapshot();
    const [node] = snapshot.nodes;
    const gpus = node?.gpus.kind === 'inventory' ? node.gpus.inventory.gpus : [];
    return gpus.find((gpu) => gpu.uuid === uuid)?.health;
  }
});

function container(slices: number) {
  return { name: 'c', ...limits(slices) };
}

function forged(index: number, slices: number): Readonly<Record<string, string>> {
  return forgedAllocation(GPUS[index] ?? { uuid: '', slices: 0 }, index, slices);
}
