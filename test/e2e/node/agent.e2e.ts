// The whole of gpuloom on real programs: kube-apiserver, kube-scheduler with our extender, kubelet and containerd with our
// agent. What counts is what a container's first process finds in its own environment.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';

import type { ApiObject } from '../api.ts';
import { requireBinaries } from '../binaries.ts';
import { eventMessages } from '../cluster.ts';
import type { LiveNode } from '../cluster.ts';
import type { ControlPlane } from '../control-plane.ts';
import { startControlPlane } from '../control-plane.ts';
import { ExtenderProcess } from '../extender-process.ts';
import { schedulerConfigFile } from '../installation.ts';
import { eventually, freePorts } from '../process.ts';
import {
  createNodePod,
  deleteNodePod,
  environmentOf,
  isRunningPod,
  PRINT_ENVIRONMENT,
  readPod,
  untilPod,
} from './containers.ts';
import type { NodePod } from './containers.ts';
import { nodeBinariesOrSkip } from './node-binaries.ts';
import type { NodeBinaries } from './node-binaries.ts';
import type { NodeProgram } from './node-namespace.ts';
import { startNode } from './node.ts';
import type { RealNode } from './node.ts';

const MEMORY = 'gpuloom.io/gpu-mem';
const ALLOCATION = 'gpuloom.io/allocation';
const AGENT = join(import.meta.dirname, '../../../device-plugin/main.ts');
const GPUS = [
  ...[0, 1, 2, 3].map((index) => ({ uuid: `GPU-large-${index}`, memoryMiB: 40 * 1024 })),
  ...[4, 5, 6, 7].map((index) => ({ uuid: `GPU-small-${index}`, memoryMiB: 16 * 1024 })),
];
const TOTAL = GPUS.reduce((sum, { memoryMiB }) => sum + memoryMiB / 1024, 0);
const binaries = await nodeBinariesOrSkip();

describe.skipIf(binaries === undefined)('gpuloom on a real node', () => {
  let plane: ControlPlane;
  let node: RealNode;
  let agent: NodeProgram;
  let extender: ExtenderProcess;

  beforeAll(async () => {
    plane = await startControlPlane({ binaries: await requireBinaries() });
    node = await startNode(plane, { name: 'node-a', runtime: 'containerd-1.7', binaries: binaries as NodeBinaries });
    await writeInventory();
    await startAgent();
    await untilSlices(TOTAL);
    extender = await ExtenderProcess.start(plane, {
      name: 'extender',
      kubeconfig: plane.kubeconfig('admin'),
      args: ['--no-leader-election'],
    });
    await extender.untilReady();
    await plane.startScheduler({
      name: 'kube-scheduler',
      configFile: schedulerConfigFile(plane, 'gpuloom'),
      extenderOrigin: extender.verbsOrigin,
      qps: 1000,
    });
  });
  afterAll(async () => {
    await extender?.stop();
    await node?.stop();
    await plane?.stop();
  });
  beforeEach(() => {
    onTestFailed(async () => console.error(await node.logTails(25)));
  });

  async function writeInventory(unhealthy: readonly string[] = []): Promise<void> {
    const lines = GPUS.map(({ uuid, memoryMiB }) => {
      const health = unhealthy.includes(uuid) ? ', health: broken' : '';
      return `  - { uuid: ${uuid}, model: FAKE, memoryMiB: ${memoryMiB}${health} }`;
    });
    await writeFile(join(plane.dir, 'gpus.yaml'), `gpus:\n${lines.join('\n')}\n`);
  }

  async function startAgent(): Promise<void> {
    const [port = 0] = await freePorts(1);
    const args = [
      AGENT,
      `--node-name=node-a`,
      `--kubeconfig=${plane.kubeconfig('admin')}`,
      `--inventory=file:${join(plane.dir, 'gpus.yaml')}`,
      `--cdi-dir=${node.cdiDir}`,
      '--binding=cdi',
      `--listen=127.0.0.1:${port}`,
    ];
    // A test does not want to wait a minute for a GPU to be trusted again.
    const env = { GPULOOM_HEALTH_LEAST_UNHEALTHY_MILLIS: '1000', GPULOOM_HEALTH_PROBE_INTERVAL_MILLIS: '500' };
    agent = await node.startInNode({ name: 'agent', command: process.execPath, args, env: { ...process.env, ...env } });
  }

  /** A kubelet of this age takes its time with pods that never started. */
  const remove = (name: string): Promise<void> => deleteNodePod(plane.admin, name, 120_000);

  async function untilSlices(count: number): Promise<void> {
    let seen: unknown;
    const shown = await eventually(async () => {
      const { status } = await plane.admin.get<LiveNode>('/api/v1/nodes/node-a');
      seen = status?.allocatable?.[MEMORY];
      return seen === String(count);
    }, 30_000);
    if (!shown) throw new Error(`the node shows ${String(seen)} slices and not ${count}`);
  }

  /** UUIDs that the pod's allocation names. */
  function allocated(pod: ApiObject): readonly string[] {
    const text = pod.metadata?.annotations?.[ALLOCATION] ?? '{"containers":[]}';
    const { containers } = JSON.parse(text) as { containers: { gpus: { uuid: string }[] }[] };
    return [...new Set(containers.flatMap(({ gpus }) => gpus.map(({ uuid }) => uuid)))];
  }

  async function run(pod: NodePod): Promise<ApiObject> {
    await createNodePod(plane.admin, pod);
    return untilPod(plane.admin, pod.name, isRunningPod, 60_000);
  }

  async function expectExact(pod: ApiObject, ...containers: readonly string[]): Promise<void> {
    for (const container of containers) {
      const env = await environmentOf(node, pod, container);
      expect(env['NVIDIA_VISIBLE_DEVICES']).toBe(allocated(pod).join(','));
    }
  }

  const asks = (slices: number) => ({ limits: { [MEMORY]: String(slices) } });

  test.each<[string, NodePod, readonly string[]]>([
    ['one container', { name: 'one', containers: [{ name: 'c', ...asks(20) }] }, ['c']],
    [
      'two containers',
      {
        name: 'two',
        containers: [
          { name: 'a', ...asks(6) },
          { name: 'b', ...asks(4) },
        ],
      },
      ['a', 'b'],
    ],
    [
      'an init container and a main one',
      {
        name: 'init',
        initContainers: [{ name: 'i', ...asks(8), script: PRINT_ENVIRONMENT }],
        containers: [{ name: 'm', ...asks(5) }],
      },
      ['i', 'm'],
    ],
    [
      'two GPUs',
      { name: 'pair', labels: { 'gpuloom.io/gpu-count': '2' }, containers: [{ name: 'c', ...asks(8) }] },
      ['c'],
    ],
    [
      'four GPUs',
      { name: 'quad', labels: { 'gpuloom.io/gpu-count': '4' }, containers: [{ name: 'c', ...asks(8) }] },
      ['c'],
    ],
  ])('gives a pod of %s the GPUs of its allocation', async (_, pod, containers) => {
    const running = await run(pod);
    expect(allocated(running)).toHaveLength(Number(pod.labels?.['gpuloom.io/gpu-count'] ?? 1));
    await expectExact(running, ...containers);
    await remove(pod.name);
  });

  test('gives thirty equal pods created at once each the GPU of its allocation', async () => {
    const names = Array.from({ length: 30 }, (_, at) => `equal-${at}`);
    await Promise.all(
      names.map((name) => createNodePod(plane.admin, { name, containers: [{ name: 'c', ...asks(3) }] })),
    );
    for (const name of names) await expectExact(await untilPod(plane.admin, name, isRunningPod, 120_000), 'c');
    await Promise.all(names.map((name) => remove(name)));
  }, 240_000);

  test('gives a crashing container the same GPU at every start, with the agent killed in between', async () => {
    const script = `${PRINT_ENVIRONMENT}; sleep 1; exit 1`;
    await createNodePod(plane.admin, { name: 'crash', containers: [{ name: 'c', ...asks(4), script }] });
    const restarted = (count: number) =>
      untilPod(plane.admin, 'crash', (pod) => (pod.status?.containerStatuses?.[0]?.restartCount ?? 0) >= count, 90_000);
    for (const count of [1, 2]) {
      await restarted(count);
      await agent.kill();
      await startAgent();
    }
    const pod = await restarted(3);
    for (const restart of [0, 1, 2]) {
      const env = await environmentOf(node, pod, 'c', { restart });
      expect(env['NVIDIA_VISIBLE_DEVICES']).toBe(allocated(pod).join(','));
    }
    await remove('crash');
  }, 180_000);

  test('registers again after the kubelet was restarted, and running pods keep their GPU', async () => {
    const pod = await run({ name: 'stays', containers: [{ name: 'c', ...asks(4) }] });
    await node.restartKubelet();
    await untilSlices(TOTAL);
    await expectExact(pod, 'c');
    await expectExact(await run({ name: 'after', containers: [{ name: 'c', ...asks(4) }] }), 'c');
    await remove('stays');
    await remove('after');
  }, 120_000);

  test('refuses a pod that came past the extender and says why', async () => {
    await createNodePod(plane.admin, { name: 'bypass', nodeName: 'node-a', containers: [{ name: 'c', ...asks(4) }] });
    const said = await eventually(
      async () =>
        (await eventMessages(plane.admin, 'default', 'bypass')).some((message) =>
          /without an allocation/.test(message),
        ),
      30_000,
    );
    expect(said).toBe(true);
    expect((await readPod(plane.admin, 'bypass')).status?.containerStatuses?.[0]?.state?.running).toBeUndefined();
    await remove('bypass');
  }, 180_000);

  test('refuses an allocation written by hand that would overfill a GPU', async () => {
    const victim = await run({ name: 'victim', containers: [{ name: 'c', ...asks(14) }] });
    const [uuid = ''] = allocated(victim);
    const index = GPUS.findIndex((gpu) => gpu.uuid === uuid);
    const forged = JSON.stringify({ v: 1, containers: [{ name: 'c', gpus: [{ uuid, index, slices: 38, core: 0 }] }] });
    await createNodePod(plane.admin, {
      name: 'forged',
      nodeName: 'node-a',
      annotations: { [ALLOCATION]: forged },
      containers: [{ name: 'c', ...asks(38) }],
    });
    const said = await eventually(
      async () =>
        (await eventMessages(plane.admin, 'default', 'forged')).some((message) =>
          /held by default\/victim/.test(message),
        ),
      30_000,
    );
    expect(said).toBe(true);
    await remove('forged');
    await remove('victim');
  }, 300_000);

  test('takes an unhealthy GPU out of the offer and back, and nothing is placed on it meanwhile', async () => {
    const broken = GPUS.filter(({ uuid }) => uuid !== 'GPU-small-7').map(({ uuid }) => uuid);
    await writeInventory(broken);
    await untilSlices(16);
    const pod = await run({ name: 'healthy-only', containers: [{ name: 'c', ...asks(4) }] });
    expect(allocated(pod)).toEqual(['GPU-small-7']);
    await expectExact(pod, 'c');
    await remove('healthy-only');
    await writeInventory();
    await untilSlices(TOTAL);
  }, 180_000);
});
