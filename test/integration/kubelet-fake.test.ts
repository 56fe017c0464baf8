// The fake kubelet keeps to what real kubelets do; tests of binding rest on it.

import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../device-plugin/kubelet/checkpoint.ts';
import type { Admission, FakeKubelet, FakeKubeletSettings, FakePod } from '../support/fake-kubelet.ts';
import { MEMORY, PluginBench, slices } from '../support/plugin-bench.ts';
import type { PluginOptions } from '../support/plugin-bench.ts';

let bench: PluginBench;
beforeEach(() => {
  bench = new PluginBench();
});
afterEach(() => bench.close());

async function kubeletWith(
  count: number,
  options: PluginOptions = {},
  settings: Partial<FakeKubeletSettings> = {},
): Promise<FakeKubelet> {
  const kubelet = await bench.kubelet(settings);
  bench.plugin({ preferredAvailable: false, ...options }).setDevices(slices(count));
  await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === count, 'the list');
  return kubelet;
}

function pod(uid: string, containers: Record<string, number>, rest: Partial<FakePod> = {}): FakePod {
  const list = Object.entries(containers).map(([name, count]) => ({ name, limits: { [MEMORY]: count } }));
  return { uid, namespace: 'default', name: uid, containers: list, ...rest };
}

async function reasonOf(admission: Promise<Admission>): Promise<string> {
  const outcome = await admission;
  return outcome.kind === 'rejected' ? outcome.message : outcome.kind;
}

describe('the fake kubelet', () => {
  it('gives the ids of an init container to the app containers again, and keeps those of a sidecar', async () => {
    const kubelet = await kubeletWith(16);
    await kubelet.run(
      pod(
        'p',
        { first: 2, second: 3 },
        {
          initContainers: [
            { name: 'init', limits: { [MEMORY]: 4 } },
            { name: 'sidecar', limits: { [MEMORY]: 1 }, isSidecar: true },
          ],
        },
      ),
    );
    const of = (name: string): Set<string> => new Set(kubelet.idsOf('p', name, MEMORY));
    const shared = (a: string, b: string): number => [...of(a)].filter((id) => of(b).has(id)).length;
    expect([of('init').size, of('sidecar').size, of('first').size, of('second').size]).toEqual([4, 1, 2, 3]);
    expect([shared('init', 'sidecar'), shared('init', 'first'), shared('init', 'second')]).toEqual([1, 2, 1]);
    expect([shared('first', 'second'), shared('sidecar', 'first'), shared('sidecar', 'second')]).toEqual([0, 0, 0]);
    expect(kubelet.calls.filter(({ method }) => method === 'PreStartContainer')).toHaveLength(4);
  });

  it('picks ids in no order, the same for the same seed', async () => {
    const kubelet = await kubeletWith(64);
    await kubelet.admit(pod('p', { main: 8 }));
    const ids = kubelet.idsOf('p', 'main', MEMORY);
    expect(ids).not.toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(8);
  });

  it('admits one pod at a time and never gives an id to two', async () => {
    let running = 0;
    let most = 0;
    const kubelet = await kubeletWith(40, {
      handlers: {
        allocate: async () => {
          most = Math.max(most, ++running);
          await new Promise(setImmediate);
          running -= 1;
          return {};
        },
      },
    });
    const pods = Array.from({ length: 10 }, (_, index) => pod(`p${index}`, { main: 4 }));
    await Promise.all(pods.map((each) => kubelet.admit(each)));
    const ids = pods.flatMap(({ uid }) => kubelet.idsOf(uid, 'main', MEMORY));
    expect([most, ids.length, new Set(ids).size]).toEqual([1, 40, 40]);
    expect(await reasonOf(kubelet.admit(pod('late', { main: 1 })))).toMatch(/Requested: 1, Available: 0/);
    kubelet.remove('p3');
    expect(await reasonOf(kubelet.admit(pod('next', { main: 4 })))).toBe('admitted');
  });

  it('rejects for an unknown resource, for devices that are all unhealthy and for a refusing plugin, and leaks no id', async () => {
    let refuses = true;
    const kubelet = await kubeletWith(4, {
      handlers: { allocate: () => (refuses ? Promise.reject(new Error('no')) : Promise.resolve({})) },
    });
    const unknown = { ...pod('u', {}), containers: [{ name: 'c', limits: { 'other.io/gpu': 1 } }] };
    expect(await reasonOf(kubelet.admit(unknown))).toMatch(/unregistered device other.io\/gpu/);
    expect(await reasonOf(kubelet.admit(pod('refused', { main: 4 })))).toMatch(/no$/);
    refuses = false;
    expect(await reasonOf(kubelet.admit(pod('taken', { main: 4 })))).toBe('admitted');
    kubelet.endpoint(MEMORY)?.close();
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 0, 'the end of the stream');
    expect(await reasonOf(kubelet.admit(pod('late', { main: 1 })))).toMatch(/no healthy devices present/);
  });

  it('lists a pod from before its admission, also once it is rejected, until it is removed', async () => {
    const listed: string[][] = [];
    const kubelet = await kubeletWith(4, {
      handlers: {
        allocate: () => {
          listed.push(kubelet.podResources().map(({ name }) => name));
          return Promise.reject(new Error('no'));
        },
      },
    });
    await kubelet.admit(pod('p', { main: 2 }));
    expect([listed, kubelet.podResources().map(({ name }) => name)]).toEqual([[['p']], ['p']]);
    kubelet.remove('p');
    expect(kubelet.podResources()).toEqual([]);
  });

  it('may give ids twice when a pod goes and the books are listed during an Allocate, as kubelets do', async () => {
    let during = (): void => undefined;
    const kubelet = await kubeletWith(4, {
      handlers: {
        allocate: () => {
          during();
          return Promise.resolve({});
        },
      },
    });
    await kubelet.admit(pod('gone', { main: 2 }));
    during = () => {
      kubelet.remove('gone');
      kubelet.podResources();
    };
    await kubelet.admit(pod('first', { main: 2 }));
    await kubelet.admit(pod('second', { main: 4 }));
    const of = (uid: string): readonly string[] => kubelet.idsOf(uid, 'main', MEMORY);
    expect(of('first').every((id) => of('second').includes(id))).toBe(true);
  });

  it.each([
    ['old', false],
    ['new', true],
  ] as const)(
    'of the %s generation, restarted without a plugin, rejects pods that never ran: %s',
    async (generation, isRejected) => {
      const kubelet = await kubeletWith(8, {}, { generation });
      await kubelet.run(pod('running', { main: 2 }));
      await kubelet.admit(pod('admitted', { main: 2 }));
      await kubelet.restart();
      expect(['running', 'admitted'].map((uid) => kubelet.isRejected(uid))).toEqual([false, isRejected]);
    },
  );

  it.each([
    ['numa-map', '"DeviceIDs":{"-1":["GPU-0::'],
    ['list', '"DeviceIDs":["GPU-0::'],
  ] as const)('writes its checkpoint as a %s', async (checkpointFormat, text) => {
    const kubelet = await kubeletWith(4, {}, { checkpointFormat });
    await kubelet.admit(pod('p', { main: 2 }));
    expect(readFileSync(kubelet.checkpointPath, 'utf8')).toContain(text);
    const deviceIds = kubelet.idsOf('p', 'main', MEMORY);
    expect(await readCheckpoint(kubelet.checkpointPath)).toMatchObject({
      entries: [{ podUid: 'p', container: 'main', resourceName: MEMORY, deviceIds }],
    });
  });
});
