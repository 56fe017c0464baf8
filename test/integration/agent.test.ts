import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { DEFAULT_HEALTH_POLICY } from '../../device-plugin/health/state.ts';
import type { LoadReport } from '../../device-plugin/load/report.ts';
import { limiterFor } from '../../device-plugin/runtime-choice.ts';
import { decodeInventory } from '../../extender/core/inventory-codec.ts';
import { INVENTORY_ANNOTATION } from '../../extender/core/resources.ts';
import { seeded } from '../bench/bench-cluster.ts';
import { AgentStand, MEMORY, type StandPod } from '../support/agent-stand.ts';
import { FakeMpsDaemon } from '../support/fake-mps-daemon.ts';

const GIB = 1024;
let stand: AgentStand;

async function start(
  memoriesGiB: readonly number[],
  options: Parameters<typeof AgentStand.start>[2] = {},
): Promise<void> {
  stand = await AgentStand.start(
    memoriesGiB.map((memory) => memory * GIB),
    seeded(3),
    options,
  );
  const slices = memoriesGiB.reduce((sum, each) => sum + each, 0);
  await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === slices, 'the plugin to register');
}

async function until(what: () => boolean, why: string): Promise<void> {
  for (let turn = 0; turn < 2000 && !what(); turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(what(), why).toBe(true);
}

afterEach(() => stand.stop());

describe('the agent between the kubelet and the API server', () => {
  it('announces the slices of unequal GPUs and publishes the inventory that explains them', async () => {
    await start([24, 16]);
    await until(() => annotation() !== undefined, 'the inventory is published');
    const read = decodeInventory(annotation() ?? '');
    expect(read.kind === 'inventory' ? read.inventory.gpus.map(({ uuid, slices }) => [uuid, slices]) : read).toEqual([
      ['GPU-0', 24],
      ['GPU-1', 16],
    ]);
    await stand.kubelet.waitFor(() => stand.kubelet.capacity('gpuloom.io/gpu-core') === 200, 'the compute slices');
  });

  it.each<[string, StandPod, readonly (readonly [container: string, gpus: string, slices: string])[]]>([
    ['one container', { name: 'p', slices: [6], gpus: [1] }, [['c0', 'GPU-1', '6']]],
    [
      'two containers',
      { name: 'p', slices: [6, 4], gpus: [0] },
      [
        ['c0', 'GPU-0', '6'],
        ['c1', 'GPU-0', '4'],
      ],
    ],
    [
      'an init container and a main one',
      { name: 'p', slices: [8, 4], init: 1, gpus: [1] },
      [
        ['c0', 'GPU-1', '8'],
        ['c1', 'GPU-1', '4'],
      ],
    ],
    ['two GPUs', { name: 'p', slices: [8], count: 2, gpus: [0, 2] }, [['c0', 'GPU-0,GPU-2', '4']]],
    ['four GPUs', { name: 'p', slices: [16], count: 4, gpus: [0, 1, 2, 3] }, [['c0', 'GPU-0,GPU-1,GPU-2,GPU-3', '4']]],
  ])('gives a pod of %s exactly the GPUs of its allocation', async (_, sketch, expected) => {
    await start([16, 16, 16, 16]);
    const pod = stand.bind(sketch);
    await stand.kubelet.run(pod);
    for (const [container, gpus, slices] of expected) {
      expect(stand.environmentOf(pod, container)).toMatchObject({
        NVIDIA_VISIBLE_DEVICES: gpus,
        GPULOOM_GPU_MEM_SLICES: slices,
      });
    }
  });

  it('gives thirty equal pods admitted at once each its own GPU', async () => {
    await start([64, 64, 64, 64]);
    const pods = Array.from({ length: 30 }, (_, at) => ({
      gpu: at % 4,
      pod: stand.bind({ name: `p${at}`, slices: [2], gpus: [at % 4] }),
    }));
    await Promise.all(pods.map(({ pod }) => stand.kubelet.run(pod)));
    for (const { gpu, pod } of pods)
      expect(stand.environmentOf(pod, 'c0')?.['NVIDIA_VISIBLE_DEVICES']).toBe(`GPU-${gpu}`);
  });

  it('refuses a pod that came past the extender and says so in an event', async () => {
    await start([16]);
    const pod = stand.bind({ name: 'bypass', slices: [4] });
    expect((await stand.kubelet.admit(pod)).kind).toBe('admitted');
    await expect(stand.kubelet.startContainer(pod.uid, 'c0')).rejects.toThrow(/without an allocation/);
    await until(
      () =>
        stand.server.cluster
          .list('events.events.k8s.io')
          .some((event) => JSON.stringify(event).includes('GpuRefusedByNode')),
      'an event',
    );
  });

  it('tells of a GPU that breaks and recovers in events about the node, and of no other', async () => {
    const healthPolicy = { ...DEFAULT_HEALTH_POLICY, cleanProbes: 1, leastUnhealthyMillis: 0 };
    await start([16, 16], { healthPolicy });
    const news = (): readonly string[] =>
      stand.server.cluster
        .list('events.events.k8s.io')
        .map((event) => `${String(event['reason'])}: ${String(event['note'])}`)
        .sort();
    stand.writeGpus([16 * GIB, 16 * GIB], [1]);
    await until(() => news().length > 0, 'an event about the broken GPU');
    stand.writeGpus([16 * GIB, 16 * GIB]);
    await until(() => news().length > 1, 'an event about its recovery');
    expect(news()).toEqual([
      'GpuHealthy: GPU GPU-1 is healthy',
      'GpuUnhealthy: GPU GPU-1 is unhealthy: the inventory file says "unhealthy"',
    ]);
  });

  it('is the last judge: an allocation written by hand cannot overfill a GPU', async () => {
    await start([16]);
    const [first, second] = ['a', 'b'].map((name) => stand.bind({ name, slices: [6], gpus: [0] }));
    const forged = stand.bind({ name: 'forged', slices: [6], gpus: [0] });
    if (first === undefined || second === undefined) throw new Error('two pods');
    await stand.kubelet.run(first);
    await stand.kubelet.run(second);
    // The kubelet has 16 slices in all and would not admit it, so slices are made free that the GPU does not have.
    stand.writeGpus([16 * GIB, 16 * GIB]);
    await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 32, 'the second GPU');
    expect((await stand.kubelet.admit(forged)).kind).toBe('admitted');
    await expect(stand.kubelet.startContainer(forged.uid, 'c0')).rejects.toThrow(
      /4 of 16 slices.*held by default\/a, default\/b/,
    );
  });

  it('gives restarted containers the same GPU after the agent and the kubelet were restarted many times', async () => {
    await start([16, 16]);
    const pods = [0, 1].map((gpu) => ({ gpu, pod: stand.bind({ name: `p${gpu}`, slices: [8], gpus: [gpu] }) }));
    for (const { pod } of pods) await stand.kubelet.run(pod);
    for (let round = 0; round < 5; round++) {
      await stand.stopAgent();
      await stand.startAgent();
      await stand.kubelet.restart();
      await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 32, 'registration');
      for (const { gpu, pod } of pods) {
        await stand.kubelet.startContainer(pod.uid, 'c0');
        expect(stand.environmentOf(pod, 'c0')?.['NVIDIA_VISIBLE_DEVICES']).toBe(`GPU-${gpu}`);
      }
    }
  });

  it('keeps what running pods hold on its books over a restart', async () => {
    await start([16, 16]);
    const running = stand.bind({ name: 'running', slices: [12], gpus: [0] });
    await stand.kubelet.run(running);
    await stand.stopAgent();
    await stand.startAgent();
    await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 32, 'registration');
    const greedy = stand.bind({ name: 'greedy', slices: [12], gpus: [0] });
    expect((await stand.kubelet.admit(greedy)).kind).toBe('admitted');
    await expect(stand.kubelet.startContainer(greedy.uid, 'c0')).rejects.toThrow(/held by default\/running/);
  });

  it('keeps what an init container holds on its books over a restart, though no list of the kubelet names it', async () => {
    await start([16, 16]);
    const pod = stand.bind({ name: 'starting', slices: [12, 1], init: 1, gpus: [0] });
    await stand.kubelet.admit(pod);
    await stand.kubelet.startContainer(pod.uid, 'c0');
    await stand.stopAgent();
    await stand.startAgent();
    await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 32, 'registration');
    const greedy = stand.bind({ name: 'greedy', slices: [12], gpus: [0] });
    await stand.kubelet.admit(greedy);
    await expect(stand.kubelet.startContainer(greedy.uid, 'c0')).rejects.toThrow(/held by default\/starting/);
  });

  it('counts a pod where it runs, and restarts it nowhere else, when its allocation was changed while the agent was away', async () => {
    await start([16, 16]);
    const pod = stand.bind({ name: 'p', slices: [12], gpus: [0] });
    await stand.kubelet.run(pod);
    await stand.stopAgent();
    stand.forge(pod, stand.allocation([1]));
    await stand.startAgent();
    await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 32, 'registration');
    await expect(stand.kubelet.startContainer(pod.uid, 'c0')).rejects.toThrow(/was granted GPU 0 before/);
    expect(stand.environmentOf(pod, 'c0')?.['NVIDIA_VISIBLE_DEVICES']).toBe('GPU-0');
    expect(stand.warnings.join('\n')).toMatch(/default\/p runs on GPU 0, and its allocation was changed since/);
  });

  it('counts running pods though the kubelet has lost its checkpoint', async () => {
    await start([16, 16]);
    await stand.kubelet.run(stand.bind({ name: 'running', slices: [12], gpus: [0] }));
    await stand.stopAgent();
    await stand.kubelet.restart(() => rmSync(stand.kubelet.checkpointPath));
    await stand.startAgent();
    await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 32, 'registration');
    const greedy = stand.bind({ name: 'greedy', slices: [12], gpus: [0] });
    await stand.kubelet.admit(greedy);
    await expect(stand.kubelet.startContainer(greedy.uid, 'c0')).rejects.toThrow(/held by default\/running/);
  });

  it('has no device of an earlier pod for a container that a restarted kubelet starts without asking', async () => {
    await start([16, 16]);
    const before = stand.bind({ name: 'before', slices: [32], count: 2, gpus: [0, 1] });
    await stand.kubelet.run(before);
    stand.server.cluster.delete('pods', 'default', 'before', { gracePeriodSeconds: 0 });
    stand.kubelet.remove(before.uid);
    const next = stand.bind({ name: 'next', slices: [32], count: 2, gpus: [0, 1] });
    await stand.kubelet.admit(next);
    expect(new Set(stand.kubelet.idsOf(next.uid, 'c0', MEMORY)).size).toBe(32);
    await stand.kubelet.restart(() => stand.stopAgent());
    await stand.kubelet.startContainer(next.uid, 'c0');
    expect(stand.environmentOf(next, 'c0')).toBeUndefined();
    await stand.startAgent();
  });

  it('never gives a container another GPU than its own under random histories', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.array(fc.record({ gpu: fc.nat(3), slices: fc.integer({ min: 1, max: 3 }), leaves: fc.boolean() }), {
          minLength: 5,
          maxLength: 25,
        }),
        async (seed, arrivals) => {
          stand = await AgentStand.start(
            [64, 64, 64, 64].map((memory) => memory * GIB),
            seeded(seed),
          );
          await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 256, 'registration');
          const running = arrivals.map(async ({ gpu, slices, leaves }, at) => {
            const pod = stand.bind({ name: `p${at}`, slices: [slices], gpus: [gpu] });
            await stand.kubelet.run(pod);
            expect(stand.environmentOf(pod, 'c0')?.['NVIDIA_VISIBLE_DEVICES']).toBe(`GPU-${gpu}`);
            if (!leaves) return;
            stand.kubelet.remove(pod.uid);
            stand.server.cluster.delete('pods', 'default', pod.name, { gracePeriodSeconds: 0 });
          });
          await Promise.all(running);
          await stand.stop();
        },
      ),
      { numRuns: 8, seed: 10 },
    );
    await start([16]);
  });

  function annotation(): string | undefined {
    return stand.server.cluster.get('nodes', undefined, 'gpu-1')?.metadata.annotations?.[INVENTORY_ANNOTATION];
  }
});

describe('the load report of the agent', () => {
  it.each([
    ['no', true],
    ['yes', false],
  ] as const)("with process ids that are the node's own: %s", async (hostPids, isOmitted) => {
    await start([16], { hostPids });
    const { host, port } = stand.agent.address;
    const get = async (path: string): Promise<string> => (await fetch(`http://${host}:${port}${path}`)).text();
    const report = JSON.parse(await get('/report')) as LoadReport;
    expect(report.processesOmitted).toBe(isOmitted ? 'hostPids is no' : undefined);
    expect(report.gpus.map(({ processes }) => processes)).toEqual([isOmitted ? undefined : []]);
    // The agent has not looked yet, so there is no figure to tell in either case.
    expect(await get('/metrics')).not.toMatch(/^gpuloom_agent_overusing_pods \d/m);
  });
});

describe('the agent without CDI', () => {
  it('steers ids, answers with the environment of the pod, and verifies it before the start', async () => {
    await start([16, 16], { binding: 'env' });
    for (const gpu of [1, 0, 1]) {
      const pod = stand.bind({ name: `p${gpu}-${stand.kubelet.calls.length}`, slices: [3], gpus: [gpu] });
      await stand.kubelet.run(pod);
      expect(stand.environmentOf(pod, 'c0')?.['NVIDIA_VISIBLE_DEVICES']).toBe(`GPU-${gpu}`);
    }
  });

  it('mounts and preloads a limiter library, and what MPS clients need, in its answer to Allocate', async () => {
    const pipes = mkdtempSync(join(tmpdir(), 'mps-'));
    onTestFinished(() => rmSync(pipes, { recursive: true }));
    const daemon = new FakeMpsDaemon(pipes);
    onTestFinished(() => daemon.die());
    await start([16], {
      binding: 'env',
      isolation: 'mps',
      mpsPipeDirectory: pipes,
      ...limiterFor('/opt/limiter.so'),
    });
    const pod = stand.bind({ name: 'p', slices: [4], gpus: [0] });
    await stand.kubelet.run(pod);
    const answer = stand.kubelet.responseOf(pod.uid, 'c0', MEMORY);
    const limiter = answer?.mounts.find(({ host_path: path }) => path === '/opt/limiter.so');
    expect(limiter).toMatchObject({ container_path: answer?.envs['LD_PRELOAD'], read_only: true });
    expect(answer?.mounts.map(({ host_path: path }) => path)).toEqual(['/opt/limiter.so', pipes, '/dev/shm']);
    expect(answer?.envs).toMatchObject({ CUDA_MPS_PINNED_DEVICE_MEM_LIMIT: '0=4096M' });
  });

  it('steers and answers for a pod that its watch has yet to show', async () => {
    await start([16, 16], { binding: 'env' });
    const release = stand.holdWatch();
    for (const gpu of [1, 0, 1]) {
      const pod = stand.bind({ name: `p${gpu}-${stand.kubelet.calls.length}`, slices: [3], gpus: [gpu] });
      await stand.kubelet.run(pod);
      expect(stand.environmentOf(pod, 'c0')?.['NVIDIA_VISIBLE_DEVICES']).toBe(`GPU-${gpu}`);
    }
    release();
  });

  it('gives any ids, then refuses within the limits of the kubelet, when neither watch nor server shows the pod', async () => {
    await start([16, 16], { binding: 'env' });
    const unknown = { uid: 'u', namespace: 'default', name: 'unknown' };
    const containers = [{ name: 'c0', limits: { [MEMORY]: 3 } }];
    const admission = await stand.kubelet.admit({ ...unknown, containers });
    expect(admission).toMatchObject({ kind: 'rejected' });
    expect(admission.kind === 'rejected' ? admission.message : '').toMatch(
      /no pod on this node .* waits for 3 slices$/,
    );
    const calls = stand.kubelet.calls.map(({ method }) => method);
    expect(calls.filter((method) => method.startsWith('GetPref') || method === 'Allocate')).toEqual([
      'GetPreferredAllocation',
      'Allocate',
    ]);
  });

  it('refuses a pod that came past the extender at admission, naming it', async () => {
    await start([16], { binding: 'env' });
    const admission = await stand.kubelet.admit(stand.bind({ name: 'bypass', slices: [4] }));
    expect(admission.kind === 'rejected' ? admission.message : '').toMatch(
      /waits for 4 slices: pod default\/bypass reached this node without an allocation/,
    );
  });

  it('verifies after its own restart by what the kubelet has recorded', async () => {
    await start([16, 16], { binding: 'env' });
    const pod = stand.bind({ name: 'p', slices: [4, 2], init: 1, count: 2, gpus: [0, 1] });
    await stand.kubelet.run(pod);
    await stand.stopAgent();
    await stand.startAgent();
    await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 32, 'registration');
    for (const container of ['c0', 'c1']) await stand.kubelet.startContainer(pod.uid, container);
    expect(stand.environmentOf(pod, 'c1')?.['NVIDIA_VISIBLE_DEVICES']).toBe('GPU-0,GPU-1');
  });
});
