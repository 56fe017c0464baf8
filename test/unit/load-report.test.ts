import fc from 'fast-check';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { hostReader } from '../../device-plugin/inventory/host.ts';
import type { HostLoad } from '../../device-plugin/inventory/host.ts';
import type { InventoryReading } from '../../device-plugin/inventory/source.ts';
import { ownerOf, ownerReader } from '../../device-plugin/load/cgroup.ts';
import { findOveruse } from '../../device-plugin/load/overuse.ts';
import { whyNotHostPids, type HostPidSetting } from '../../device-plugin/load/pid-namespace.ts';
import { loadReporter, podUses } from '../../device-plugin/load/report.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/cgroups');
const POD = '5f3a6c1e-0b7d-4c63-9f1e-3b8a1c2d4e5f';
const CONTAINER = '0123456789abcdef'.repeat(4);

describe('the owner of a process', () => {
  it.each(readdirSync(FIXTURES).filter((name) => name.startsWith('pod-')))('is found in %s', (name) => {
    expect(ownerOf(readFileSync(join(FIXTURES, name), 'utf8'))).toEqual({ podUid: POD, containerId: CONTAINER });
  });

  it.each(readdirSync(FIXTURES).filter((name) => name.startsWith('host-')))('is nobody in %s', (name) => {
    expect(ownerOf(readFileSync(join(FIXTURES, name), 'utf8'))).toBeUndefined();
  });

  it('of a static pod is its hash', () => {
    const hash = '9c3f9e4a5b6d7081920a1b2c3d4e5f60';
    const path = `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${hash}.slice/cri-containerd-${CONTAINER}.scope`;
    expect(ownerOf(path)).toEqual({ podUid: hash, containerId: CONTAINER });
  });

  it('answers every text', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const owner = ownerOf(`0::/kubepods/${text}`);
        expect(owner === undefined || owner.podUid !== '').toBe(true);
      }),
      { seed: 17 },
    );
  });

  it('is nobody when the process is gone', async () => {
    expect(await ownerReader(join(FIXTURES, 'no-such-folder'))(1)).toBeUndefined();
  });
});

describe('whether process ids are those of the node', () => {
  it.each<[HostPidSetting, string | undefined, RegExp | undefined]>([
    ['auto', 'pid:[4026531836]', undefined],
    ['auto', 'pid:[4026532451]', /not in the PID namespace of the node \(pid:\[4026532451\]\); run it with hostPID/],
    ['auto', undefined, /ns\/pid cannot be read: ENOENT/],
    ['yes', 'pid:[4026532451]', undefined],
    ['no', 'pid:[4026531836]', /hostPids is no/],
  ])('is, with %s in the namespace %s, as expected', async (setting, namespace, why) => {
    const proc = mkdtempSync(join(tmpdir(), 'gpuloom-proc-'));
    mkdirSync(join(proc, 'self/ns'), { recursive: true });
    if (namespace !== undefined) symlinkSync(namespace, join(proc, 'self/ns/pid'));
    const found = await whyNotHostPids(setting, proc);
    rmSync(proc, { recursive: true });
    if (why === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(why);
  });
});

describe('pods above their grant', () => {
  const grant = { podUid: 'p', gpuUuid: 'GPU-a', memoryMiB: 1000 };
  const use = { podUid: 'p', gpuUuid: 'GPU-a', usedMemoryMiB: 600 };

  it('are those whose processes together use more than their containers were given on a GPU', () => {
    expect(findOveruse([grant], [use])).toEqual([]);
    expect(findOveruse([grant], [use, use])).toEqual([
      { podUid: 'p', gpuUuid: 'GPU-a', usedMiB: 1200, grantedMiB: 1000 },
    ]);
    expect(findOveruse([grant, grant], [use, use])).toEqual([]);
    expect(findOveruse([grant], [use, use], 200)).toEqual([]);
  });

  it('include a pod that has nothing on the GPU, and come worst first', () => {
    const stranger = { podUid: 'q', gpuUuid: 'GPU-b', usedMemoryMiB: 5000 };
    expect(findOveruse([grant], [use, use, stranger]).map(({ podUid, grantedMiB }) => [podUid, grantedMiB])).toEqual([
      ['q', 0],
      ['p', 1000],
    ]);
  });

  it('are not guessed where the driver does not tell the memory', () => {
    expect(findOveruse([], [{ podUid: 'q', gpuUuid: 'GPU-b', usedMemoryMiB: undefined }])).toEqual([]);
  });

  it('are never those within their grants, in whatever order things are told', () => {
    const amounts = fc.array(
      fc.tuple(fc.constantFrom('p', 'q'), fc.constantFrom('a', 'b'), fc.integer({ min: 0, max: 100 })),
    );
    fc.assert(
      fc.property(amounts, (list) => {
        const grants = list.map(([podUid, gpuUuid, memoryMiB]) => ({ podUid, gpuUuid, memoryMiB }));
        const uses = list.map(([podUid, gpuUuid, usedMemoryMiB]) => ({ podUid, gpuUuid, usedMemoryMiB })).reverse();
        expect(findOveruse(grants, uses)).toEqual([]);
      }),
      { seed: 18 },
    );
  });
});

const HOST: HostLoad = { cores: 8, cpuPercent: 12.5, loadPerCore: 0.2, memoryTotalMiB: 64_000, memoryUsedMiB: 9_000 };

function reading(): InventoryReading {
  return {
    source: 'nvml',
    driverVersion: '550.54.15',
    links: [],
    gpus: [
      {
        kind: 'readable',
        uuid: 'GPU-a',
        index: 0,
        minor: 0,
        model: 'NVIDIA T4',
        memoryMiB: 15_360,
        pciBusId: '',
        numa: -1,
        mig: 'unsupported',
        ecc: undefined,
        memoryUsedMiB: 0,
        smUtilisation: { percent: 0, source: 'nvml/gpu_util' },
        memoryUtilisation: undefined,
        processes: [
          { pid: 7, usedMemoryMiB: 512 },
          { pid: 8, usedMemoryMiB: undefined },
        ],
      },
      { kind: 'unreadable', uuid: 'GPU-b', index: 1, pciBusId: '', why: 'GPU_IS_LOST' },
    ],
  };
}

interface Bench {
  readonly report: ReturnType<typeof loadReporter>;
  readonly reads: () => number;
  nowMillis: number;
  fail: boolean;
}

function bench(host: () => Promise<HostLoad> = () => Promise.resolve(HOST), whyNoProcesses?: string): Bench {
  let reads = 0;
  const made: Bench = {
    nowMillis: 0,
    fail: false,
    reads: () => reads,
    report: loadReporter({
      node: 'node-1',
      read: () => {
        reads++;
        return made.fail ? Promise.reject(new Error('no driver')) : Promise.resolve(reading());
      },
      host,
      owner: (pid) => Promise.resolve(pid === 7 ? { podUid: POD, containerId: CONTAINER } : undefined),
      whyNoProcesses,
      clock: { wallMillis: () => 1_900_000_000_000 + made.nowMillis, monotonicMillis: () => made.nowMillis },
    }),
  };
  return made;
}

describe('the load report', () => {
  it('tells what is known, leaves out what is not, and keeps zeros', async () => {
    const report = await bench().report();
    expect(JSON.parse(JSON.stringify(report))).toEqual({
      v: 1,
      node: 'node-1',
      producedMillis: 1_900_000_000_000,
      source: 'nvml',
      driverVersion: '550.54.15',
      gpus: [
        {
          uuid: 'GPU-a',
          index: 0,
          memoryTotalMiB: 15_360,
          memoryUsedMiB: 0,
          sm: { percent: 0, source: 'nvml/gpu_util' },
          processes: [{ pid: 7, usedMemoryMiB: 512, podUid: POD, containerId: CONTAINER }, { pid: 8 }],
        },
        { uuid: 'GPU-b', index: 1, unreadable: 'GPU_IS_LOST' },
      ],
      host: HOST,
    });
    expect(podUses(report)).toEqual([{ podUid: POD, gpuUuid: 'GPU-a', usedMemoryMiB: 512 }]);
  });

  it('leaves out processes whose ids mean nothing here, and says why', async () => {
    const report = await bench(undefined, 'not in the PID namespace of the node').report();
    expect(report.processesOmitted).toBe('not in the PID namespace of the node');
    expect(report.gpus.map((gpu) => 'processes' in gpu)).toEqual([false, false]);
    expect(report.gpus[0]).toMatchObject({ memoryUsedMiB: 0, sm: { percent: 0 } });
    expect(podUses(report)).toBeUndefined();
  });

  it('is made once a second however many ask', async () => {
    const made = bench();
    const [first, second] = await Promise.all([made.report(), made.report()]);
    made.nowMillis = 999;
    expect([second, await made.report()]).toEqual([first, first]);
    expect(made.reads()).toBe(1);
    made.nowMillis = 1_000;
    expect((await made.report()).producedMillis).toBe(1_900_000_001_000);
    expect(made.reads()).toBe(2);
  });

  it('fails when the GPUs cannot be read, and tries again for the next caller', async () => {
    const made = bench();
    made.fail = true;
    await expect(made.report()).rejects.toThrow('no driver');
    made.fail = false;
    expect((await made.report()).gpus).toHaveLength(2);
  });

  it('does without the host where that cannot be read', async () => {
    const report = await bench(() => Promise.reject(new Error('no /proc'))).report();
    expect([report.host, report.hostUnreadable]).toEqual([undefined, 'no /proc']);
  });
});

describe('the host', () => {
  it('is read at most once in a while, in figures that are easy to carry', async () => {
    let looks = 0;
    let nowMillis = 0;
    const read = hostReader(() => nowMillis, 5_000, {
      cpu: () => Promise.resolve({ currentLoad: 12.345, avgLoad: 0.5, cpus: [1, 2] }),
      memory: () => {
        looks++;
        return Promise.resolve({ total: 8 * 2 ** 30, available: 3 * 2 ** 30 });
      },
    });
    const expected = { cores: 2, cpuPercent: 12.3, loadPerCore: 0.5, memoryTotalMiB: 8192, memoryUsedMiB: 5120 };
    expect(await read()).toEqual(expected);
    nowMillis = 4_999;
    await read();
    expect(looks).toBe(1);
    nowMillis = 5_000;
    await read();
    expect(looks).toBe(2);
  });

  it('of this machine has memory and cores', async () => {
    const load = await hostReader(() => 0)();
    expect(load.memoryTotalMiB).toBeGreaterThan(load.memoryUsedMiB);
    expect(load.cores).toBeGreaterThan(0);
  });
});
