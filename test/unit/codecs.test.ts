import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeClaim, encodeAllocation, encodeGpushareAllocation } from '../../extender/core/allocation-codec.ts';
import { decodeInventory, encodeInventory, MAX_INVENTORY_CHARACTERS } from '../../extender/core/inventory-codec.ts';
import type { Inventory } from '../../extender/core/model.ts';
import { cpuMilli, memoryMiB, parseCount, parseQuantity } from '../../extender/core/quantity.ts';
import { nodeRecord } from '../../extender/core/records.ts';
import { ALLOCATION_ANNOTATION } from '../../extender/core/resources.ts';
import { parseAffinityTerm, termMatches } from '../../extender/core/selector.ts';

const inventory: fc.Arbitrary<Inventory> = fc
  .uniqueArray(
    fc.record({
      uuid: fc.stringMatching(/^GPU-[a-f0-9]{8}$/),
      index: fc.nat({ max: 15 }),
      minor: fc.nat({ max: 15 }),
      model: fc.constantFrom('A100', 'NVIDIA H200', 'Tesla T4'),
      memoryMiB: fc.nat({ max: 300_000 }),
      slices: fc.nat({ max: 300 }),
      numa: fc.integer({ min: -1, max: 7 }),
      health: fc.constantFrom('healthy' as const, 'unhealthy' as const),
    }),
    { selector: ({ uuid }) => uuid, maxLength: 8 },
  )
  .chain((gpus) =>
    fc.record({
      unitMiB: fc.integer({ min: 1, max: 4096 }),
      isolation: fc.constantFrom('none' as const, 'mps' as const),
      gpus: fc.constant(gpus),
      links: fc.constantFrom(
        [],
        gpus.map(() => gpus.map(() => 2)),
      ),
    }),
  );

describe('the inventory annotation', () => {
  it('reads back what was written', () => {
    fc.assert(
      fc.property(inventory, (written) => {
        expect(decodeInventory(encodeInventory(written))).toEqual({
          kind: 'inventory',
          source: 'gpuloom',
          inventory: written,
        });
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it('never throws, and closes the node on anything it cannot read', () => {
    const hostile = fc.oneof(
      fc.string(),
      fc.json(),
      inventory.map(encodeInventory).chain((text) => fc.nat(text.length).map((at) => text.slice(0, at))),
    );
    fc.assert(
      fc.property(hostile, (text) => {
        const gpus = decodeInventory(text);
        expect(['inventory', 'closed']).toContain(gpus.kind);
      }),
      { numRuns: 1000, seed: 2 },
    );
    expect(Object.prototype).not.toHaveProperty('polluted');
  });

  it.each([
    ['a later version', '{"v":2,"unitMiB":1024,"gpus":[]}', /has version 2; this extender reads version 1/],
    ['text that is no JSON', '{', /is not JSON/],
    ['a GPU twice', JSON.stringify({ v: 1, unitMiB: 1, gpus: [1, 2].map(() => gpu({})) }), /names a GPU twice/],
    [
      'a negative size',
      JSON.stringify({ v: 1, unitMiB: 1, gpus: [gpu({ slices: -1 })] }),
      /whole number from 0 .* at gpus\[0\].slices/,
    ],
    ['a size beyond any GPU', JSON.stringify({ v: 1, unitMiB: 1, gpus: [gpu({ slices: 1e300 })] }), /gpus\[0\].slices/],
    [
      'a path as UUID',
      JSON.stringify({ v: 1, unitMiB: 1, gpus: [gpu({ uuid: '../../etc' })] }),
      /unusable gpus\[0\].uuid/,
    ],
    ['a link matrix of another size', JSON.stringify({ v: 1, unitMiB: 1, gpus: [gpu({})], links: [] }), /link matrix/],
    ['a text too long', ' '.repeat(MAX_INVENTORY_CHARACTERS + 1), /longer than/],
  ])('closes the node on %s and says what is wrong', (_, text, why) => {
    const gpus = decodeInventory(text);
    expect(gpus.kind === 'closed' ? gpus.why : gpus.kind).toMatch(why);
  });
});

function gpu(over: object): object {
  return { uuid: 'GPU-1', index: 0, model: 'T4', memoryMiB: 1, slices: 1, ...over };
}

describe('nodes that only gpushare describes', () => {
  const capacity = (memory: string, count: string) =>
    nodeRecord({
      metadata: { name: 'n' },
      status: { capacity: { 'aliyun.com/gpu-mem': memory, 'aliyun.com/gpu-count': count } },
    })?.gpus;

  it('are split evenly, rounding down', () => {
    const gpus = capacity('31', '2');
    expect(gpus?.kind === 'inventory' ? gpus.inventory.gpus.map(({ slices }) => slices) : gpus).toEqual([15, 15]);
  });

  it('are closed when the number of GPUs makes no sense, and no GPU nodes without the resource', () => {
    expect(capacity('30', '0')?.kind).toBe('closed');
    expect(capacity('0', '2')?.kind).toBe('none');
  });
});

describe('the allocation annotations', () => {
  const allocation = {
    containers: [
      { name: 'init', gpus: [{ uuid: 'GPU-1', index: 3, slices: 2, core: 0 }] },
      { name: 'main', gpus: [{ uuid: 'GPU-1', index: 3, slices: 6, core: 50 }] },
    ],
  };

  it('ours reads back as the GPUs it names, each once', () => {
    expect(decodeClaim({ [ALLOCATION_ANNOTATION]: encodeAllocation(allocation) })).toEqual({
      kind: 'gpus',
      gpus: [{ uuid: 'GPU-1', index: 3 }],
    });
  });

  it('writes the five gpushare annotations as an unmodified gpushare plugin reads them', () => {
    const written = encodeGpushareAllocation(allocation, {
      podSlices: 6,
      gpuSlices: 15,
      assumeTimeNanos: 1_700_000_000_123_000_000n,
    });
    expect(written).toEqual({
      ALIYUN_COM_GPU_MEM_IDX: '3',
      ALIYUN_COM_GPU_MEM_DEV: '15',
      ALIYUN_COM_GPU_MEM_POD: '6',
      ALIYUN_COM_GPU_MEM_ASSIGNED: 'false',
      ALIYUN_COM_GPU_MEM_ASSUME_TIME: '1700000000123000000',
      'scheduler.framework.gpushare.allocation': '{"0":{"3":2},"1":{"3":6}}',
    });
    expect(decodeClaim(written)).toEqual({ kind: 'gpus', gpus: [{ uuid: '', index: 3 }] });
  });

  it('reads a pod that gpushare itself has bound', () => {
    expect(decodeClaim({ ALIYUN_COM_GPU_MEM_IDX: '1' })).toEqual({ kind: 'gpus', gpus: [{ uuid: '', index: 1 }] });
    expect(decodeClaim({ ALIYUN_COM_GPU_MEM_IDX: '-1' }).kind).toBe('invalid');
  });

  it('names a GPU that had no UUID yet by its index, whatever stands in its place', () => {
    const unnamed = { containers: [{ name: 'main', gpus: [{ uuid: 'index-2', index: 2, slices: 4, core: 0 }] }] };
    expect(decodeClaim({ [ALLOCATION_ANNOTATION]: encodeAllocation(unnamed) })).toEqual({
      kind: 'gpus',
      gpus: [{ uuid: '', index: 2 }],
    });
  });

  it('never throws on hostile text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(['gpus', 'invalid']).toContain(decodeClaim({ [ALLOCATION_ANNOTATION]: text }).kind);
      }),
      { numRuns: 500, seed: 3 },
    );
  });
});

describe('quantities', () => {
  it.each([
    ['500m', 0.5],
    ['2', 2],
    ['1e3', 1000],
    ['1.5Gi', 1.5 * 2 ** 30],
    ['100k', 100_000],
    ['-3', -3],
    ['', undefined],
    ['1e400', undefined],
    ['1Q', undefined],
    ['NaN', undefined],
    ['0x10', undefined],
  ])('%s is %s', (text, value) => {
    expect(parseQuantity(text)).toBe(value);
  });

  it('rounds CPU and memory up, and reads counts as whole numbers only', () => {
    expect(cpuMilli('0.1005')).toBe(101);
    expect(memoryMiB('1025Ki')).toBe(2);
    expect(parseCount('1k')).toBe(1000);
    expect(parseCount('0.5')).toBeUndefined();
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), (text) => [parseQuantity(text), parseCount(text)].length === 2),
      { numRuns: 500, seed: 4 },
    );
  });
});

describe('label selectors', () => {
  const labels = { app: 'web', tier: 'front' };

  it.each([
    ['app=web', true],
    ['app==web,tier!=back', true],
    ['app in (api, web)', true],
    ['app notin (api,web)', false],
    ['tier', true],
    ['!tier', false],
    ['constructor', false],
  ])('%s gives %s', (text, expected) => {
    const result = parseAffinityTerm(text, ['default']);
    if (result.kind === 'invalid') throw new Error(result.why);
    expect(termMatches(result.term, 'default', labels)).toBe(expected);
    expect(termMatches(result.term, 'other', labels)).toBe(false);
  });

  it('has one identity however it is written', () => {
    const id = (text: string): string => {
      const result = parseAffinityTerm(text, ['b', 'a']);
      return result.kind === 'term' ? result.term.id : result.why;
    };
    expect(id('app in (web),tier=x')).toBe(id('tier==x, app = web'));
  });

  it.each(['', 'app in ()x', 'a b', 'app=a b', '=x', 'x'.repeat(2000)])('refuses %j', (text) => {
    expect(parseAffinityTerm(text, ['default']).kind).toBe('invalid');
  });
});
