// What only NVML does: events as they happen, drivers that hang, sessions that must be renewed, old and odd drivers.

import { load } from 'koffi';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';

import { chooseInventory } from '../../device-plugin/inventory/choose.ts';
import { openNvml } from '../../device-plugin/inventory/nvml.ts';
import type { NvmlOptions } from '../../device-plugin/inventory/nvml.ts';
import { NVML_LAYOUT } from '../../device-plugin/inventory/nvml-structs.ts';
import type { GpuEvent, InventorySource, ReadableGpu } from '../../device-plugin/inventory/source.ts';
import { FakeNvmlBuilder, missingCompiler } from '../support/fake-nvml/fake-nvml.ts';
import type { FakeNvml } from '../support/fake-nvml/fake-nvml.ts';
import { nvmlState, scene, sceneGpu } from '../support/gpu-scene.ts';
import type { NvmlExtras, Scene } from '../support/gpu-scene.ts';

const TWO = scene([sceneGpu(0), sceneGpu(1)]);
const EVENT = { doubleBitEcc: 2, xid: 8 } as const;
const builder = new FakeNvmlBuilder();
const empty = mkdtempSync(join(tmpdir(), 'gpuloom-no-numa-'));
const opened: InventorySource[] = [];

afterEach(async () => {
  for (const source of opened.splice(0)) await source.close();
});
afterAll(() => {
  builder.remove();
  rmSync(empty, { recursive: true, force: true });
});

interface Bench {
  readonly nvml: FakeNvml;
  readonly source: InventorySource;
  readonly events: GpuEvent[];
  readonly show: (scene: Scene, extras?: NvmlExtras) => void;
}

async function bench(
  extras: NvmlExtras = {},
  options: NvmlOptions & { readonly driver?: 'new' | 'old' } = {},
): Promise<Bench> {
  const { driver, ...nvmlOptions } = options;
  const nvml = builder.create(nvmlState(TWO, extras), driver);
  const source = await openNvml({
    library: nvml.library,
    numa: () => Promise.resolve(-1),
    eventWaitMillis: 10,
    eventRetryMillis: 1,
    renewMillis: 0,
    ...nvmlOptions,
  });
  opened.push(source);
  const events: GpuEvent[] = [];
  source.subscribe((event) => events.push(event));
  return {
    nvml,
    source,
    events,
    show: (next, more) => {
      nvml.setState(nvmlState(next, more));
    },
  };
}

/** What the stand-in counts. */
function count(nvml: FakeNvml, what: 'fakeHanging' | 'fakeSessions' | 'fakeSets' | 'fakeRegistered'): unknown {
  return load(nvml.library).func(`int ${what}()`)();
}

async function readableGpus(source: InventorySource): Promise<readonly ReadableGpu[]> {
  return (await source.read()).gpus.flatMap((gpu) => (gpu.kind === 'readable' ? [gpu] : []));
}

describe.skipIf(missingCompiler !== '')(`NVML ${missingCompiler}`, () => {
  it('is read with the layouts that a C compiler gives its structures', () => {
    const { library } = builder.create('');
    const layout: unknown = load(library).func('const char *fakeLayout()')();
    expect(JSON.parse(String(layout))).toEqual(NVML_LAYOUT);
  });

  it('tells XIDs and double-bit errors with the GPU they happened to', async () => {
    const { source, events, show } = await bench();
    await source.read();
    show(TWO, { lines: [`event 1 1 ${EVENT.xid} 79`] });
    await vi.waitFor(() => {
      expect(events).toEqual([{ kind: 'xid', uuid: sceneGpu(1).uuid, xid: 79 }]);
    });
    show(TWO, { lines: [`event 2 0 ${EVENT.doubleBitEcc} 0`] });
    await vi.waitFor(() => {
      expect(events.slice(1)).toEqual([{ kind: 'doubleBitEcc', uuid: sceneGpu(0).uuid }]);
    });
  });

  it('tells an event of a device that it does not know without a name', async () => {
    const { source, events, show } = await bench();
    await source.read();
    show(TWO, { lines: [`event 1 -1 ${EVENT.xid} 62`] });
    await vi.waitFor(() => {
      expect(events).toEqual([{ kind: 'xid', uuid: undefined, xid: 62 }]);
    });
  });

  it('says once which GPUs have no events, and still hears the others', async () => {
    const { source, events, nvml } = await bench();
    const state = nvmlState(TWO).replace(/ 10 0 0$/m, ' 0 0 0');
    nvml.setState(state);
    await source.read();
    await vi.waitFor(() => {
      expect(events).toHaveLength(1);
    });
    expect(events[0]).toMatchObject({ kind: 'trouble' });
    nvml.setState(`${state}event 1 1 ${EVENT.xid} 79\n`);
    await vi.waitFor(() => {
      expect(events.slice(1)).toEqual([{ kind: 'xid', uuid: sceneGpu(1).uuid, xid: 79 }]);
    });
  });

  it('goes on hearing events after the wait for them failed', async () => {
    const { source, events, show } = await bench();
    await source.read();
    show(TWO, { lines: ['wait 999'] });
    await vi.waitFor(() => {
      expect(events.some((event) => event.kind === 'trouble' && event.why.includes('UNKNOWN'))).toBe(true);
    });
    show(TWO, { lines: [`event 1 0 ${EVENT.xid} 48`] });
    await vi.waitFor(() => {
      expect(events.at(-1)).toEqual({ kind: 'xid', uuid: sceneGpu(0).uuid, xid: 48 });
    });
  });

  it('finds out which GPU is lost when the wait for events says that one is', async () => {
    const { source, events, show } = await bench();
    await source.read();
    show(scene([sceneGpu(0), sceneGpu(1, { broken: true })]), { lines: ['wait 15'] });
    await vi.waitFor(() => {
      expect(events.filter(({ kind }) => kind === 'lost')).toMatchObject([{ uuid: sceneGpu(1).uuid }]);
    });
  });

  it('sees a GPU again after it was lost, which takes a fresh session', async () => {
    let nowMillis = 0;
    const { source, events, show } = await bench({}, { renewMillis: 1_000, monotonicMillis: () => nowMillis });
    await source.read();
    show(scene([sceneGpu(0, { broken: true }), sceneGpu(1)]));
    await source.read();
    show(TWO);
    expect(await readableGpus(source)).toHaveLength(1);
    nowMillis = 1_000;
    expect(await readableGpus(source)).toHaveLength(2);
    expect(events.filter(({ kind }) => kind === 'lost' || kind === 'recovered').map(({ kind }) => kind)).toEqual([
      'lost',
      'recovered',
    ]);
    show(TWO, { lines: [`event 5 0 ${EVENT.xid} 79`] });
    await vi.waitFor(() => {
      expect(events.at(-1)).toEqual({ kind: 'xid', uuid: sceneGpu(0).uuid, xid: 79 });
    });
  });

  it.each([
    [16, /RESET_REQUIRED: reset the GPU/],
    [999, /UNKNOWN/],
    [12345, /code 12345/],
  ])('calls a GPU unreadable when the driver answers %i, in words', async (status, why) => {
    const { source, show } = await bench();
    show(scene([sceneGpu(0, { broken: true }), sceneGpu(1)]), { status });
    const [first, second] = (await source.read()).gpus;
    expect(first?.kind === 'unreadable' ? first.why : '').toMatch(why);
    expect(second?.kind).toBe('readable');
  });

  it('gives up on a GPU whose driver hangs, does not ask it again meanwhile, and reads the others', async () => {
    const { nvml, source, show } = await bench({}, { deadlineMillis: 100 });
    await source.read();
    await vi.waitFor(() => {
      expect(count(nvml, 'fakeRegistered')).toBe(2);
    });
    show(TWO, { hanging: [0] });
    const first = await source.read();
    expect(first.gpus[0]).toMatchObject({ kind: 'unreadable', uuid: sceneGpu(0).uuid });
    expect(first.gpus[0]?.kind === 'unreadable' ? first.gpus[0].why : '').toMatch(/did not answer within 100 ms/);
    expect(first.gpus[1]?.kind).toBe('readable');
    expect((await source.read()).gpus.map(({ kind }) => kind)).toEqual(['unreadable', 'readable']);
    expect(count(nvml, 'fakeHanging')).toBe(1);
    show(TWO);
    await vi.waitFor(async () => {
      expect(await readableGpus(source)).toHaveLength(2);
    });
  });

  it('keeps the event loop free while a driver hangs', async () => {
    const { source, show } = await bench({}, { deadlineMillis: 60 });
    show(TWO, { hanging: [0] });
    let turns = 0;
    const reading = source.read();
    const timer = setInterval(() => turns++, 1);
    await reading;
    clearInterval(timer);
    show(TWO);
    expect(turns).toBeGreaterThan(5);
  });

  it('reads an old driver, which lacks the newer functions', async () => {
    const { source, nvml } = await bench({}, { driver: 'old' });
    nvml.setState(nvmlState(scene([sceneGpu(0, { processes: [{ pid: 7, usedMemoryMiB: 9 }] }), sceneGpu(1)])));
    const [first] = await readableGpus(source);
    expect(first).toMatchObject({ mig: 'unsupported', memoryMiB: 81_920, processes: [{ pid: 7, usedMemoryMiB: 9 }] });
    expect((await source.read()).links).toHaveLength(1);
  });

  it('reads the wider process entries of some drivers', async () => {
    const processes = [1, 2, 3].map((pid) => ({ pid, usedMemoryMiB: pid * 100 }));
    const { source, show } = await bench();
    show(scene([sceneGpu(0, { processes }), sceneGpu(1)]), { lines: ['wide 1'] });
    expect((await readableGpus(source))[0]?.processes).toEqual(processes);
  });

  it('reads more processes than it first made room for, and clients of MPS', async () => {
    const processes = Array.from({ length: 150 }, (_, at) => ({ pid: 1000 + at, usedMemoryMiB: at }));
    const { source, show } = await bench();
    show(scene([sceneGpu(0, { processes }), sceneGpu(1)]), { lines: ['process 1 77 256 1', 'process 0 1000 0 1'] });
    const [first, second] = await readableGpus(source);
    expect(first?.processes).toEqual(processes);
    expect(second?.processes).toEqual([{ pid: 77, usedMemoryMiB: 256 }]);
  });

  it('counts links through a switch by the poorer of the two GPUs', async () => {
    const { source, nvml } = await bench();
    const links = [
      'nvlink 0 0 switch',
      'nvlink 0 1 switch',
      'nvlink 0 2 down',
      'nvlink 1 0 switch',
      'nvlink 1 1 switch',
    ];
    nvml.setState(`${nvmlState(scene([sceneGpu(0), sceneGpu(1), sceneGpu(2)]))}${links.join('\n')}\n`);
    const weights = (await source.read()).links.map(({ weight }) => weight);
    expect(weights).toEqual([140, 10, 10]);
  });

  it('fails as a whole when the driver goes away, and works again when it is back', async () => {
    const { source, show, nvml } = await bench();
    await source.read();
    show(scene([sceneGpu(0, { broken: true })]));
    await source.read();
    nvml.setState(`init 9\n`);
    await expect(source.read()).rejects.toThrow(/nvmlInit_v2 answered DRIVER_NOT_LOADED: load the NVIDIA driver/);
    await expect(source.read()).rejects.toThrow(/DRIVER_NOT_LOADED/);
    show(TWO);
    expect(await readableGpus(source)).toHaveLength(2);
  });

  it('tells at once that every GPU is lost when the driver goes away under the wait for events', async () => {
    const { source, events, show, nvml } = await bench();
    show(scene([sceneGpu(0, { broken: true }), sceneGpu(1)]));
    await source.read();
    nvml.setState('init 9\nwait 1\n');
    await vi.waitFor(() => {
      expect(events.at(-1)).toMatchObject({ kind: 'lost', uuid: undefined });
    });
  });

  it('hears the events of a GPU that came later', async () => {
    const { source, events, show } = await bench();
    await source.read();
    const three = scene([sceneGpu(0), sceneGpu(1), sceneGpu(2)]);
    show(three);
    await source.read();
    show(three, { lines: [`event 1 2 ${EVENT.xid} 74`] });
    await vi.waitFor(() => {
      expect(events.at(-1)).toEqual({ kind: 'xid', uuid: sceneGpu(2).uuid, xid: 74 });
    });
  });

  it('leaves the session of a driver that hangs to the end of the process', async () => {
    const { nvml, source, show } = await bench({}, { deadlineMillis: 50 });
    show(TWO, { hanging: [1] });
    await source.read();
    await source.close();
    expect(count(nvml, 'fakeSessions')).toBe(1);
    show(TWO);
    await vi.waitFor(() => {
      expect(count(nvml, 'fakeHanging')).toBe(0);
    });
  });

  it('releases its session and event set, and does not read, after it was closed', async () => {
    const { nvml, source } = await bench();
    await source.read();
    await source.close();
    expect([count(nvml, 'fakeSessions'), count(nvml, 'fakeSets')]).toEqual([0, 0]);
    await expect(source.read()).rejects.toThrow(/closed/);
  });

  it('says why a library cannot be used', async () => {
    await expect(openNvml({ library: '/no/such/libnvidia-ml.so.1' })).rejects.toThrow(/cannot load .*NVIDIA container/);
    const { library } = builder.create('init 18\n');
    await expect(openNvml({ library })).rejects.toThrow(/LIB_RM_VERSION_MISMATCH: .*restart the agent/);
  });
});

describe('the choice of a source', () => {
  it.skipIf(missingCompiler !== '')(`takes NVML where it works ${missingCompiler}`, async () => {
    const { library } = builder.create(nvmlState(TWO));
    const { source, passedOver } = await chooseInventory('auto', { nvml: { library, eventWaitMillis: 10 } });
    opened.push(source);
    expect([source.name, passedOver]).toEqual(['nvml', []]);
  });

  it('tells all that it tried when there are no GPUs', async () => {
    const options = { nvml: { library: '/no/such/library' }, smi: { program: '/no/such/nvidia-smi' } };
    await expect(chooseInventory('auto', options)).rejects.toThrow(
      /no GPUs can be read.*nvml: cannot load \/no\/such\/library.*smi: \/no\/such\/nvidia-smi -q -x cannot be run: no such program/s,
    );
    await expect(chooseInventory('smi', options)).rejects.toThrow(/^(?!.*nvml:).*smi:/s);
  });

  it('knows its own syntax', async () => {
    await expect(chooseInventory('cuda')).rejects.toThrow(
      '"cuda" is no inventory source; write auto, nvml, smi or file:PATH',
    );
    await expect(chooseInventory('file:')).rejects.toThrow(/no inventory source/);
    await expect(chooseInventory('file:/no/such/gpus.yaml')).rejects.toThrow(/cannot be read \(ENOENT\); create it/);
  });
});
