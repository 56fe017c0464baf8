// What every inventory source must do, whatever it reads from. Run by the test of each source.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { GpuEvent, InventoryReading, InventorySource, ReadableGpu } from '../../device-plugin/inventory/source.ts';
import { scene, sceneGpu } from '../support/gpu-scene.ts';
import type { Scene } from '../support/gpu-scene.ts';

export interface InventorySubject {
  readonly source: InventorySource;
  /** Changes what the source will read next. */
  show(scene: Scene): void;
  close(): Promise<void>;
}

export type OpenSubject = (scene: Scene) => Promise<InventorySubject>;

const TWO = scene([sceneGpu(0), sceneGpu(1)]);

export function inventorySourceContract(name: string, open: OpenSubject): void {
  describe(`inventory source ${name}`, () => {
    let subject: InventorySubject;
    const events: GpuEvent[] = [];

    beforeEach(async () => {
      events.length = 0;
      subject = await open(TWO);
    });

    afterEach(async () => {
      await subject.close();
    });

    const readScene = async (next: Scene): Promise<InventoryReading> => {
      subject.show(next);
      return subject.source.read();
    };
    // Trouble accuses no GPU, and when it is told depends on the source.
    const listen = (): (() => void) =>
      subject.source.subscribe((event) => {
        if (event.kind !== 'trouble') events.push(event);
      });

    identityCases(() => subject, readScene);
    eventCases(() => subject, readScene, listen, events);
  });
}

type ReadScene = (next: Scene) => Promise<InventoryReading>;

function identityCases(subject: () => InventorySubject, readScene: ReadScene): void {
  it('tells who read and which driver', async () => {
    const reading = await subject().source.read();
    expect(reading.source).toBe(subject().source.name);
    expect(reading.driverVersion).toBe('550.54.15');
  });

  it('tells the identity, size and place of each GPU in the order of their indexes', async () => {
    const gpus = readable(await subject().source.read());
    expect(
      gpus.map(({ uuid, index, minor, model, memoryMiB, numa, mig }) => ({
        uuid,
        index,
        minor,
        model,
        memoryMiB,
        numa,
        mig,
      })),
    ).toEqual(
      TWO.gpus.map(({ uuid, minor, model, memoryMiB, numa }, index) => ({
        uuid,
        index,
        minor,
        model,
        memoryMiB,
        numa,
        mig: 'disabled',
      })),
    );
  });

  it('tells memory in use and utilisation, zeros included, each with the name of its source', async () => {
    const idle = sceneGpu(0, { usedMiB: 0, sm: 0, memoryUtil: 0 });
    const [first, second] = readable(await readScene(scene([idle, sceneGpu(1)])));
    expect([first?.memoryUsedMiB, first?.smUtilisation?.percent, first?.memoryUtilisation?.percent]).toEqual([0, 0, 0]);
    expect([second?.memoryUsedMiB, second?.smUtilisation?.percent, second?.memoryUtilisation?.percent]).toEqual([
      1024, 11, 6,
    ]);
    expect(second?.smUtilisation?.source).toMatch(new RegExp(`^${subject().source.name}`));
    expect(second?.memoryUtilisation?.source).toMatch(new RegExp(`^${subject().source.name}`));
  });

  it('lists compute processes with their memory, and says where the memory is not known', async () => {
    const processes = [
      { pid: 4711, usedMemoryMiB: 512 },
      { pid: 4712, usedMemoryMiB: undefined },
    ];
    const [first, second] = readable(await readScene(scene([sceneGpu(0, { processes }), sceneGpu(1)])));
    expect(first?.processes).toEqual(processes);
    expect(second?.processes).toEqual([]);
  });

  it('tells which GPUs have MIG switched on or none at all', async () => {
    const gpus = readable(
      await readScene(scene([sceneGpu(0, { mig: 'enabled' }), sceneGpu(1, { mig: 'unsupported' })])),
    );
    expect(gpus.map(({ mig }) => mig)).toEqual(['enabled', 'unsupported']);
  });

  it('weighs GPUs with more NVLinks between them as closer than others', async () => {
    const gpus = [sceneGpu(0), sceneGpu(1), sceneGpu(2)];
    const nvlinks = [
      [0, 1, 4],
      [0, 2, 2],
    ] as const;
    const { links } = await readScene(scene(gpus, { nvlinks }));
    const weight = (left: number, right: number): number =>
      links.find(({ between }) => [gpus[left]?.uuid, gpus[right]?.uuid].every((uuid) => between.includes(uuid ?? '')))
        ?.weight ?? 0;
    expect(weight(0, 1)).toBeGreaterThan(weight(0, 2));
    expect(weight(0, 2)).toBeGreaterThan(weight(1, 2));
    expect(weight(0, 1)).toBeLessThanOrEqual(1000);
  });

  it('weighs the links of a GPU that came later', async () => {
    expect((await subject().source.read()).links.some(({ between }) => between.includes(sceneGpu(2).uuid))).toBe(false);
    const gpus = [sceneGpu(0), sceneGpu(1), sceneGpu(2)];
    const { links } = await readScene(scene(gpus, { nvlinks: [[1, 2, 2]] }));
    expect(links.some(({ between }) => between.includes(sceneGpu(2).uuid))).toBe(true);
  });

  it('reads a node without GPUs as an empty list', async () => {
    expect((await readScene(scene([]))).gpus).toEqual([]);
  });

  it('shares one reading among calls that overlap', async () => {
    const [first, second] = await Promise.all([subject().source.read(), subject().source.read()]);
    expect(first).toBe(second);
  });

  it('keeps the identity of a GPU that breaks, says why, and reads the others', async () => {
    await subject().source.read();
    const reading = await readScene(scene([sceneGpu(0, { broken: true }), sceneGpu(1)]));
    expect(reading.gpus[0]).toMatchObject({ kind: 'unreadable', index: 0, uuid: sceneGpu(0).uuid });
    expect(reading.gpus[0]?.kind === 'unreadable' ? reading.gpus[0].why : '').toMatch(/lost/i);
    expect(reading.gpus[1]).toMatchObject({ kind: 'readable', index: 1, uuid: sceneGpu(1).uuid });
  });
}

function eventCases(
  subject: () => InventorySubject,
  readScene: ReadScene,
  listen: () => () => void,
  events: readonly GpuEvent[],
): void {
  const faults = (): readonly GpuEvent[] => events.filter(({ kind }) => kind !== 'inventoryChanged');
  const { uuid } = sceneGpu(0);

  it('tells once that a GPU was lost and once that it is back', async () => {
    await subject().source.read();
    listen();
    const broken = scene([sceneGpu(0, { broken: true }), sceneGpu(1)]);
    await readScene(broken);
    await subject().source.read();
    expect(faults()).toMatchObject([{ kind: 'lost', uuid }]);
    await readScene(TWO);
    await subject().source.read();
    expect(faults().slice(1)).toEqual([{ kind: 'recovered', uuid }]);
  });

  it('tells a double-bit error when the counter of uncorrected errors grows', async () => {
    await subject().source.read();
    listen();
    await readScene(scene([sceneGpu(0, { uncorrected: 2 }), sceneGpu(1)]));
    expect(events).toEqual([{ kind: 'doubleBitEcc', uuid }]);
  });

  it('tells that the inventory changed when a GPU comes, and not when only the load changes', async () => {
    await subject().source.read();
    listen();
    await readScene(
      scene([sceneGpu(0, { sm: 99, usedMiB: 70_000, processes: [{ pid: 1, usedMemoryMiB: 1 }] }), sceneGpu(1)]),
    );
    expect(events).toEqual([]);
    await readScene(scene([sceneGpu(0), sceneGpu(1), sceneGpu(2)]));
    expect(events).toEqual([{ kind: 'inventoryChanged' }]);
  });

  it('tells that a GPU is lost when the driver no longer lists it', async () => {
    await subject().source.read();
    listen();
    await readScene(scene([sceneGpu(0)]));
    expect(events).toMatchObject([{ kind: 'lost', uuid: sceneGpu(1).uuid }, { kind: 'inventoryChanged' }]);
  });

  it('tells nothing to those who ended their subscription, and can be closed twice', async () => {
    await subject().source.read();
    const end = listen();
    end();
    await readScene(scene([sceneGpu(0, { broken: true }), sceneGpu(1)]));
    expect(events).toEqual([]);
    await subject().source.close();
    await subject().source.close();
  });
}

function readable(reading: InventoryReading): readonly ReadableGpu[] {
  return reading.gpus.flatMap((gpu) => (gpu.kind === 'readable' ? [gpu] : []));
}
