// Tuning: the search over any judge, what held-out seeds decide, the snippet, and the command as a whole.

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../extender/config.ts';
import { DEFAULT_ROOM_WEIGHTS, ROOM_WEIGHT_RANGES, type RoomWeights } from '../../extender/core/room-weights.ts';
import type { CompareResult } from '../../simulator/compare/task.ts';
import { DIRECT } from '../../simulator/run/driver.ts';
import { runInOrder } from '../../simulator/run/in-order.ts';
import { outcomeText, tuningOutcome, type Pair, type Verdict } from '../../simulator/tune/outcome.ts';
import { searchWeights, type SearchResult } from '../../simulator/tune/search.ts';
import { configSnippet } from '../../simulator/tune/snippet.ts';
import { shownWeights, spread, WEIGHT_NAMES } from '../../simulator/tune/space.ts';
import { callSimulator, Folder, workload, type Called, type PodSketch } from '../support/simulated.ts';

const search = (budget: number, value: (weights: RoomWeights) => number): Promise<SearchResult> =>
  searchWeights(DEFAULT_ROOM_WEIGHTS, budget, (batch) => Promise.resolve(batch.map(value)));

describe('the search', () => {
  it.each<[string, RoomWeights]>([
    ['a neighbour of the default weights', { gpuCountExponent: 0.9, cpuWeight: 0.15, stepPods: 0.05 }],
    ['the far side', { gpuCountExponent: 1.8, cpuWeight: 0.9, stepPods: 0.6 }],
    ['a corner', { gpuCountExponent: 0, cpuWeight: 0, stepPods: 0.001 }],
  ])('comes near the best weights at %s', async (_, planted) => {
    const { best } = await search(
      80,
      ({ gpuCountExponent, cpuWeight, stepPods }) =>
        -((gpuCountExponent - planted.gpuCountExponent) ** 2) -
        (cpuWeight - planted.cpuWeight) ** 2 -
        Math.log(stepPods / planted.stepPods) ** 2 / 50,
    );
    expect(Math.abs(best.weights.gpuCountExponent - planted.gpuCountExponent)).toBeLessThanOrEqual(0.05);
    expect(Math.abs(best.weights.cpuWeight - planted.cpuWeight)).toBeLessThanOrEqual(0.05);
    expect(Math.abs(Math.log(best.weights.stepPods / planted.stepPods))).toBeLessThanOrEqual(0.5);
  });

  it('stays with the default weights where nothing is better', async () => {
    const { best, judged } = await search(40, () => 1);
    expect(best.weights).toEqual(DEFAULT_ROOM_WEIGHTS);
    expect(judged[0]).toBe(best);
  });

  it('judges no weights twice, none out of range, and no more than the budget', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 60 }), fc.nat(1008), async (budget, salt) => {
        const value = (weights: RoomWeights): number =>
          Array.from(shownWeights(weights)).reduce((sum, each) => (sum * 31 + each.charCodeAt(0)) % 1009, salt);
        const { best, judged } = await search(budget, value);
        const shown = judged.map(({ weights }) => shownWeights(weights));
        expect(new Set(shown).size).toBe(shown.length);
        expect(judged.length).toBeLessThanOrEqual(budget);
        expect(best.value).toBe(Math.max(...judged.map((each) => each.value)));
        for (const { weights } of judged) {
          for (const name of WEIGHT_NAMES) {
            expect(weights[name]).toBeGreaterThanOrEqual(ROOM_WEIGHT_RANGES[name].minimum);
            expect(weights[name]).toBeLessThanOrEqual(ROOM_WEIGHT_RANGES[name].maximum);
          }
        }
        expect(await search(budget, value)).toEqual({ best, judged });
      }),
      { numRuns: 50, seed: 23 },
    );
  });

  it('finds weights that let a workload allocate more, through the engine itself', async () => {
    const input = workload([{ gpus: 1 }, { gpus: 1 }, { gpus: 1, model: 'P100' }], RARE_PODS);
    const allocated = (weights?: RoomWeights): number =>
      runInOrder(input, 'fragmentation', DIRECT, () => {}, weights).outcome.allocationPercent;
    const { best } = await search(30, allocated);
    expect(allocated()).toBeCloseTo(200 / 3, 9);
    expect(best.value).toBeCloseTo(90, 9);
    expect(best.weights.stepPods).toBeLessThan(DEFAULT_ROOM_WEIGHTS.stepPods);
  });
});

/**
 * What fits this cluster is a small part of what is asked for, so by default steps all losses are equal: the small pod goes
 * to the empty node, which comes first, and the last pod finds no room. Smaller steps see the difference.
 */
const RARE_PODS: readonly PodSketch[] = [
  [1000, 1, 300],
  [1000, 1, 700],
  [1000, 1, 600, 'P100'],
  ...Array.from({ length: 125 }, (): PodSketch => [1000, 1, 500, 'A100']),
  [1000, 1, 400],
  [1000, 1, 700],
];

describe('the snippet', () => {
  it('is read by the extender as the very weights, whichever they are', () => {
    const read = (text: string): unknown => {
      const inputs = { argv: ['--config', 'f'], env: { POD_NAMESPACE: 'n' }, version: '1' };
      const result = loadConfig({ ...inputs, readFile: () => text });
      return result.kind === 'config' ? result.config.weights : result;
    };
    expect(read(configSnippet(DEFAULT_ROOM_WEIGHTS))).toEqual(DEFAULT_ROOM_WEIGHTS);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), (at) => {
        expect(read(configSnippet(spread(at)))).toEqual(spread(at));
      }),
      { numRuns: 100, seed: 24 },
    );
  });
});

function result(trace: string, seed: number, allocationPercent: number, midway = 60): CompareResult {
  const point = { fragmentationPercent: 0, fragmentationRatioPercent: 0 };
  return {
    policy: 'fragmentation',
    driver: 'direct',
    trace,
    seed,
    gpus: 1,
    pods: 1,
    arrivedMilli: 0,
    allocatedMilli: 0,
    refused: 0,
    unseen: 0,
    refusedBy: { unseen: 0, memory: 0, cpu: 0, split: 0, full: 0, never: 0 },
    decisions: 1,
    allocationPercent,
    fragmentationPercent: 0,
    atLoad: { arrivedPercent: 130, allocationPercent, fragmentationPercent: 0 },
    curve: [
      { arrivedPercent: 90, allocationPercent: midway, ...point },
      { arrivedPercent: 130, allocationPercent, ...point },
    ],
  };
}

/** Results of seeds 4, 5, … on one trace: default and tuned of each seed. */
function heldOut(...values: readonly (readonly [usual: number, tuned: number])[]): Pair {
  return {
    default: values.map(([usual], at) => result('t', at + 4, usual)),
    tuned: values.map(([, tuned], at) => result('t', at + 4, tuned)),
  };
}

const FOUND: RoomWeights = { gpuCountExponent: 1, cpuWeight: 0.2, stepPods: 0.1 };
const SEARCHED: Pair = { default: [result('t', 1, 90)], tuned: [result('t', 1, 95)] };
const SEEDS = { seeds: [1], heldOut: [4, 5] };

describe('held-out seeds', () => {
  it.each<[string, Verdict, RoomWeights, Pair, string]>([
    ['a clear gain', 'held', FOUND, heldOut([90, 91], [92, 93.1], [91, 91.9]), 'holds on held-out seeds: 1.00 ± 0.10'],
    ['a gain on one seed only', 'doubtful', DEFAULT_ROOM_WEIGHTS, heldOut([90, 91]), 'rests on a single seed'],
    [
      'gains and losses',
      'doubtful',
      DEFAULT_ROOM_WEIGHTS,
      heldOut([90, 92], [90, 89.5]),
      'name more seeds with --held-out',
    ],
    ['no difference', 'lost', DEFAULT_ROOM_WEIGHTS, heldOut([90, 90], [91, 91]), 'Keep the default weights'],
    ['a loss', 'lost', DEFAULT_ROOM_WEIGHTS, heldOut([90, 89], [91, 91.5]), 'does not hold: -0.25 ± 1.06'],
  ])('with %s: %s', (_, verdict, recommended, pair, text) => {
    const outcome = tuningOutcome(FOUND, SEARCHED, pair);
    expect(outcome).toMatchObject({ verdict, recommended });
    const heldOutSeeds = [...new Set(pair.default.map(({ seed }) => seed))];
    expect(outcomeText(outcome, { seeds: [1], heldOut: heldOutSeeds })).toContain(text);
  });

  it('are not asked where the search found nothing better', () => {
    const outcome = tuningOutcome(DEFAULT_ROOM_WEIGHTS, SEARCHED, heldOut([90, 91], [90, 91]));
    expect(outcome).toMatchObject({ verdict: 'unchanged', recommended: DEFAULT_ROOM_WEIGHTS });
    expect(outcomeText(outcome, SEEDS)).toContain('found nothing better');
  });

  it('tell where tuned weights fall back along the way', () => {
    const pair: Pair = {
      default: [result('t', 4, 90, 80), result('t', 5, 90, 80)],
      tuned: [result('t', 4, 92, 79), result('t', 5, 92.1, 78.5)],
    };
    const outcome = tuningOutcome(FOUND, SEARCHED, pair);
    expect(outcome.furthestBehind).toEqual({ arrivedPercent: 90, behindPercent: 1.25 });
    expect(outcomeText(outcome, SEEDS)).toContain('at 90 % arrived load the tuned weights allocate 1.25 points less');
  });

  it('count traces alike: gains are means of a seed over all traces', () => {
    const outcome = tuningOutcome(FOUND, SEARCHED, {
      default: [result('a', 4, 90), result('a', 5, 90), result('b', 4, 80), result('b', 5, 80)],
      tuned: [result('a', 4, 91), result('a', 5, 92), result('b', 4, 79.5), result('b', 5, 79)],
    });
    expect(outcome.heldOut.map(({ trace, gain }) => [trace, gain.mean])).toEqual([
      ['a', 1.5],
      ['b', -0.75],
      ['mean', 0.375],
    ]);
    expect(outcome.heldOut[2]?.gain.deviation).toBeCloseTo(0.1768, 3);
  });
});

/** The parts of --json that are looked at here. */
interface Told {
  readonly judged: readonly { readonly allocationPercent: number }[];
  readonly heldOut: readonly { readonly default: { readonly mean: number } }[];
  readonly recommended: RoomWeights;
}

describe('tune', () => {
  const tiny = ['tune', '--scale', '0.01', '--seeds', '1,2', '--held-out', '3,4', '--budget', '4'];

  it('writes the same bytes on any number of workers, and judges by exactly what compare prints', async () => {
    using folder = new Folder();
    const files = ['1', '2'].map((workers) => folder.free(workers));
    const calls: Called[] = [];
    for (const file of files) calls.push(await callSimulator(...tiny, '--workers', basename(file), '--json', file));
    const [alone, both] = calls;
    // Progress is told as time goes by.
    expect(both?.stdout).toBe(alone?.stdout);
    expect(calls.map(({ code }) => code)).toEqual([0, 0]);
    const [text = '', other] = files.map((file) => readFileSync(file, 'utf8'));
    expect(other).toBe(text);
    const told = JSON.parse(text) as Told;
    expect(told).toMatchObject({ seeds: { searched: [1, 2], heldOut: [3, 4] }, traces: ['generated'] });
    expect(told.judged).toHaveLength(4);
    // Weights reach the engine on its thread.
    expect(new Set(told.judged.map(({ allocationPercent }) => allocationPercent)).size).toBeGreaterThan(1);
    expect(alone?.stdout.endsWith(configSnippet(told.recommended))).toBe(true);
    const compared = async (seeds: string): Promise<number | undefined> => {
      const flags = ['--scale', '0.01', '--policies', 'fragmentation', '--seeds', seeds, '--workers', '1'];
      const { stdout } = await callSimulator('compare', ...flags, '--json', '-');
      const { comparisons } = JSON.parse(stdout) as { comparisons: { allocation: { mean: number } }[] };
      return comparisons[0]?.allocation.mean;
    };
    const [searched, heldOutMean] = [await compared('1,2'), await compared('3,4')];
    expect(told.judged[0]?.allocationPercent).toBe(searched);
    expect(told.heldOut[0]?.default.mean).toBe(heldOutMean);
    expect(heldOutMean).not.toBe(searched);
  });

  it("tunes lists of one's own, with orders of arrival that the seeds make", async () => {
    using folder = new Folder();
    const nodes = folder.file('nodes.csv', 'sn,cpu_milli,memory_mib,gpu,model\nn0,96000,262144,2,T4\n');
    const pods = folder.file(
      'openb_pod_list_own.csv',
      'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\np0,1000,1024,1,600,\np1,1000,1024,1,300,\n',
    );
    const own = ['tune', '--nodes', nodes, '--pods', pods, '--budget', '2', '--workers', '1', '--json', '-'];
    const { code, stdout } = await callSimulator(...own);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ traces: ['own'], seeds: { searched: [1, 2], heldOut: [3, 4, 5] } });
  });

  it.each<[string, readonly string[], string]>([
    ['held-out seeds that are searched', ['--seeds', '1,2', '--held-out', '3,2'], '--held-out: 2 is among --seeds too'],
    ['traces without their folder', ['--traces', 'default'], 'add --openb'],
    ['nodes without pods', ['--nodes', 'n.csv'], '--nodes and --pods go together'],
    ['files and a folder', ['--openb', 'x', '--pods', 'p.csv'], 'or --openb'],
    ['a flag of the other driver', ['--narrow', '3'], 'add --driver scheduler'],
    ['a budget of nothing', ['--budget', '0'], 'Write a whole number from 1'],
  ])('refuses %s and says how to mend it', async (_, flags, advice) => {
    const { code, stdout, stderr } = await callSimulator('tune', ...flags);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(advice);
  });

  it.each<[string, readonly string[], string]>([
    ['a held-out seed', ['--seeds', '7', '--held-out', '9'], 'have the seeds 7, 8; there is no 9'],
    ['a seed to hold out', ['--seeds', '7,8'], 'leave one at least to search and one to hold out'],
  ])('tells before it searches that the arrivals lack %s', async (_, flags, advice) => {
    using folder = new Folder();
    const orders = [7, 8].map((seed) => JSON.stringify({ trace: 't', seed, nodes: [0], pods: [0] })).join('\n');
    const arrivals = ['--arrivals', folder.file('orders.jsonl', orders)];
    // Lists that are not there would be missed by the first run.
    const { code, stderr } = await callSimulator('tune', '--nodes', 'n', '--pods', 'p', ...arrivals, ...flags);
    expect(code).toBe(2);
    expect(stderr).toContain(advice);
  });

  it('says in its help what is maximised, with examples', async () => {
    const { code, stdout } = await callSimulator('tune', '--help');
    expect(code).toBe(0);
    for (const words of ['Maximised:', 'Examples:', '--held-out <numbers>']) expect(stdout).toContain(words);
  });
});
