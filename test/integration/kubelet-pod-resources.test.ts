// The PodResources reader against the fake kubelet and against servers that are slow, old, gone or broken.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../device-plugin/kubelet/clock.ts';
import { openPodResources, PodResourcesError } from '../../device-plugin/kubelet/pod-resources.ts';
import type { PodResourcesReader } from '../../device-plugin/kubelet/pod-resources.ts';
import { loadDevicePluginApi, loadPodResourcesApi } from '../../device-plugin/proto/services.ts';
import type { Empty, ListPodResourcesResponse } from '../../device-plugin/proto/types.ts';
import { MEMORY, PluginBench, slices } from '../support/plugin-bench.ts';

type Answer = sendUnaryData<ListPodResourcesResponse>;

let bench: PluginBench;
let readers: PodResourcesReader[] = [];
let servers: Server[] = [];
beforeEach(() => {
  bench = new PluginBench();
});
afterEach(async () => {
  for (const reader of readers) reader.close();
  for (const server of servers) server.forceShutdown();
  [readers, servers] = [[], []];
  await bench.close();
});

function readerOf(socketPath: string, clock = systemClock): PodResourcesReader {
  const reader = openPodResources({ socketPath, clock });
  readers.push(reader);
  return reader;
}

async function lister(socketPath: string, List: (answer: Answer) => void): Promise<Server> {
  const server = new Server();
  servers.push(server);
  server.addService(loadPodResourcesApi(), {
    List: (_call: ServerUnaryCall<Empty, ListPodResourcesResponse>, answer: Answer) => {
      List(answer);
    },
  });
  await bind(server, socketPath);
  return server;
}

function bind(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}

async function problemOf(list: Promise<unknown>): Promise<string> {
  const error = await list.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof PodResourcesError ? error.problem : `no problem: ${String(error)}`;
}

const named = (name: string): ListPodResourcesResponse => ({
  pod_resources: [{ name, namespace: 'default', containers: [] }],
});

describe('the list of pods', () => {
  it('names pod, container and the ids of each resource, over NUMA nodes together, already inside PreStartContainer', async () => {
    const kubelet = await bench.kubelet();
    const reader = readerOf(kubelet.podResourcesSocket);
    const seen: (readonly string[])[] = [];
    const plugin = bench.plugin({
      handlers: {
        prefer: () => ['GPU-0::0', 'GPU-1::0', 'GPU-0::1'],
        allocate: async () => {
          expect((await reader.listFresh(1_000))[0]?.containers[0]?.devices.get(MEMORY)).toBeUndefined();
          return {};
        },
        preStart: async () => {
          const [pod] = await reader.listFresh(1_000);
          seen.push([pod?.namespace ?? '', pod?.name ?? '', ...(pod?.containers[0]?.devices.get(MEMORY) ?? [])]);
        },
      },
    });
    plugin.setDevices([...slices(2, 'GPU-0', 0), ...slices(2, 'GPU-1', 1)]);
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 4, 'the list');
    await kubelet.run({
      uid: 'u1',
      namespace: 'team-a',
      name: 'web',
      containers: [{ name: 'main', limits: { [MEMORY]: 3 } }],
    });
    expect(seen.map((texts) => texts.toSorted())).toEqual([['GPU-0::0', 'GPU-0::1', 'GPU-1::0', 'team-a', 'web']]);
  });

  it('is asked for once for all who ask at the same time, and once more for those who want it fresh', async () => {
    const waiting: Answer[] = [];
    const path = join(bench.directory, 'pr.sock');
    const arrived: (() => void)[] = [];
    await lister(path, (answer) => {
      waiting.push(answer);
      arrived.shift()?.();
    });
    const reader = readerOf(path);
    const arrival = (): Promise<void> => new Promise((resolve) => arrived.push(resolve));
    const firstArrival = arrival();
    const early = [reader.list(5_000), reader.listFresh(5_000), reader.list(5_000)];
    await firstArrival;
    const late = [reader.listFresh(5_000), reader.listFresh(5_000)];
    const joined = reader.list(5_000);
    const secondArrival = arrival();
    waiting[0]?.(null, named('first'));
    await secondArrival;
    waiting[1]?.(null, named('second'));
    const names = async (lists: readonly Promise<readonly { name: string }[]>[]): Promise<unknown[]> =>
      (await Promise.all(lists)).map(([pod]) => pod?.name);
    expect(await names([early[0] ?? joined, early[2] ?? joined, joined])).toEqual(['first', 'first', 'first']);
    expect(await names([early[1] ?? joined, ...late])).toEqual(['second', 'second', 'second']);
    expect(waiting).toHaveLength(2);
  });

  it('is not asked for more often than the kubelet allows', async () => {
    const path = join(bench.directory, 'pr.sock');
    await lister(path, (answer) => {
      answer(null, named('pod'));
    });
    let pausedMillis = 0;
    const clock = {
      ...systemClock,
      monotonicMillis: () => 0,
      after: (millis: number, action: () => void) => {
        if (millis < 5_000) pausedMillis += millis;
        return systemClock.after(millis < 5_000 ? 0 : millis, action);
      },
    };
    const reader = readerOf(path, clock);
    for (let call = 0; call < 30; call++) await reader.listFresh(5_000);
    // Five at once, then each after 20 ms more than the one before, because this clock stands still.
    expect(pausedMillis).toBe(20 * ((25 * 26) / 2));
  });
});

describe('a problem', () => {
  it('is "unavailable" while nobody listens, and over as soon as somebody does', async () => {
    const path = join(bench.directory, 'pr.sock');
    const reader = readerOf(path);
    expect(await problemOf(reader.list(5_000))).toBe('unavailable');
    const server = await lister(path, (answer) => {
      answer(null, named('pod'));
    });
    expect(await reader.list(5_000)).toHaveLength(1);
    server.forceShutdown();
    rmSync(path, { force: true });
    expect(await problemOf(reader.list(5_000))).toBe('unavailable');
    await lister(path, (answer) => {
      answer(null, named('again'));
    });
    expect(await reader.listFresh(5_000)).toMatchObject([{ name: 'again' }]);
  });

  it('is "too-slow" for the caller whose time is up, and for nobody else', async () => {
    const path = join(bench.directory, 'pr.sock');
    const release = Promise.withResolvers<Answer>();
    await lister(path, release.resolve);
    const reader = readerOf(path);
    const patient = reader.list(10_000);
    expect(await problemOf(reader.list(30))).toBe('too-slow');
    (await release.promise)(null, named('pod'));
    expect(await patient).toHaveLength(1);
  });

  it('is "refused" when the kubelet answers with an error, "unsupported" when it is too old', async () => {
    const path = join(bench.directory, 'pr.sock');
    await lister(path, (answer) => {
      answer({ code: status.RESOURCE_EXHAUSTED, details: 'rejected by rate limit' });
    });
    await expect(readerOf(path).list(5_000)).rejects.toThrow(/rejected by rate limit/);
    expect(await problemOf(readerOf(path).list(5_000))).toBe('refused');
    const old = new Server();
    servers.push(old);
    old.addService(loadDevicePluginApi().registration, { Register: () => undefined });
    await bind(old, join(bench.directory, 'old.sock'));
    expect(await problemOf(readerOf(join(bench.directory, 'old.sock')).list(5_000))).toBe('unsupported');
  });

  it('is "closed" for everybody who waits when the reader is closed, and afterwards', async () => {
    const path = join(bench.directory, 'pr.sock');
    const asked = Promise.withResolvers<void>();
    await lister(path, () => {
      asked.resolve();
    });
    const reader = readerOf(path);
    const waiting = [reader.list(10_000), reader.listFresh(10_000)].map(problemOf);
    await asked.promise;
    reader.close();
    expect(await Promise.all(waiting)).toEqual(['closed', 'closed']);
    expect(await problemOf(reader.list(10_000))).toBe('closed');
  });
});
