// What the demo shows: occupancy counted from the API server, the summary's arithmetic, the map of GPUs, the terminal.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { encodeAllocation } from '../../extender/core/allocation-codec.ts';
import { gpuPod } from '../../extender/demo/gpu-pod.ts';
import { seededNodes } from '../../extender/demo/gpu-nodes.ts';
import { bar, gpuMap } from '../../extender/demo/gpu-map.ts';
import { OccupancyReader, type Occupancy } from '../../extender/demo/occupancy.ts';
import { summaryLines } from '../../extender/demo/report.ts';
import { isRedrawable, lookOf, Screen } from '../../extender/demo/screen.ts';
import { ASCII, paint, UNICODE, wrapped, type Line, type Look } from '../../extender/demo/styled-text.ts';
import { gpuTotals, percent, summarizeRun } from '../../extender/demo/summary.ts';
import { Tally } from '../../extender/demo/tally.ts';
import { EmbeddedCluster } from '../../extender/embedded/cluster.ts';
import { nodeManifest } from '../support/builders.ts';

interface Holding {
  readonly name: string;
  readonly class?: 'online' | 'batch';
  readonly asks: number;
  /** Slices granted by GPU index. */
  readonly granted: Readonly<Record<number, number>>;
  readonly core?: number;
  readonly uuid?: string;
}

/** One node with a GPU of 10 slices and one of 16. */
function cluster(...holdings: readonly Holding[]): EmbeddedCluster {
  const embedded = new EmbeddedCluster({ wallMillis: () => 0 });
  const gpus = [
    { slices: 10, model: 'A10' },
    { slices: 16, model: 'T4' },
  ];
  embedded.create('nodes', nodeManifest({ name: 'n', gpus }));
  for (const { name, class: podClass = 'online', asks, granted, core = 0, uuid } of holdings) {
    const size = { gpuCount: 1, slicesPerGpu: asks, corePerGpu: 0, models: '', cpuMilli: 1, memoryMiB: 1 };
    embedded.create('pods', gpuPod({ name, app: 'app', class: podClass, ...size }));
    const allocation = encodeAllocation({
      containers: [
        {
          name: 'main',
          gpus: Object.entries(granted).map(([index, slices]) => ({
            uuid: uuid ?? `GPU-n-${index}`,
            index: Number(index),
            slices,
            core,
          })),
        },
      ],
    });
    embedded.pods.bind(podClass, name, {
      metadata: { name, annotations: { 'gpuloom.io/allocation': allocation } },
      target: { kind: 'Node', name: 'n' },
    });
  }
  return embedded;
}

function read(embedded: EmbeddedCluster): Occupancy {
  return new OccupancyReader().read(embedded.list('nodes'), embedded.list('pods'));
}

describe('occupancy', () => {
  it('is counted per GPU and class from the annotations of bound pods', () => {
    const embedded = cluster(
      { name: 'a', asks: 6, granted: { 0: 6 }, core: 30 },
      { name: 'b', class: 'batch', asks: 4, granted: { 0: 4 } },
      { name: 'c', class: 'batch', asks: 8, granted: { 1: 8 } },
    );
    const occupancy = read(embedded);
    expect(occupancy.allocationsAmiss).toEqual([]);
    expect(occupancy.nodes[0]?.gpus).toMatchObject([
      { model: 'A10', slices: 10, onlineSlices: 6, batchSlices: 4, onlinePods: 1, batchPods: 1, corePercent: 30 },
      { model: 'T4', slices: 16, onlineSlices: 0, batchSlices: 8, onlinePods: 0, batchPods: 1 },
    ]);
    expect(gpuTotals(occupancy)).toMatchObject({
      gpus: 2,
      inUse: 2,
      shared: 1,
      woven: 1,
      overCapacity: 0,
      slices: 26,
      allocationPercent: 69.23,
    });
    embedded.setPodPhase('online', 'a', 'Succeeded');
    expect(gpuTotals(read(embedded))).toMatchObject({ woven: 0, onlineSlices: 0 });
  });

  it.each([
    [
      'more slices than a GPU has',
      [
        { name: 'a', asks: 6, granted: { 0: 6 } },
        { name: 'b', asks: 5, granted: { 0: 5 } },
      ],
      1,
    ],
    [
      'more compute than a GPU has',
      [
        { name: 'a', asks: 1, granted: { 0: 1 }, core: 60 },
        { name: 'b', asks: 1, granted: { 0: 1 }, core: 41 },
      ],
      1,
    ],
    ['two GPUs over capacity', [{ name: 'a', asks: 28, granted: { 0: 11, 1: 17 } }], 2],
    ['nothing wrong at the very limit', [{ name: 'a', asks: 26, granted: { 0: 10, 1: 16 }, core: 100 }], 0],
  ])('finds a planted violation: %s', (_case, holdings: readonly Holding[], over) => {
    const occupancy = read(cluster(...holdings));
    expect(gpuTotals(occupancy).overCapacity).toBe(over);
    expect(occupancy.allocationsAmiss).toEqual([]);
  });

  it.each([
    ['less than the pod asked', { name: 'a', asks: 6, granted: { 0: 5 } }],
    ['nothing', { name: 'a', asks: 6, granted: {} }],
    ['a GPU that the node lacks', { name: 'a', asks: 6, granted: { 0: 6 }, uuid: 'GPU-elsewhere' }],
  ])('finds an allocation that grants %s', (_case, holding: Holding) => {
    expect(read(cluster(holding)).allocationsAmiss).toEqual(['online/a']);
  });
});

describe('the summary', () => {
  it('accounts for every pod: placed and refused add up, and so do the reasons', () => {
    const embedded = cluster({ name: 'a', asks: 6, granted: { 0: 6 } });
    const tally = new Tally();
    embedded.subscribe((change) => tally.observe(change));
    const size = { gpuCount: 1, slicesPerGpu: 9, corePerGpu: 0, models: '', cpuMilli: 1, memoryMiB: 1 };
    for (const name of ['p', 'q', 'r', 's']) {
      embedded.create('pods', gpuPod({ name, app: 'app', class: 'online', ...size }));
    }
    const uidOf = (name: string): string => embedded.get('pods', 'online', name)?.metadata.uid ?? '';
    tally.refuse(uidOf('p'), 'Insufficient cpu');
    tally.refuse(uidOf('q'), 'no GPU has N free slices');
    tally.refuse(uidOf('r'), 'no GPU has N free slices');
    embedded.pods.bind('online', 'r', { metadata: { name: 'r' }, target: { kind: 'Node', name: 'n' } });
    const facts = { workload: 'w', seed: 1, policy: 'spread', interrupted: false };
    const summary = summarizeRun(tally, read(embedded), facts);
    expect(summary).toMatchObject({ arrived: 4, placed: 1, refused: 3, gpusOverCapacity: 0, allocationsAmiss: 1 });
    expect(summary.reasons).toEqual({
      'Insufficient cpu': 1,
      'no GPU has N free slices': 1,
      'not tried before the end': 1,
    });
    expect(summaryLines(summary, look(100)).length).toBeGreaterThan(5);
  });

  it('counts a pod that its owner gave up on as withdrawn, not as refused', () => {
    const embedded = cluster();
    const tally = new Tally();
    embedded.subscribe((change) => tally.observe(change));
    const size = { gpuCount: 0, slicesPerGpu: 0, corePerGpu: 0, models: '', cpuMilli: 1, memoryMiB: 1 };
    embedded.create('pods', gpuPod({ name: 'p', app: 'app', class: 'batch', ...size }));
    embedded.delete('pods', 'batch', 'p');
    expect(tally).toMatchObject({ arrived: 1, withdrawn: 1, pending: 0, placed: 0, running: 0 });
  });

  it('rounds percentages to two digits and survives a cluster without GPUs', () => {
    expect(percent(1, 3)).toBe(33.33);
    expect(percent(0, 0)).toBe(0);
  });
});

function look(width: number, colour = false): Look {
  return { width, colour, glyphs: UNICODE };
}

function text(lines: readonly Line[], width: number): string[] {
  return lines.map((each) => paint(each, look(width)));
}

function occupied(count: number): Occupancy {
  const embedded = new EmbeddedCluster();
  for (const node of seededNodes(1, count)) embedded.create('nodes', node);
  return read(embedded);
}

describe('the map of GPUs', () => {
  it.each([60, 80, 100, 120])('shows every node and GPU at %d columns without cutting a line', (width) => {
    const occupancy = occupied(8);
    const lines = text(gpuMap(occupancy, look(width), 100), width);
    for (const { name } of occupancy.nodes) expect(lines.filter((each) => each.startsWith(name))).toHaveLength(1);
    const shown = lines.join(' ').match(/\b0\/\d+/g) ?? [];
    expect(shown).toHaveLength(occupancy.nodes.reduce((sum, { gpus }) => sum + gpus.length, 0));
    expect(lines.slice(1).join('')).not.toContain('…');
    for (const each of lines) expect(each.length).toBeLessThanOrEqual(width);
  });

  it('gives GPUs of unequal models in one node rows of their own', () => {
    const lines = text(gpuMap(read(cluster()), look(100), 100), 100);
    expect(lines.filter((each) => /1× (A10|T4)/.test(each))).toHaveLength(2);
  });

  it('sums up by model and shows some nodes where not all fit', () => {
    const occupancy = occupied(1200);
    const lines = text(gpuMap(occupancy, look(80), 30), 80);
    expect(lines.length).toBeLessThanOrEqual(30);
    const models = new Set(occupancy.nodes.flatMap(({ gpus }) => gpus.map(({ model }) => model)));
    for (const model of models) expect(lines.some((each) => each.startsWith(model))).toBe(true);
    expect(lines.some((each) => each.startsWith('gpu-'))).toBe(true);
  });

  it('draws bars of exact width that never hide a part, nor the last free slice', () => {
    fc.assert(
      fc.property(
        fc.nat(100),
        fc.nat(100),
        fc.nat(50),
        fc.integer({ min: 4, max: 30 }),
        (online, batch, free, width) => {
          const drawn = bar(online, batch, online + batch + free, width, ASCII)
            .map((part) => part.text)
            .join('');
          expect(drawn).toHaveLength(width);
          expect(drawn.includes(ASCII.online)).toBe(online > 0);
          expect(drawn.includes(ASCII.batch)).toBe(batch > 0);
          if (online + batch + free > 0) expect(drawn.includes(ASCII.free)).toBe(free > 0);
        },
      ),
      { seed: 1, numRuns: 500 },
    );
  });
});

describe('the terminal', () => {
  const output = (isTTY: boolean) => {
    const written: string[] = [];
    return { isTTY, columns: 80, rows: 5, written, write: (chunk: string) => written.push(chunk) };
  };

  it.each([
    ['a terminal', true, {}, true],
    ['a terminal with NO_COLOR', true, { NO_COLOR: '1' }, false],
    ['a dumb terminal', true, { TERM: 'dumb' }, false],
    ['a pipe', false, {}, false],
  ])('has colours on %s: %s', (_what, isTTY, env, colour) => {
    expect(lookOf(output(isTTY), env).colour).toBe(colour);
    expect(paint([{ text: 'x', style: 'bad' }], lookOf(output(isTTY), env)).includes('\u001b')).toBe(colour);
  });

  it('is redrawn only where it can be, and in plain characters where the locale has no others', () => {
    expect(isRedrawable(output(false), {})).toBe(false);
    expect(isRedrawable(output(true), { TERM: 'dumb' })).toBe(false);
    expect(lookOf(output(true), { LC_ALL: 'C' }).glyphs).toBe(ASCII);
    expect(lookOf(output(true), { LANG: 'en_US.UTF-8' }).glyphs).toBe(UNICODE);
  });

  it('gets its cursor back on close, once, and only after something was drawn', () => {
    const drawn = output(true);
    const screen = new Screen(drawn, {});
    screen.close();
    expect(drawn.written).toEqual([]);
    screen.draw(Array.from({ length: 50 }, () => [{ text: 'line', style: 'plain' }]));
    expect(drawn.written.join('').split('line')).toHaveLength(5);
    screen.close();
    screen.close();
    expect(drawn.written.at(-1)).toContain('\u001b[?25h');
    expect(drawn.written).toHaveLength(2);
  });

  it('gets no line wider than it is', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 30 })), fc.integer({ min: 1, max: 60 }), (texts, width) => {
        const line = texts.map((each) => ({ text: each, style: 'plain' }) as const);
        expect(paint(line, look(width)).length).toBeLessThanOrEqual(width);
      }),
      { seed: 1, numRuns: 300 },
    );
    expect(wrapped('one two three', 7)).toEqual(['one two', 'three']);
  });
});
