import { describe, expect, it } from 'vitest';
import { seededOrder } from '../../simulator/arrival-order.ts';
import { compareWithPublished, comparisonTable } from '../../simulator/compare/summary.ts';
import type { CompareResult } from '../../simulator/compare/task.ts';
import { generateNodes, generatePods } from '../../simulator/generate/openb-like.ts';
import { publishedResult, publishedTraces } from '../../simulator/published/results.ts';
import { Curve, roundHalfEven } from '../../simulator/run/curve.ts';
import { DIRECT } from '../../simulator/run/driver.ts';
import { runInOrder } from '../../simulator/run/in-order.ts';
import { parseOccupancy } from '../../simulator/run/occupancy.ts';
import type { RefusalReason } from '../../simulator/run/refusal.ts';
import { statistics } from '../../simulator/statistics.ts';
import { capacityMilli, milliOf, PodListBuilder } from '../../simulator/workload.ts';
import { workload, type NodeSketch, type PodSketch } from '../support/simulated.ts';

describe('the curve', () => {
  it.each([
    [0.5, 0],
    [1.5, 2],
    [2.5, 2],
    [2.51, 3],
    [129.5, 130],
  ])('bins %f as %i: half goes to even', (value, bin) => {
    expect(roundHalfEven(value)).toBe(bin);
  });

  it('averages the arrivals of a bin, each rounded to 0.01 first', () => {
    const curve = new Curve(100_000);
    curve.add(1000, 1004, 10_000);
    curve.add(1400, 1016, 9000);
    curve.add(1600, 1600, 0);
    expect(curve.points()).toEqual([
      {
        arrivedPercent: 1,
        allocationPercent: 1.01,
        fragmentationPercent: 9.5,
        // 10000 / 98996 and 9000 / 98984, in percent: 10.10 and 9.09
        fragmentationRatioPercent: 9.6,
      },
      { arrivedPercent: 2, allocationPercent: 1.6, fragmentationPercent: 0, fragmentationRatioPercent: 0 },
    ]);
  });
});

describe('the outcome of a run', () => {
  it('counts what arrived, what was allocated, refused, and what stays fragmented', () => {
    const input = workload(
      [{ gpus: 1 }],
      [
        [1000, 1, 600],
        [1000, 1, 600],
      ],
    );
    const { outcome } = runInOrder(input, 'fgd', DIRECT, () => {});
    expect(outcome).toMatchObject({
      ...{ policy: 'fgd', trace: 'sketch', seed: 1, nodes: 1, gpus: 1, pods: 2, decisions: 2, refused: 1 },
      ...{ arrivedMilli: 1200, allocatedMilli: 600, allocationPercent: 60 },
      ...{ fragmentationMilli: 400, fragmentationPercent: 40 },
    });
    expect(outcome.curve.map(({ arrivedPercent }) => arrivedPercent)).toEqual([60, 120]);
    expect(outcome.occupancy).toEqual(['n0,T4,600']);
  });

  it.each<[RefusalReason, NodeSketch[], PodSketch[]]>([
    [
      'full',
      [{ gpus: 1 }],
      [
        [1000, 1, 600],
        [1000, 1, 600],
      ],
    ],
    [
      'split',
      [{ gpus: 2 }],
      [
        [1000, 1, 600],
        [1000, 1, 600],
        [1000, 1, 700],
      ],
    ],
    [
      'split',
      [{ gpus: 1 }, { gpus: 2 }],
      [
        [1000, 1, 600],
        [1000, 1, 600],
        [1000, 1, 600],
        [1000, 1, 800],
      ],
    ],
    [
      'cpu',
      [{ gpus: 2, cores: 4 }, { gpus: 1 }],
      [
        [3000, 1, 500, 'T4'],
        [3000, 1, 1000],
        [3000, 1, 900],
      ],
    ],
    ['cpu', [{ gpus: 1, cores: 2 }], [[3000, 0, 0]]],
    ['never', [{ gpus: 2, model: 'A10' }, { gpus: 1 }], [[1000, 1, 500, 'H100']]],
    ['never', [{ gpus: 2 }], [[1000, 4, 1000]]],
    [
      'full',
      [{ gpus: 2, model: 'A10' }, { gpus: 1 }],
      [
        [1000, 1, 500, 'T4'],
        [1000, 1, 600, 'T4'],
      ],
    ],
  ])('says why idle capacity was of no use to the last pod: %s', (reason, nodes, pods) => {
    const { outcome } = runInOrder(workload(nodes, pods), 'bestfit', DIRECT, () => {});
    expect(outcome.refused).toBe(1);
    expect(outcome.refusedBy).toEqual({ unseen: 0, memory: 0, cpu: 0, split: 0, full: 0, never: 0, [reason]: 1 });
  });

  it('says of a pod with room for everything but its memory that memory was short', () => {
    const list = new PodListBuilder();
    list.add(1000, 300_000, 1, 500, '');
    const input = { ...workload([{ gpus: 1 }], [[1000, 1, 500]]), list: list.build() };
    const { outcome } = runInOrder(input, 'bestfit', DIRECT, () => {});
    expect(outcome.refusedBy).toMatchObject({ memory: 1 });
  });

  it('reads occupancy as it writes it, and nothing else', () => {
    expect(parseOccupancy('n0,T4,600|0|1000')).toEqual({ name: 'n0', model: 'T4', allocatedMilli: [600, 0, 1000] });
    for (const line of ['', 'n0,T4', 'n0,T4,', 'n0,T4,1001', 'n0,T4,-1', 'n0,T4,1|', ',T4,1', 'n0,T4,1|2,3']) {
      expect(parseOccupancy(line)).toBeUndefined();
    }
  });
});

describe('a comparison with the published results', () => {
  const result = (seed: number, allocationPercent: number, trace = 'default'): CompareResult => ({
    ...{
      policy: 'fgd',
      driver: 'direct',
      trace,
      seed,
      gpus: 6212,
      pods: 1,
      arrivedMilli: 1,
      allocatedMilli: 1,
      refused: 0,
      unseen: 0,
      decisions: 1,
    },
    ...{ allocationPercent, fragmentationPercent: 4.57 },
    atLoad: { arrivedPercent: 130, allocationPercent, fragmentationPercent: 4.57 },
    refusedBy: { unseen: 0, memory: 0, cpu: seed, split: 0, full: 0, never: 0 },
    curve: [
      { arrivedPercent: 130, allocationPercent, fragmentationPercent: 4.57, fragmentationRatioPercent: 90 + seed / 10 },
    ],
  });
  const seeds = [42, 43, 44, 45, 46, 47, 48, 49, 50, 51];
  const agreement = (results: readonly CompareResult[]): string | undefined =>
    compareWithPublished(results)[0]?.agreement;

  it('has figures of six policies on seventeen traces', () => {
    expect(publishedTraces()).toHaveLength(17);
    expect(publishedResult('default', 'fgd')?.allocation).toEqual({ mean: 95.39, deviation: 0.08 });
    expect(publishedResult('multigpu50', 'random')?.fragmentation).toEqual({ mean: 9.3, deviation: 0.42 });
    expect(publishedResult('default', 'another')).toBeUndefined();
  });

  it('is equal only where all published seeds give the same mean to two decimals', () => {
    expect(agreement(seeds.map((seed) => result(seed, 95.394)))).toBe('equal');
    expect(agreement(seeds.map((seed) => result(seed, 95.396)))).toBe('different');
  });

  it('of fewer seeds is possible within what the published deviation allows, and no further', () => {
    expect(agreement([42, 43, 44].map((seed) => result(seed, 95.5)))).toBe('possible');
    expect(agreement([42, 43, 44].map((seed) => result(seed, 95.6)))).toBe('different');
  });

  it('says nothing of seeds and traces that were not published', () => {
    expect(agreement([result(1, 95.39)])).toBe('unknown');
    expect(agreement([result(42, 95.39, 'generated')])).toBe('unknown');
  });

  it('is a table of means and deviations beside the published ones', () => {
    const text = comparisonTable(compareWithPublished([result(42, 95.3), result(43, 95.5)]));
    expect(text).toContain('95.40 ± 0.14  95.39 ± 0.08');
  });

  it('takes the mean of curves and of refusals by reason', () => {
    const [both] = compareWithPublished([result(42, 95.3), result(43, 95.5)]);
    expect(both?.refusedBy).toMatchObject({ cpu: 42.5, full: 0 });
    expect(both?.curve).toEqual([
      {
        ...{ arrivedPercent: 130, allocationPercent: 95.4 },
        ...{ fragmentationPercent: 4.57, fragmentationRatioPercent: 94.25 },
      },
    ]);
  });

  it('takes the deviation of a sample', () => {
    expect(statistics([1, 2, 3])).toEqual({ mean: 2, deviation: 1 });
    expect(statistics([5])).toEqual({ mean: 5, deviation: 0 });
  });
});

describe('the generator', () => {
  it('makes the node shapes of openb in their numbers', () => {
    const nodes = generateNodes(1213);
    expect(nodes.reduce((sum, { gpus }) => sum + gpus, 0)).toBe(6212);
    expect(nodes.filter(({ model }) => model === 'T4')).toHaveLength(404);
    expect(new Set(nodes.map(({ name }) => name)).size).toBe(1213);
    expect(generateNodes(100)).toHaveLength(100);
  });

  it('draws pods with the demand of openb, the same for the same seed', () => {
    const list = generatePods(8152, 3);
    const milli = list.pods.reduce((sum, at) => sum + milliOf(list.requests[at] ?? list.requests[0] ?? fail()), 0);
    expect(milli / 1000).toBeGreaterThan(5500);
    expect(milli / 1000).toBeLessThan(6700);
    expect(generatePods(50, 3)).toEqual(generatePods(50, 3));
    expect(generatePods(50, 3)).not.toEqual(generatePods(50, 4));
  });

  it.each([0.5, 1.3, 2])('inflates or thins the demand to %f of all GPUs', (load) => {
    const nodes = generateNodes(60);
    const list = generatePods(400, 1);
    const order = seededOrder(nodes, list, load, 9);
    const milli = Array.from(order.pods).reduce(
      (sum, pod) => sum + milliOf(list.requests[list.pods[pod] ?? -1] ?? fail()),
      0,
    );
    const limit = load * capacityMilli(nodes);
    expect(milli).toBeLessThanOrEqual(limit);
    expect(milli).toBeGreaterThan(limit - 8000);
    expect(Array.from(order.nodes).sort((a, b) => a - b)).toEqual([...nodes.keys()]);
  });
});

function fail(): never {
  throw new Error('no such request');
}
