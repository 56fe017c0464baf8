import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  coreDevices,
  largerUnit,
  memoryDevices,
  parseSliceId,
  sliceId,
} from '../../device-plugin/inventory/devices.ts';
import { isUsableUuid, MAX_UUID_CHARACTERS } from '../../device-plugin/inventory/gpu-identity.ts';
import { LIST_LIMIT_BYTES, listAndWatchBytes } from '../../device-plugin/kubelet/device-list.ts';
import type { Gpu } from '../../extender/core/model.ts';

function gpu(changes: Partial<Gpu> = {}): Gpu {
  return {
    uuid: 'GPU-5f3a6c1e-0000-1111-2222-333344445555',
    index: 0,
    minor: 0,
    model: 'NVIDIA A100-SXM4-80GB',
    memoryMiB: 81_920,
    slices: 80,
    numa: 1,
    health: 'healthy',
    ...changes,
  };
}

const uuids = fc
  .stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,52}$/)
  .filter((text) => text.length <= MAX_UUID_CHARACTERS && isUsableUuid(text));
const slots = fc.integer({ min: 0, max: 999_999 });
const resources = fc.constantFrom('memory' as const, 'core' as const);

describe('slice ids', () => {
  it('name the GPU and the slot, and tell memory from compute', () => {
    expect(sliceId('GPU-a', 'memory', 0)).toBe('GPU-a::0');
    expect(sliceId('GPU-a', 'core', 99)).toBe('GPU-a::c99');
  });

  it('fit the kubelet and read back as what they were made of, for every usable UUID', () => {
    fc.assert(
      fc.property(uuids, resources, slots, (uuid, resource, slot) => {
        const id = sliceId(uuid, resource, slot);
        expect(id.length).toBeLessThanOrEqual(63);
        expect(parseSliceId(id)).toEqual({ kind: 'slice', uuid, resource, slot });
      }),
      { seed: 7 },
    );
  });

  it('are different for different GPUs, resources and slots', () => {
    const place = fc.tuple(uuids, resources, slots);
    fc.assert(
      fc.property(place, place, (left, right) => {
        expect(sliceId(...left) === sliceId(...right)).toBe(JSON.stringify(left) === JSON.stringify(right));
      }),
      { seed: 8 },
    );
  });

  it('of gpushare are known for what they are and name no slot of ours', () => {
    const id = 'GPU-5f3a6c1e-0000-1111-2222-333344445555-_-12';
    expect(parseSliceId(id)).toEqual({ kind: 'gpushare', id });
  });

  it.each([
    '',
    'GPU-a',
    'GPU-a::',
    '::3',
    'GPU-a::-1',
    'GPU-a::01',
    'GPU-a::c',
    'a::b::3',
    'GPU-a::1.5',
    `${'x'.repeat(70)}::1`,
  ])('do not come of %j', (id) => {
    expect(parseSliceId(id)).toEqual({ kind: 'unknown', id });
  });

  it('answer every text', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (id) => {
        expect(['slice', 'gpushare', 'unknown']).toContain(parseSliceId(id).kind);
      }),
      { seed: 9 },
    );
  });

  it('are refused for a UUID that would make them too long', () => {
    expect(() => sliceId('x'.repeat(62), 'memory', 0)).toThrow(
      /longer than 63 characters; give the GPU a shorter UUID/,
    );
    expect(() => sliceId('a', 'memory', -1)).toThrow(/no slice id/);
  });
});

describe('device lists', () => {
  it('have one memory device per slice and a hundred compute devices per GPU', () => {
    expect(memoryDevices([gpu(), gpu({ uuid: 'GPU-b', slices: 3 })])).toHaveLength(83);
    expect(coreDevices([gpu(), gpu({ uuid: 'GPU-b' })])).toHaveLength(200);
    expect(memoryDevices([gpu({ uuid: 'GPU-b', slices: 2 })])).toEqual([
      { id: 'GPU-b::0', healthy: true, numaNode: 1 },
      { id: 'GPU-b::1', healthy: true, numaNode: 1 },
    ]);
  });

  it('mark every slice of an unhealthy GPU, and leave out a NUMA node that is not known', () => {
    const devices = [
      ...memoryDevices([gpu({ health: 'unhealthy', numa: -1 })]),
      ...coreDevices([gpu({ health: 'unhealthy' })]),
    ];
    expect(devices.every(({ healthy }) => !healthy)).toBe(true);
    expect(devices[0]).not.toHaveProperty('numaNode');
  });

  it('offer no compute of a GPU without memory to share', () => {
    expect(coreDevices([gpu({ slices: 0 })])).toEqual([]);
  });

  it('never rename a slice when a GPU gets more or fewer of them', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 200 }), (before, after) => {
        const earlier = memoryDevices([gpu({ slices: before })]).map(({ id }) => id);
        const later = memoryDevices([gpu({ slices: after })]).map(({ id }) => id);
        const kept = Math.min(before, after);
        expect(later.slice(0, kept)).toEqual(earlier.slice(0, kept));
        expect(new Set(later).size).toBe(after);
      }),
      { seed: 10 },
    );
  });
});

describe('the unit', () => {
  it('stays where the list fits the kubelet', () => {
    expect(
      largerUnit(
        Array.from({ length: 16 }, (_, at) => gpu({ uuid: `GPU-${at}` })),
        1024,
      ),
    ).toBeUndefined();
  });

  it('is doubled until the list fits, and no further', () => {
    const gpus = Array.from({ length: 8 }, (_, at) => gpu({ uuid: `GPU-5f3a6c1e-0000-1111-2222-33334444555${at}` }));
    const unitMiB = largerUnit(gpus, 1) ?? 0;
    const bytes = (unit: number): number =>
      listAndWatchBytes(memoryDevices(gpus.map((one) => ({ ...one, slices: Math.floor(one.memoryMiB / unit) }))));
    expect(Math.log2(unitMiB) % 1).toBe(0);
    expect(bytes(unitMiB)).toBeLessThanOrEqual(LIST_LIMIT_BYTES);
    expect(bytes(unitMiB / 4)).toBeGreaterThan(LIST_LIMIT_BYTES);
  });
});
