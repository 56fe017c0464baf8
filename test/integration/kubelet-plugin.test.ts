// The device plugin against the fake kubelet: registration, lists, allocation, refusals, deadlines, a clean end.

import { execFile } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../device-plugin/kubelet/clock.ts';
import type { KubeletClock } from '../../device-plugin/kubelet/clock.ts';
import { listAndWatchBytes } from '../../device-plugin/kubelet/device-list.ts';
import { loadDevicePluginApi } from '../../device-plugin/proto/services.ts';
import type { Admission, FakePod } from '../support/fake-kubelet.ts';
import { CORE, MEMORY, PluginBench, slices } from '../support/plugin-bench.ts';

let bench: PluginBench;
beforeEach(() => {
  bench = new PluginBench();
});
afterEach(() => bench.close());

function pod(uid: string, ...counts: readonly number[]): FakePod {
  const containers = counts.map((count, index) => ({ name: `c${index + 1}`, limits: { [MEMORY]: count } }));
  return { uid, namespace: 'default', name: `pod-${uid}`, containers };
}

async function rejectionOf(admission: Promise<Admission>): Promise<string> {
  const outcome = await admission;
  return outcome.kind === 'rejected' ? outcome.message : 'admitted';
}

/** Real time, except that every wait of at least a second is over at once: deadlines pass without waiting for them. */
const impatientClock: KubeletClock = {
  ...systemClock,
  after: (millis, action) => systemClock.after(millis >= 1_000 ? 20 : millis, action),
};

describe.each(['old', 'new'] as const)('with a kubelet of the %s generation, a plugin', (generation) => {
  it('is served its registration, its list and its pods', async () => {
    const allocated: (readonly string[])[] = [];
    const started: (readonly string[])[] = [];
    const kubelet = await bench.kubelet({ generation });
    const plugin = bench.plugin({
      handlers: {
        prefer: ({ available, size }) => [...available].sort().slice(0, size),
        allocate: (ids) => {
          allocated.push(ids);
          return Promise.resolve({
            env: { GPULOOM_IDS: ids.join(',') },
            mounts: [{ containerPath: '/in', hostPath: '/out', readOnly: true }],
            devices: [{ containerPath: '/dev/nvidia0', hostPath: '/dev/nvidia0', permissions: 'rw' }],
            annotations: { 'cdi.k8s.io/gpuloom': 'gpuloom.io/gpu=1' },
            cdiDevices: ['gpuloom.io/gpu=1'],
          });
        },
        preStart: (ids) => {
          started.push(ids);
          return Promise.resolve();
        },
      },
    });
    plugin.setDevices(slices(8));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8, 'the list');
    await kubelet.run(pod('1', 2, 3));
    const first = ['GPU-0::0', 'GPU-0::1'];
    const second = ['GPU-0::2', 'GPU-0::3', 'GPU-0::4'];
    expect(allocated).toEqual([first, second]);
    expect(started).toEqual([first, second]);
    expect(kubelet.idsOf('1', 'c2', MEMORY)).toEqual(second);
    expect(kubelet.responseOf('1', 'c1', MEMORY)).toEqual({
      envs: { GPULOOM_IDS: first.join(',') },
      mounts: [{ container_path: '/in', host_path: '/out', read_only: true }],
      devices: [{ container_path: '/dev/nvidia0', host_path: '/dev/nvidia0', permissions: 'rw' }],
      annotations: { 'cdi.k8s.io/gpuloom': 'gpuloom.io/gpu=1' },
      cdi_devices: [{ name: 'gpuloom.io/gpu=1' }],
    });
    expect(plugin.status()).toMatchObject({ registered: true, registrations: 1, streams: 1, devices: 8 });
  });

  it('registers although the kubelet comes later than the plugin', async () => {
    const plugin = bench.plugin();
    plugin.setDevices(slices(4));
    const kubelet = await bench.kubelet({ generation });
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4, 'the list');
    expect(plugin.status().registered).toBe(true);
  });

  it('serves two resources side by side', async () => {
    const kubelet = await bench.kubelet({ generation });
    bench.plugin().setDevices(slices(4));
    bench.plugin({ resourceName: CORE, socketPrefix: 'gpuloom-core' }).setDevices(slices(100));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4 && kubelet.allocatable(CORE) === 100, 'both lists');
    const both = { ...pod('1', 0), containers: [{ name: 'c', limits: { [MEMORY]: 2, [CORE]: 30 } }] };
    await kubelet.run(both);
    expect(kubelet.idsOf('1', 'c', CORE)).toHaveLength(30);
  });
});

describe('the list', () => {
  it('is announced first when it is known, and again for each change only', async () => {
    const kubelet = await bench.kubelet();
    const plugin = bench.plugin();
    await new Promise(setImmediate);
    expect(readdirSync(bench.directory)).toEqual(['kubelet.sock']);
    plugin.setDevices(slices(4));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4, 'the first list');
    plugin.setDevices(slices(4));
    plugin.setDevices(slices(3));
    plugin.setDevices(slices(4).map((device, slot) => ({ ...device, healthy: slot !== 1 })));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 3, 'the change');
    expect(kubelet.capacity(MEMORY)).toBe(4);
    expect(kubelet.endpoint(MEMORY)?.lists).toBe(2);
    plugin.setDevices(slices(4, 'GPU-0', 1));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4, 'the recovery');
    expect(kubelet.endpoint(MEMORY)?.devices[0]?.numaNodes).toEqual([1]);
  });

  it('that is too large is refused and the one before it stays', async () => {
    const kubelet = await bench.kubelet();
    const plugin = bench.plugin();
    plugin.setDevices(slices(4));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4, 'the list');
    expect(() => {
      plugin.setDevices(slices(100_000));
    }).toThrow(/slice unit at least 2 times as large/);
    expect(plugin.status().devices).toBe(4);
    expect(kubelet.allocatable(MEMORY)).toBe(4);
  });

  it('of the largest size that is allowed reaches the kubelet', async () => {
    const kubelet = await bench.kubelet();
    bench.plugin().setDevices(slices(60_000));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 60_000, 'the list');
  });
});

describe('a stream whose reader is slow', () => {
  it('gets the newest list when it reads again, not every list in between', async () => {
    const kubelet = await bench.kubelet();
    const plugin = bench.plugin();
    plugin.setDevices(slices(20_000));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 20_000, 'the list');
    const { path } = loadDevicePluginApi().devicePlugin.ListAndWatch;
    const createConnection = () => connect(plugin.status().socketPath ?? '');
    const session = connectHttp2('http://localhost', { createConnection });
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    const stream = session.request(headers);
    // An empty message; nothing is read until resume(), so that the server soon may send no more.
    stream.end(Buffer.alloc(5));
    await once(stream, 'response');
    for (let left = 19_999; left >= 19_980; left--) {
      plugin.setDevices(slices(left));
      await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === left, 'the change');
    }
    const newest = listAndWatchBytes(slices(19_980));
    let received = Buffer.alloc(0);
    const lists: number[] = [];
    stream.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 5 && received.length >= 5 + received.readUInt32BE(1)) {
        lists.push(received.readUInt32BE(1));
        received = received.subarray(5 + received.readUInt32BE(1));
      }
      if (lists.at(-1) === newest) session.destroy();
    });
    await once(session, 'close');
    expect(lists.length).toBeLessThan(6);
  });
});

describe('a refusal', () => {
  const refusing = async (handlers: Parameters<PluginBench['plugin']>[0]) => {
    const kubelet = await bench.kubelet();
    bench.plugin(handlers).setDevices(slices(8));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8, 'the list');
    return kubelet;
  };

  it('of Allocate fails the pod with its reason', async () => {
    const why = 'pod default/a reached this node without an allocation: let the scheduler place it — “ü”\nsecond line';
    const kubelet = await refusing({ handlers: { allocate: () => Promise.reject(new Error(why)) } });
    expect(await rejectionOf(kubelet.admit(pod('1', 2)))).toMatch(
      /UnexpectedAdmissionError.*FAILED_PRECONDITION: pod default\/a reached.*“ü”\nsecond/,
    );
    expect(kubelet.idsOf('1', 'c1', MEMORY)).toEqual([]);
  });

  it('of Allocate that is thrown at once, and one that is no Error, are refusals too', async () => {
    const refusals: unknown[] = ['only text', null];
    const kubelet = await refusing({
      handlers: {
        allocate: () => {
          throw refusals.pop();
        },
      },
    });
    expect(await rejectionOf(kubelet.admit(pod('1', 1)))).toContain('null');
    expect(await rejectionOf(kubelet.admit(pod('2', 1)))).toContain('only text');
  });

  it('of PreStartContainer keeps the container from starting, and a later start asks again', async () => {
    let isReady = false;
    const kubelet = await refusing({
      handlers: {
        preStart: () => (isReady ? Promise.resolve() : Promise.reject(new Error('GPU-0 is over its capacity'))),
      },
    });
    expect((await kubelet.admit(pod('1', 2))).kind).toBe('admitted');
    await expect(kubelet.startContainer('1', 'c1')).rejects.toThrow('GPU-0 is over its capacity');
    isReady = true;
    await kubelet.startContainer('1', 'c1');
    expect(kubelet.calls.filter(({ method }) => method === 'Allocate')).toHaveLength(1);
  });

  it('never comes from GetPreferredAllocation, whose failure would leak ids', async () => {
    const kubelet = await refusing({
      handlers: {
        prefer: () => {
          throw new Error('the inventory is away');
        },
      },
    });
    await kubelet.run(pod('1', 3));
    expect(kubelet.idsOf('1', 'c1', MEMORY)).toHaveLength(3);
    expect(bench.eventsOf('call-failed')).toMatchObject([
      { call: 'GetPreferredAllocation', message: 'the inventory is away' },
    ]);
  });

  it('of a request that no kubelet sends says what is wrong with it', async () => {
    const kubelet = await refusing({});
    const endpoint = kubelet.endpoint(MEMORY);
    const { devicePlugin } = loadDevicePluginApi();
    const many = Array.from({ length: 65 }, () => ({ devices_ids: ['a'] }));
    for (const [container_requests, why] of [
      [[{ devices_ids: [] }], /no device ids/],
      [[{ devices_ids: ['x'.repeat(64)] }], /64 characters/],
      [[{ devices_ids: ['a', 'a'] }], /twice/],
      [[{ devices_ids: Array.from({ length: 200_001 }, (_, i) => `${i}`) }], /200001 device ids/],
      [many, /65 containers/],
    ] as const) {
      await expect(endpoint?.call(devicePlugin.Allocate, { container_requests })).rejects.toThrow(why);
    }
    await expect(endpoint?.call(devicePlugin.PreStartContainer, { devices_ids: [] })).rejects.toThrow(
      /INVALID_ARGUMENT/,
    );
  });
});

describe('a handler that takes too long', () => {
  it.each(['Allocate', 'PreStartContainer'] as const)('in %s is cut off, aborted and named', async (name) => {
    const signals: AbortSignal[] = [];
    const stuck = (_ids: readonly string[], call: { signal: AbortSignal; waitingFor: (what: string) => void }) => {
      signals.push(call.signal);
      call.waitingFor('the pod of these ids to appear in the watch');
      return new Promise<never>(() => undefined);
    };
    const kubelet = await bench.kubelet();
    const handlers = name === 'Allocate' ? { allocate: stuck } : { preStart: stuck };
    bench.plugin({ handlers, clock: impatientClock }).setDevices(slices(8));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8, 'the list');
    const limit = name === 'Allocate' ? 2_000 : 25_000;
    await expect(kubelet.run(pod('1', 2))).rejects.toThrow(
      new RegExp(
        `${name} of 2 devices .* of gpuloom.io/gpu-mem did not finish within ${limit} ms; it waited for the pod`,
      ),
    );
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });

  it('in GetPreferredAllocation is cut off, aborted and answered with any ids', async () => {
    const signals: AbortSignal[] = [];
    const kubelet = await bench.kubelet();
    const prefer = (_question: unknown, call: { signal: AbortSignal; waitingFor: (what: string) => void }) => {
      signals.push(call.signal);
      call.waitingFor('the pod to be seen on this node');
      return new Promise<never>(() => undefined);
    };
    bench.plugin({ handlers: { prefer }, clock: impatientClock }).setDevices(slices(8));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8, 'the list');
    await kubelet.run(pod('1', 3));
    expect(kubelet.idsOf('1', 'c1', MEMORY)).toHaveLength(3);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
    expect(bench.eventsOf('call-failed')[0]?.message).toMatch(
      /GetPreferredAllocation of 3 devices .* did not finish within 1000 ms; it waited for the pod to be seen/,
    );
  });

  it('does not hold up other calls', async () => {
    let release = (): void => undefined;
    const kubelet = await bench.kubelet();
    const preStart = (ids: readonly string[]) =>
      ids.length === 1
        ? new Promise<void>((resolve) => {
            release = resolve;
          })
        : Promise.resolve();
    bench.plugin({ handlers: { preStart } }).setDevices(slices(8));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8, 'the list');
    await kubelet.admit(pod('slow', 1));
    const slow = kubelet.startContainer('slow', 'c1');
    await kubelet.run(pod('quick', 2));
    release();
    await slow;
  });

  it('is aborted when the kubelet goes away', async () => {
    const aborted = Promise.withResolvers<void>();
    const kubelet = await bench.kubelet();
    const preStart = (_ids: readonly string[], { signal }: { signal: AbortSignal }) =>
      new Promise<void>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted.resolve();
          reject(new Error('aborted'));
        });
        void kubelet.stop();
      });
    bench.plugin({ handlers: { preStart } }).setDevices(slices(8));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8, 'the list');
    await kubelet.admit(pod('1', 1));
    await expect(kubelet.startContainer('1', 'c1')).rejects.toThrow();
    await aborted.promise;
  });
});

describe('the socket', () => {
  it('is removed at a stop, which ends the stream in order and may be asked for twice', async () => {
    const kubelet = await bench.kubelet();
    const plugin = bench.plugin();
    plugin.setDevices(slices(4));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4, 'the list');
    const { socketPath } = plugin.status();
    await Promise.all([plugin.stop(), plugin.stop()]);
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 0, 'the end of the stream');
    expect(kubelet.capacity(MEMORY)).toBe(4);
    expect(kubelet.endpoint(MEMORY)?.streamError).toBe('the plugin ended the stream');
    expect(existsSync(socketPath ?? '')).toBe(false);
    expect(plugin.status()).toMatchObject({ registered: false, streams: 0 });
  });

  it('outlives a call that is being served when the stop comes', async () => {
    const entered = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<object>();
    const kubelet = await bench.kubelet();
    const allocate = () => {
      entered.resolve();
      return finish.promise;
    };
    const plugin = bench.plugin({ handlers: { allocate } });
    plugin.setDevices(slices(4));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4, 'the list');
    const admission = kubelet.admit(pod('1', 1));
    await entered.promise;
    const stopped = plugin.stop();
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 0, 'the end of the stream');
    finish.resolve({});
    expect((await admission).kind).toBe('admitted');
    await stopped;
  });

  it('of an earlier run is removed, of a living plugin or of anybody else is not', async () => {
    const kubelet = await bench.kubelet();
    const abandoned = join(bench.directory, 'gpuloom-mem-00000001.sock');
    const alive = join(bench.directory, 'gpuloom-mem-00000002.sock');
    const foreign = join(bench.directory, 'nvidia-gpu.sock');
    const listener = createServer();
    await new Promise<void>((resolve) => {
      listener.listen(alive, resolve);
    });
    await leaveSocketBehind(abandoned);
    await leaveSocketBehind(foreign);
    writeFileSync(join(bench.directory, 'gpuloom-mem-notes.txt'), 'kept');
    bench.plugin().setDevices(slices(4));
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4, 'the list');
    expect(existsSync(abandoned)).toBe(false);
    expect(bench.eventsOf('stale-socket-removed').map(({ socketPath }) => socketPath)).toEqual([abandoned]);
    for (const name of [alive, foreign, join(bench.directory, 'gpuloom-mem-notes.txt')])
      expect(existsSync(name)).toBe(true);
    listener.close();
  });

  it('with a path beyond 107 bytes is refused before anything starts', () => {
    expect(() => bench.plugin({ socketPrefix: 'gpuloom-mem'.repeat(9) })).toThrow(/unix sockets allow 107/);
    expect(() => bench.plugin({ socketPrefix: '../escape' })).toThrow(/lower-case letters/);
  });
});

/** A socket file that nobody listens on, as a killed process leaves it. */
async function leaveSocketBehind(path: string): Promise<void> {
  const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await new Promise<void>((resolve) => {
    execFile(process.execPath, ['-e', script], () => {
      resolve();
    });
  });
}
