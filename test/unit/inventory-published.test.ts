import { describe, expect, it } from 'vitest';

import { NO_RESERVE, slicesOf, toInventory } from '../../device-plugin/inventory/to-inventory.ts';
import type { InventoryOptions } from '../../device-plugin/inventory/to-inventory.ts';
import { changesBetween } from '../../device-plugin/inventory/events.ts';
import { cleanModel, sysfsBusId } from '../../device-plugin/inventory/gpu-identity.ts';
import type { GpuReading, InventoryReading, ReadableGpu } from '../../device-plugin/inventory/source.ts';
import type { HealthVerdict } from '../../device-plugin/health/state.ts';
import { decodeInventory, encodeInventory } from '../../extender/core/inventory-codec.ts';

const OPTIONS: InventoryOptions = { unitMiB: 1024, isolation: 'none', reserve: NO_RESERVE };
const HEALTHY: HealthVerdict = { health: 'healthy', reason: '', overridden: false };
const healthy = (): HealthVerdict => HEALTHY;

function readable(index: number, changes: Partial<ReadableGpu> = {}): ReadableGpu {
  return {
    kind: 'readable',
    uuid: `GPU-${index}`,
    index,
    minor: index,
    model: 'NVIDIA T4',
    memoryMiB: 15_360,
    pciBusId: `00000000:0${index}:00.0`,
    numa: 0,
    mig: 'unsupported',
    ecc: undefined,
    memoryUsedMiB: 0,
    smUtilisation: undefined,
    memoryUtilisation: undefined,
    processes: [],
    ...changes,
  };
}

function reading(gpus: readonly GpuReading[], links: InventoryReading['links'] = []): InventoryReading {
  return { source: 'test', driverVersion: '1', gpus, links };
}

function lost(index: number): GpuReading {
  return { kind: 'unreadable', index, uuid: `GPU-${index}`, pciBusId: '', why: 'GPU_IS_LOST' };
}

describe('the published inventory', () => {
  it('counts whole slices and lists GPUs by index, whatever the order of the reading', () => {
    const { inventory, notes } = toInventory(
      reading([readable(1), readable(0, { memoryMiB: 15_359 })]),
      OPTIONS,
      healthy,
      undefined,
    );
    expect(inventory.gpus.map(({ uuid, slices, health }) => [uuid, slices, health])).toEqual([
      ['GPU-0', 14, 'healthy'],
      ['GPU-1', 15, 'healthy'],
    ]);
    expect(notes).toEqual([]);
  });

  it('reads back from its annotation unchanged', () => {
    const links = [{ between: ['GPU-0', 'GPU-1'] as const, weight: 340 }];
    const { inventory } = toInventory(reading([readable(0), readable(1)], links), OPTIONS, healthy, undefined);
    expect(decodeInventory(encodeInventory(inventory))).toEqual({ kind: 'inventory', source: 'gpuloom', inventory });
    expect(inventory.links).toEqual([
      [0, 340],
      [340, 0],
    ]);
  });

  it('keeps a lost GPU with its last identity, unhealthy, and its links', () => {
    const links = [{ between: ['GPU-0', 'GPU-1'] as const, weight: 340 }];
    const before = toInventory(reading([readable(0), readable(1)], links), OPTIONS, healthy, undefined).inventory;
    const { inventory, notes } = toInventory(reading([lost(0), readable(1)]), OPTIONS, healthy, before);
    expect(inventory.gpus).toEqual(before.gpus.map((gpu, at) => (at === 0 ? { ...gpu, health: 'unhealthy' } : gpu)));
    expect(inventory.links).toEqual(before.links);
    expect(notes).toEqual([{ gpu: 'GPU-0', why: 'it cannot be read: GPU_IS_LOST' }]);
  });

  it('keeps a GPU that the driver no longer lists until the caller forgets it', () => {
    const before = toInventory(reading([readable(0), readable(1)]), OPTIONS, healthy, undefined).inventory;
    const after = toInventory(reading([readable(1)]), OPTIONS, healthy, before);
    expect(after.inventory.gpus.map(({ uuid, health }) => [uuid, health])).toEqual([
      ['GPU-0', 'unhealthy'],
      ['GPU-1', 'healthy'],
    ]);
    expect(toInventory(reading([readable(1)]), OPTIONS, healthy, undefined).inventory.gpus).toHaveLength(1);
  });

  it('leaves out a broken GPU that was never read, and says so', () => {
    const { inventory, notes } = toInventory(reading([lost(0), readable(1)]), OPTIONS, healthy, undefined);
    expect(inventory.gpus.map(({ uuid }) => uuid)).toEqual(['GPU-1']);
    expect(notes).toEqual([{ gpu: 'GPU-0', why: 'it is not listed: it cannot be read: GPU_IS_LOST' }]);
  });

  it('calls a GPU what its health says, with the reason', () => {
    const sick: HealthVerdict = { health: 'unhealthy', reason: 'XID 79', overridden: false };
    const { inventory, notes } = toInventory(
      reading([readable(0), readable(1)]),
      OPTIONS,
      (uuid) => (uuid === 'GPU-1' ? sick : HEALTHY),
      undefined,
    );
    expect(inventory.gpus.map(({ health }) => health)).toEqual(['healthy', 'unhealthy']);
    expect(notes).toEqual([{ gpu: 'GPU-1', why: 'XID 79' }]);
  });

  it('takes a GPU that nobody has judged as unhealthy', () => {
    const { inventory } = toInventory(reading([readable(0)]), OPTIONS, () => undefined, undefined);
    expect(inventory.gpus[0]?.health).toBe('unhealthy');
  });

  it('lets an operator keep an unreadable GPU healthy', () => {
    const before = toInventory(reading([readable(0)]), OPTIONS, healthy, undefined).inventory;
    const forced: HealthVerdict = { health: 'healthy', reason: '', overridden: true };
    const { inventory } = toInventory(reading([lost(0)]), OPTIONS, () => forced, before);
    expect(inventory.gpus[0]?.health).toBe('healthy');
  });

  it('does not share a GPU with MIG enabled, even against an override', () => {
    const forced: HealthVerdict = { health: 'healthy', reason: '', overridden: true };
    const { inventory, notes } = toInventory(
      reading([readable(0, { mig: 'enabled' })]),
      OPTIONS,
      () => forced,
      undefined,
    );
    expect(inventory.gpus[0]?.health).toBe('unhealthy');
    expect(notes[0]?.why).toMatch(/MIG is enabled.*disable MIG to share it/);
  });

  it.each([
    { what: 'no reserve', reserve: NO_RESERVE, slices: 15 },
    { what: 'a fixed reserve', reserve: { perGpuMiB: 1024, percent: 0 }, slices: 14 },
    { what: 'a share, where it is larger', reserve: { perGpuMiB: 100, percent: 20 }, slices: 12 },
    { what: 'more than there is', reserve: { perGpuMiB: 20_000, percent: 0 }, slices: 0 },
  ])('shares out what $what leaves', ({ reserve, slices }) => {
    expect(slicesOf(15_360, { unitMiB: 1024, reserve })).toBe(slices);
  });

  it('says when a GPU is too small for a slice', () => {
    const { notes } = toInventory(reading([readable(0, { memoryMiB: 512 })]), OPTIONS, healthy, undefined);
    expect(notes[0]?.why).toMatch(/no slice of 1024 MiB; choose a smaller unit/);
  });

  it('lists at most as many GPUs as the annotation carries, and says which it left out', () => {
    const gpus = Array.from({ length: 65 }, (_, index) => readable(index));
    const { inventory, notes } = toInventory(reading(gpus), OPTIONS, healthy, undefined);
    expect(inventory.gpus).toHaveLength(64);
    expect(decodeInventory(encodeInventory(inventory)).kind).toBe('inventory');
    expect(notes).toEqual([{ gpu: 'GPU-64', why: 'it is not listed: a node has at most 64 GPUs' }]);
  });
});

describe('changes between readings', () => {
  it('tell a GPU that was broken from the first look on', () => {
    expect(changesBetween(reading([readable(0)]), reading([readable(0), lost(1)]))).toEqual([
      { kind: 'lost', uuid: 'GPU-1', why: 'GPU_IS_LOST' },
      { kind: 'inventoryChanged' },
    ]);
  });

  it('do not take a counter that appears or falls back for an error', () => {
    const counted = (uncorrected: number): GpuReading => readable(0, { ecc: { corrected: 0, uncorrected } });
    expect(changesBetween(reading([readable(0)]), reading([counted(4)]))).toEqual([]);
    expect(changesBetween(reading([counted(4)]), reading([counted(0)]))).toEqual([]);
    expect(changesBetween(reading([counted(4)]), reading([counted(5)]))).toEqual([
      { kind: 'doubleBitEcc', uuid: 'GPU-0' },
    ]);
  });
});

describe('names of GPUs', () => {
  it.each([
    ['00000000:3B:00.0', '0000:3b:00.0'],
    ['0000:3b:00.0', '0000:3b:00.0'],
    ['00010000:01:00.0', '10000:01:00.0'],
    ['elsewhere', undefined],
  ])('finds the place on the bus of %s in sysfs', (written, expected) => {
    expect(sysfsBusId(written)).toBe(expected);
  });

  it('cleans model names to what the annotation holds', () => {
    expect(cleanModel('  NVIDIA\tA100\u0000 80GB ')).toBe('NVIDIA A100 80GB');
    expect(cleanModel('x'.repeat(100))).toHaveLength(64);
    expect(cleanModel('')).toBe('unknown');
  });
});
