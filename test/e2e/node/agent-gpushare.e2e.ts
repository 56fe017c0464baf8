// A cluster that ran gpushare moves to gpuloom and back, part by part, on a real kubelet, while its pods run: first the
// extender, then the node's plugin, then both back, so that every pair of old and new parts has its turn. gpushare's
// parts are stand-ins written from its contract. Tests build on each other, in this order.

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';

import { podsPath } from '../cluster.ts';
import type { LivePod } from '../cluster.ts';
import type { ExtenderProcess } from '../extender-process.ts';
import { GpushareExtender, slicesOf } from '../gpushare-extender.ts';
import { eventually } from '../process.ts';
import { containerStatus, createNodePod, environmentOf, PRINT_ENVIRONMENT, untilPod } from './containers.ts';
import type { NodePod, PodOnNode } from './containers.ts';
import { GpuNode } from './gpu-node.ts';
import { GpusharePlugin } from './gpushare-plugin.ts';
import { nodeBinariesOrSkip } from './node-binaries.ts';
import type { NodeBinaries } from './node-binaries.ts';

const SIZE = 16;
const GPUS = [0, 1, 2, 3].map((index) => ({ uuid: `GPU-${index}`, slices: SIZE }));
const INDEX = 'ALIYUN_COM_GPU_MEM_IDX';
const limits = (slices: number) => ({ limits: { 'aliyun.com/gpu-mem': String(slices) } });
const binaries = await nodeBinariesOrSkip();

describe.skipIf(binaries === undefined)('a node that moves from gpushare to gpuloom and back', () => {
  let gpuNode: GpuNode;
  let oldExtender: GpushareExtender;
  let oldPlugin: GpusharePlugin | undefined;
  let extender: ExtenderProcess;
  /** Pods that run from when they were created to the end. */
  const running: string[] = [];

  beforeAll(async () => {
    gpuNode = await GpuNode.start({
      runtime: 'containerd-1.7',
      binaries: binaries as NodeBinaries,
      gpus: GPUS,
      profile: 'gpushare',
    });
    oldExtender = await GpushareExtender.start(gpuNode.plane.admin);
    await startOldPlugin();
    await gpuNode.startScheduler(oldExtender.origin);
  });
  afterAll(async () => {
    await oldPlugin?.stop();
    await oldExtender?.stop();
    await gpuNode?.stop();
  });
  beforeEach(() => {
    onTestFailed(async () => console.error(await gpuNode.logTails()));
  });

  test('runs pods under gpushare alone', async () => {
    await expectExactPods(single('old-a', 3), single('old-b', 5));
    const script = `${PRINT_ENVIRONMENT}; sleep 1; exit 1`;
    await createNodePod(gpuNode.plane.admin, { name: 'old-loop', containers: [{ name: 'c', ...limits(1), script }] });
    await untilStarted('old-loop', 1);
    await expectCounted();
  });

  test('places pods exactly with our extender beside gpushare’s plugin', async () => {
    extender = await gpuNode.startExtender();
    await gpuNode.startScheduler(extender.verbsOrigin);
    await expectCounted(extender);
    await expectExactPods(single('ours-old-a', 2), single('ours-old-b', 4));
    await expectCounted(extender);
  });

  test('keeps old pods running and counted when our agent takes the plugin’s place, and places new ones exactly', async () => {
    const starts = await startsOf('old-loop');
    await stopOldPlugin();
    await gpuNode.startAgent('--binding=auto');
    await untilInventory();
    await expectCounted(extender);
    await expectUndisturbed();
    await untilStarted('old-loop', starts + 1);
    await expectExactPods(
      {
        name: 'ours-two',
        containers: [
          { name: 'c', ...limits(1) },
          { name: 'd', ...limits(2) },
        ],
      },
      // Equal pods at once, which gpushare's plugin may swap.
      ...[0, 1, 2, 3].map((at) => single(`ours-equal-${at}`, 2)),
    );
    await expectCounted(extender);
  });

  test('refuses on the node what an old pod’s GPU has no room for, whoever asks', async () => {
    const index = indexOf(await gpuNode.read('old-b'));
    const tooMany = SIZE - ((await usedSlices())[index] ?? 0) + 1;
    const annotations = {
      [INDEX]: String(index),
      ALIYUN_COM_GPU_MEM_DEV: String(SIZE),
      ALIYUN_COM_GPU_MEM_POD: String(tooMany),
      // Else gpushare's plugin would take it for the pod of a later Allocate, for as long as it is there.
      ALIYUN_COM_GPU_MEM_ASSIGNED: 'true',
      ALIYUN_COM_GPU_MEM_ASSUME_TIME: '1700000000000000000',
    };
    await createNodePod(gpuNode.plane.admin, { ...single('forged', tooMany), nodeName: 'node-a', annotations });
    await gpuNode.untilEvent('forged', /^GpuRefusedByNode: .*held by default\/.*old-b/);
    await gpuNode.discard('forged');
  });

  test('goes back to gpushare’s extender beside our agent', async () => {
    await gpuNode.startScheduler(oldExtender.origin);
    await extender.stop();
    await expectExactPods(single('back-a', 1), single('back-b', 2));
    await expectCounted();
    // More than any GPU has left and less than all have together: only who counts old and new pods by GPU says no.
    await expectExactPods(single('fill-a', 9), single('fill-b', 9));
    const free = (await usedSlices()).map((used) => SIZE - used);
    const wanted = Math.max(...free) + 1;
    expect(wanted).toBeLessThan(free.reduce((sum, each) => sum + each));
    await createNodePod(gpuNode.plane.admin, single('waits', wanted));
    await gpuNode.untilEvent('waits', /Insufficient GPU Memory in one device/);
    await gpuNode.discard('waits');
  });

  test('goes back to gpushare’s plugin, and pods started under our agent restart on their GPU', async () => {
    const script = `${PRINT_ENVIRONMENT}; sleep 1; exit 1`;
    await createNodePod(gpuNode.plane.admin, { name: 'our-loop', containers: [{ name: 'c', ...limits(1), script }] });
    await untilStarted('our-loop', 1);
    const starts = await startsOf('our-loop');
    await gpuNode.stopAgent();
    await gpuNode.untilSlices(0);
    await startOldPlugin();
    await untilStarted('our-loop', starts + 1);
    await expectExactPods(single('last-a', 1), single('last-b', 2));
    await expectCounted();
    await expectUndisturbed();
  });

  test('comes to gpuloom again, plugin first, with every pod of every stage on the books', async () => {
    await stopOldPlugin();
    await gpuNode.startAgent('--binding=auto');
    await gpuNode.untilSlices(gpuNode.total);
    await expectExactPods(single('again-a', 1));
    extender = await gpuNode.startExtender('extender-again');
    await gpuNode.startScheduler(extender.verbsOrigin);
    await expectExactPods(single('again-b', 1));
    await expectCounted(extender);
    await expectUndisturbed();
  });

  async function startOldPlugin(): Promise<void> {
    oldPlugin = await GpusharePlugin.start(gpuNode.plane.admin, gpuNode.node, GPUS);
    await gpuNode.untilSlices(gpuNode.total);
  }

  async function stopOldPlugin(): Promise<void> {
    await oldPlugin?.stop();
    oldPlugin = undefined;
    await gpuNode.untilSlices(0);
  }

  /** Our agent's word on the GPUs has come to the API server and to our extender. */
  async function untilInventory(): Promise<void> {
    await gpuNode.untilSlices(gpuNode.total);
    const isNamed = async (): Promise<boolean> => {
      const [node] = (await extender.snapshot()).nodes;
      return node?.gpus.kind === 'inventory' && node.gpus.source === 'gpuloom';
    };
    expect(await eventually(isNamed, 30_000)).toBe(true);
  }

  async function expectExactPods(...pods: readonly NodePod[]): Promise<void> {
    const started = await Promise.all(pods.map((pod) => gpuNode.run(pod)));
    for (const [at, pod] of started.entries()) {
      for (const { name } of pods[at]?.containers ?? []) await expectExactStart(pod, name, 0);
    }
    running.push(...pods.map(({ name }) => name));
  }

  async function expectExactStart(pod: PodOnNode, container: string, restart: number): Promise<void> {
    const env = await environmentOf(gpuNode.node, pod, container, { restart });
    const seen = GPUS.findIndex(({ uuid }, at) => [uuid, String(at)].includes(env['NVIDIA_VISIBLE_DEVICES'] ?? ''));
    const who = `${pod.metadata?.name ?? ''}/${container}, start ${restart}: ${env['NVIDIA_VISIBLE_DEVICES'] ?? ''}`;
    expect(seen, who).toBe(indexOf(pod));
    expect(env[INDEX], who).toBe(String(seen));
    expect(env['ALIYUN_COM_GPU_MEM_DEV'], who).toBe(String(SIZE));
  }

  /** So many starts of the crashing pod's container, every one of them on the GPU of its annotation. */
  async function untilStarted(name: string, starts: number): Promise<void> {
    const startsSeen = (pod: PodOnNode): number => {
      const status = containerStatus(pod, 'c');
      const isBegun = status?.state?.running !== undefined || status?.state?.terminated !== undefined;
      return (status?.restartCount ?? 0) + (isBegun ? 1 : 0);
    };
    const pod = await untilPod(gpuNode.plane.admin, name, (each) => startsSeen(each) >= starts, 120_000);
    for (let restart = 0; restart < starts; restart++) await expectExactStart(pod, 'c', restart);
  }

  async function startsOf(name: string): Promise<number> {
    return (containerStatus(await gpuNode.read(name), 'c')?.restartCount ?? 0) + 1;
  }

  /** No GPU is promised beyond its size, and our extender's inspect document says the same of each GPU. */
  async function expectCounted(ours?: ExtenderProcess): Promise<void> {
    const used = await usedSlices();
    expect(Math.max(...used)).toBeLessThanOrEqual(SIZE);
    if (ours === undefined) return;
    let said: readonly unknown[] = [];
    const agrees = await eventually(async () => {
      const answer = await fetch(`${ours.verbsOrigin}/gpushare-scheduler/inspect/node-a`);
      const { nodes } = (await answer.json()) as { nodes: { devs: { id: number; usedGPU: number }[] }[] };
      const devices = nodes[0]?.devs.toSorted((a, b) => a.id - b.id) ?? [];
      said = [devices.map(({ usedGPU }) => usedGPU), await usedSlices()];
      return String(said[0]) === String(said[1]);
    }, 60_000);
    expect(agrees, JSON.stringify(said)).toBe(true);
  }

  /** By pods' limits and annotations, without the pod that the node has refused. */
  async function usedSlices(): Promise<readonly number[]> {
    const used = Array.from({ length: GPUS.length }, () => 0);
    const { items } = await gpuNode.plane.admin.list<LivePod>(podsPath('default'));
    for (const pod of items.filter(
      ({ spec, metadata }) => spec?.nodeName !== undefined && metadata?.name !== 'forged',
    )) {
      used[indexOf(pod)] = (used[indexOf(pod)] ?? 0) + slicesOf(pod);
    }
    return used;
  }

  async function expectUndisturbed(): Promise<void> {
    for (const name of running) {
      const pod = await gpuNode.read(name);
      const statuses = pod.status?.containerStatuses ?? [];
      expect([name, pod.status?.phase, ...statuses.map(({ restartCount }) => restartCount)]).toEqual([
        name,
        'Running',
        ...statuses.map(() => 0),
      ]);
    }
  }
});

function single(name: string, slices: number): NodePod {
  return { name, containers: [{ name: 'c', ...limits(slices) }] };
}

function indexOf(pod: LivePod | PodOnNode): number {
  return Number(pod.metadata?.annotations?.[INDEX]);
}
