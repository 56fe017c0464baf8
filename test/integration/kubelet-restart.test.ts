// Kubelets that restart, wipe, vanish and misbehave: the plugin is back each time, and pods keep what they hold.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../device-plugin/kubelet/checkpoint.ts';
import { loadDevicePluginApi } from '../../device-plugin/proto/services.ts';
import type { Empty, RegisterRequest } from '../../device-plugin/proto/types.ts';
import type { FakeKubelet, FakePod } from '../support/fake-kubelet.ts';
import { CORE, MEMORY, PluginBench, slices } from '../support/plugin-bench.ts';

const RESTARTS = 1_000;

let bench: PluginBench;
beforeEach(() => {
  bench = new PluginBench();
});
afterEach(() => bench.close());

const POD: FakePod = {
  uid: 'u1',
  namespace: 'default',
  name: 'web',
  initContainers: [{ name: 'init', limits: { [MEMORY]: 3 } }],
  containers: [
    { name: 'main', limits: { [MEMORY]: 2 } },
    { name: 'side', limits: { [MEMORY]: 2 } },
  ],
};

function announced(kubelet: FakeKubelet, count = 8): Promise<void> {
  return kubelet.waitFor(() => kubelet.allocatable(MEMORY) === count, `${count} devices`);
}

describe('a restarted kubelet', () => {
  it(`is registered with again, ${RESTARTS} times out of ${RESTARTS}`, async () => {
    const kubelet = await bench.kubelet();
    const plugin = bench.plugin();
    plugin.setDevices(slices(8));
    await announced(kubelet);
    const tookMillis: number[] = [];
    for (let restart = 0; restart < RESTARTS; restart++) {
      await kubelet.restart();
      const start = performance.now();
      await announced(kubelet);
      tookMillis.push(performance.now() - start);
    }
    tookMillis.sort((a, b) => a - b);
    const at = (share: number): string => (tookMillis[Math.floor(share * (RESTARTS - 1))] ?? 0).toFixed(0);
    console.log(
      `    kubelet restart to list announced, ${RESTARTS} times: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, worst ${at(1)} ms`,
    );
    expect(tookMillis).toHaveLength(RESTARTS);
    expect(plugin.status()).toMatchObject({ registered: true, streams: 1 });
    expect(bench.eventsOf('serving')).toHaveLength(RESTARTS + 1);
  }, 120_000);

  it('gets every resource back, and keeps what its checkpoint says of running pods', async () => {
    const started: (readonly string[])[] = [];
    const kubelet = await bench.kubelet();
    bench
      .plugin({
        handlers: {
          preStart: (ids) => {
            started.push(ids);
            return Promise.resolve();
          },
        },
      })
      .setDevices(slices(8));
    bench.plugin({ resourceName: CORE, socketPrefix: 'gpuloom-core' }).setDevices(slices(10));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8 && kubelet.allocatable(CORE) === 10, 'both lists');
    await kubelet.run(POD);
    const held = kubelet.idsOf('u1', 'main', MEMORY);
    await kubelet.restart();
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8 && kubelet.allocatable(CORE) === 10, 'both lists');
    await kubelet.startContainer('u1', 'main');
    expect(started.at(-1)).toEqual(held);
    await kubelet.run({ ...POD, uid: 'u2', name: 'other', initContainers: [] });
    const others = [...kubelet.idsOf('u2', 'main', MEMORY), ...kubelet.idsOf('u2', 'side', MEMORY)];
    const mine = ['init', 'main', 'side'].flatMap((name) => kubelet.idsOf('u1', name, MEMORY));
    expect(others.filter((id) => mine.includes(id))).toEqual([]);
    expect(await readCheckpoint(kubelet.checkpointPath)).toMatchObject({ kind: 'read', problems: [] });
  });

  it('after a long absence is found', async () => {
    const absent = Promise.withResolvers<void>();
    const kubelet = await bench.kubelet();
    const plugin = bench.plugin({ onEvent: ({ kind }) => (kind === 'kubelet-absent' ? absent.resolve() : undefined) });
    plugin.setDevices(slices(8));
    await announced(kubelet);
    await kubelet.stop();
    rmSync(bench.directory, { recursive: true });
    await absent.promise;
    mkdirSync(bench.directory);
    const next = await bench.kubelet({ generation: 'new' });
    await announced(next);
  });

  it('that lost or damaged its checkpoint still gets the list', async () => {
    const kubelet = await bench.kubelet();
    bench.plugin().setDevices(slices(8));
    await announced(kubelet);
    await kubelet.run(POD);
    await kubelet.restart(() => {
      writeFileSync(kubelet.checkpointPath, readFileSync(kubelet.checkpointPath).subarray(0, 40));
    });
    await announced(kubelet);
    expect(kubelet.idsOf('u1', 'main', MEMORY)).toEqual([]);
    expect((await readCheckpoint(kubelet.checkpointPath)).kind).toBe('unreadable');
  });
});

describe('a socket of ours that was removed while the kubelet lives', () => {
  it('is made again and registered, and the old stream ends only after that', async () => {
    const kubelet = await bench.kubelet();
    const plugin = bench.plugin();
    plugin.setDevices(slices(8));
    await announced(kubelet);
    const before = plugin.status().socketPath;
    rmSync(before ?? '');
    await kubelet.waitFor(() => kubelet.registrations === 2, 'the second registration');
    await announced(kubelet);
    expect(plugin.status().socketPath).not.toBe(before);
    const kinds = bench.events.map(({ kind }) => kind);
    expect(kinds.indexOf('stream-closed')).toBeGreaterThan(kinds.lastIndexOf('serving'));
  });
});

describe('a kubelet that refuses the registration', () => {
  it('is asked again until it agrees, and the reason is told', async () => {
    const { registration } = loadDevicePluginApi();
    let refusals = 3;
    const server = new Server();
    server.addService(registration, {
      Register: (_call: ServerUnaryCall<RegisterRequest, Empty>, answer: sendUnaryData<Empty>) => {
        refusals -= 1;
        if (refusals < 0) answer(null, {});
        else answer({ code: status.UNKNOWN, details: 'the resource name is taken' });
      },
    });
    await new Promise<void>((resolve) => {
      server.bindAsync(`unix:${bench.directory}/kubelet.sock`, ServerCredentials.createInsecure(), () => {
        resolve();
      });
    });
    const registered = Promise.withResolvers<void>();
    const plugin = bench.plugin({ onEvent: ({ kind }) => (kind === 'registered' ? registered.resolve() : undefined) });
    plugin.setDevices(slices(8));
    await registered.promise;
    expect(bench.eventsOf('registration-failed').map(({ message }) => message)).toEqual(
      Array(3).fill(
        `The kubelet at ${bench.directory}/kubelet.sock did not register gpuloom.io/gpu-mem: the resource name is taken. It is tried again`,
      ),
    );
    expect(bench.eventsOf('serving')).toHaveLength(1);
    server.forceShutdown();
  });
});

describe('two plugins of one resource, as in a rolling update that overlaps', () => {
  it('leave the newer one registered when the older one stops', async () => {
    const kubelet = await bench.kubelet();
    const older = bench.plugin();
    older.setDevices(slices(8));
    await announced(kubelet);
    const newer = bench.plugin();
    newer.setDevices(slices(6));
    await announced(kubelet, 6);
    await older.stop();
    await kubelet.run({ ...POD, initContainers: [] });
    expect(kubelet.allocatable(MEMORY)).toBe(6);
    expect(newer.status()).toMatchObject({ registered: true, streams: 1 });
  });
});
