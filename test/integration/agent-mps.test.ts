// An agent of a node with isolation `mps`, while the MPS control daemon lives, dies and comes back.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MpsWatchPolicy } from '../../device-plugin/mps/watch.ts';
import { decodeInventory } from '../../extender/core/inventory-codec.ts';
import { INVENTORY_ANNOTATION } from '../../extender/core/resources.ts';
import { seeded } from '../bench/bench-cluster.ts';
import { AgentStand, MEMORY } from '../support/agent-stand.ts';
import { FakeMpsDaemon } from '../support/fake-mps-daemon.ts';

const QUICK: MpsWatchPolicy = { lookEveryMillis: 5, settleMillis: 20 };
/** Within a test nothing that is seen after the first look ever counts. */
const PATIENT: MpsWatchPolicy = { lookEveryMillis: 5, settleMillis: 3_600_000 };
const MISSED =
  /the MPS control daemon cannot be reached: nobody listens on .*start nvidia-cuda-mps-control -d on this node/;

let stand: AgentStand;
let pipes: string;

beforeEach(() => {
  pipes = mkdtempSync(join(tmpdir(), 'mps-'));
});
afterEach(async () => {
  await stand.stop();
  rmSync(pipes, { recursive: true });
});

async function start(mpsWatch: MpsWatchPolicy, binding: 'cdi' | 'env' = 'cdi'): Promise<void> {
  // The GPUs are read once, so that nothing but the daemon changes what is offered.
  const probeIntervalMillis = 600_000;
  const options = { isolation: 'mps', mpsPipeDirectory: pipes, mpsWatch, binding, probeIntervalMillis } as const;
  stand = await AgentStand.start([16 * 1024], seeded(3), options);
  await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === 16, 'the plugin to register');
}

async function until<T>(what: () => T | Promise<T>, wanted: T): Promise<void> {
  for (let turn = 0; turn < 2000 && (await what()) !== wanted; turn++) await stand.pause(5);
  expect(await what()).toBe(wanted);
}

/** What the node promises, and how many of its GPUs take pods. */
function offer(): string {
  const text = stand.server.cluster.get('nodes', undefined, 'gpu-1')?.metadata.annotations?.[INVENTORY_ANNOTATION];
  const read = decodeInventory(text ?? '');
  if (read.kind !== 'inventory') return 'nothing';
  const open = read.inventory.gpus.filter(({ health }) => health === 'healthy').length;
  return `${read.inventory.isolation}, ${open} open`;
}

function news(): readonly string[] {
  return stand.server.cluster
    .list('events.events.k8s.io')
    .map((event) => `${String(event['reason'])}: ${String(event['note'])}`);
}

/** News of the daemon, in the order of their reasons. */
function aboutNode(): readonly string[] {
  return news()
    .filter((each) => each.startsWith('Mps'))
    .sort();
}

async function gauge(): Promise<string | undefined> {
  const { host, port } = stand.agent.address;
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text();
  return /^gpuloom_agent_mps_daemon_up (\d)$/m.exec(text)?.[1];
}

describe('an agent whose MPS control daemon dies', () => {
  it.each(['cdi', 'env'] as const)(
    'starts no container until the daemon is back, and says so in an event of the pod (%s)',
    async (binding) => {
      const daemon = new FakeMpsDaemon(pipes);
      await start(PATIENT, binding);
      const pod = stand.bind({ name: 'p', slices: [4], gpus: [0] });
      expect((await stand.kubelet.admit(pod)).kind).toBe('admitted');
      daemon.die();
      await expect(stand.kubelet.startContainer(pod.uid, 'c0')).rejects.toThrow(MISSED);
      await until(() => news().some((each) => each.startsWith('GpuRefusedByNode') && MISSED.test(each)), true);
      if (binding === 'cdi') expect(stand.environmentOf(pod, 'c0')).toBeUndefined();
      const back = new FakeMpsDaemon(pipes);
      await stand.kubelet.startContainer(pod.uid, 'c0');
      expect(stand.environmentOf(pod, 'c0')).toMatchObject({
        CUDA_MPS_PIPE_DIRECTORY: pipes,
        CUDA_MPS_PINNED_DEVICE_MEM_LIMIT: '0=4096M',
      });
      back.die();
    },
  );

  it('offers no isolation and no GPU until it is back, and says so once', async () => {
    const daemon = new FakeMpsDaemon(pipes);
    await start(QUICK);
    await until(offer, 'mps, 1 open');
    expect(await gauge()).toBe('1');
    const running = stand.bind({ name: 'running', slices: [12], gpus: [0] });
    await stand.kubelet.run(running);

    daemon.die();
    await until(offer, 'none, 0 open');
    expect(await gauge()).toBe('0');
    // What runs stays, with its slices; the kubelet is told nothing.
    expect(stand.kubelet.allocatable(MEMORY)).toBe(16);
    await expect(stand.kubelet.startContainer(running.uid, 'c0')).rejects.toThrow(MISSED);

    const back = new FakeMpsDaemon(pipes);
    await until(offer, 'mps, 1 open');
    expect(await gauge()).toBe('1');
    const greedy = stand.bind({ name: 'greedy', slices: [12], gpus: [0] });
    stand.kubelet.remove(running.uid);
    expect((await stand.kubelet.admit(greedy)).kind).toBe('admitted');
    await expect(stand.kubelet.startContainer(greedy.uid, 'c0')).rejects.toThrow(/held by default\/running/);

    await until(() => aboutNode().length, 2);
    expect(aboutNode()[0]).toMatch(/^MpsDaemonReached: .* isolation mps is offered again$/);
    expect(aboutNode()[1]).toMatch(/^MpsDaemonUnreachable: the MPS control daemon cannot .* new pods are kept away/);
    expect(stand.warnings.filter((each) => each.includes('new pods are kept away'))).toHaveLength(1);
    back.die();
  });

  it('goes on offering what it did while the daemon only restarts', async () => {
    const daemon = new FakeMpsDaemon(pipes);
    await start(PATIENT);
    await until(offer, 'mps, 1 open');
    daemon.quit();
    await until(gauge, '0');
    expect(offer()).toBe('mps, 1 open');
    const back = new FakeMpsDaemon(pipes);
    await until(gauge, '1');
    expect(aboutNode()).toEqual([]);
    back.die();
  });
});

describe('an agent that starts without its MPS control daemon', () => {
  it('offers no isolation from the first, says why, and starts no container', async () => {
    await start(PATIENT);
    await until(offer, 'none, 0 open');
    expect(stand.warnings.join('\n')).toMatch(/\/control is not there; no GPU container starts on this node/);
    const pod = stand.bind({ name: 'p', slices: [4], gpus: [0] });
    await stand.kubelet.admit(pod);
    await expect(stand.kubelet.startContainer(pod.uid, 'c0')).rejects.toThrow(/cannot be reached: .* is not there/);
  });
});
