// The scheduler driver against what kube-scheduler 1.20 is known to do, and against the direct driver.

import { describe, expect, it } from 'vitest';
import { seededRandom, type Random } from '../../extender/random.ts';
import type { SimulatedPolicyName } from '../../simulator/policy/selection.ts';
import { DIRECT, SHIPPED_SCHEDULER, type DriverSettings, type SchedulerSettings } from '../../simulator/run/driver.ts';
import { runInOrder } from '../../simulator/run/in-order.ts';
import { generatedWorkload } from '../../simulator/commands/workload-source.ts';
import { balancedAllocation, leastAllocated, mostAllocated } from '../../simulator/scheduler/in-tree.ts';
import { feasibleNodesToFind, NodeSampler } from '../../simulator/scheduler/sampling.ts';
import { selectHost } from '../../simulator/scheduler/select-host.ts';
import type { Workload } from '../../simulator/workload.ts';
import { workload, type NodeSketch, type PodSketch } from '../support/simulated.ts';

function placements(input: Workload, policy: SimulatedPolicyName, driver: DriverSettings): string[] {
  const { placements: placed } = runInOrder(input, policy, driver, () => {});
  const names = Array.from(input.order.nodes, (node) => input.nodes[node]?.name ?? '');
  return [...placed.pieces(names)].join('').trimEnd().split('\n');
}

function scheduler(changes: Partial<SchedulerSettings>): SchedulerSettings {
  return { ...SHIPPED_SCHEDULER, cpuPods: 'policy', ...changes };
}

describe('the number of nodes that must pass before the search stops', () => {
  it.each([
    [1, 0, 1],
    [99, 0, 99],
    [99, 5, 99],
    [100, 0, 100],
    [200, 0, 100],
    [1000, 0, 420],
    [1213, 0, 497],
    [5000, 0, 500],
    [6250, 0, 312],
    [15_000, 0, 750],
    [1000, 30, 300],
    [1000, 5, 100],
    [1000, 1, 100],
    [1000, 99, 990],
    [1000, 100, 1000],
  ])('of %i nodes at %i percent is %i', (nodes, percent, wanted) => {
    expect(feasibleNodesToFind(nodes, percent)).toBe(wanted);
  });
});

describe('the search for nodes', () => {
  const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);
  const searched = (sampler: NodeSampler, passes: (node: number) => boolean): number[] => {
    sampler.search(passes);
    return Array.from(sampler.found.subarray(0, sampler.count));
  };

  it('begins where the one before stopped, and goes round', () => {
    const sampler = new NodeSampler(250, 0);
    const wanted = feasibleNodesToFind(250, 0);
    expect(wanted).toBe(120);
    expect(searched(sampler, () => true)).toEqual(range(0, 120));
    expect(searched(sampler, () => true)).toEqual(range(120, 240));
    expect(searched(sampler, () => true)).toEqual([...range(240, 250), ...range(0, 110)]);
  });

  it('counts nodes that fail as looked at, but not the passing one that was too many', () => {
    const sampler = new NodeSampler(200, 50);
    expect(searched(sampler, (node) => node >= 50)).toEqual(range(50, 150));
    expect(searched(sampler, (node) => node >= 50)).toEqual([...range(150, 200), ...range(50, 100)]);
    expect(searched(sampler, () => true)[0]).toBe(100);
  });

  it('looks at all nodes where fewer pass than wanted, and stays where it began', () => {
    const sampler = new NodeSampler(200, 0);
    searched(sampler, () => true);
    expect(searched(sampler, (node) => node === 3)).toEqual([3]);
    expect(searched(sampler, () => true)[0]).toBe(100);
  });
});

describe('the choice among equal totals', () => {
  it('takes the highest without drawing where it stands alone', () => {
    const never: Random = { ...seededRandom(1, 'x'), between: () => expect.unreachable('nothing to draw') };
    expect(selectHost(Float64Array.of(3, 9, 1), 3, never)).toBe(1);
    expect(selectHost(new Float64Array(0), 0, never)).toBe(-1);
    // Only the first two count.
    expect(selectHost(Float64Array.of(3, 5, 9), 2, never)).toBe(1);
  });

  it('takes each of the highest equally often, and repeats with its seed', () => {
    const chosen = (seed: number): number[] => {
      const random = seededRandom(seed, 'scheduler');
      return Array.from({ length: 30_000 }, () => selectHost(Float64Array.of(5, 9, 9, 1, 9), 5, random));
    };
    const first = chosen(7);
    const count = (position: number): number => first.filter((each) => each === position).length;
    expect(count(0) + count(3)).toBe(0);
    // Ten thousand each, give or take four standard deviations of 82.
    for (const position of [1, 2, 4]) expect(Math.abs(count(position) - 10_000)).toBeLessThan(330);
    expect(chosen(7)).toEqual(first);
    expect(chosen(8)).not.toEqual(first);
  });
});

describe('in-tree scores, by hand', () => {
  it.each([
    // CPU used and in all, memory used and in all; least, balanced, most
    [0, 96, 0, 384, 100, 100, 0],
    [24, 96, 192, 384, 62, 75, 37],
    [1, 3, 0, 384, 83, 66, 16],
    [96, 96, 0, 384, 50, 0, 50],
    [100, 96, 0, 384, 50, 0, 0],
    [0, 0, 0, 384, 50, 0, 0],
  ])('of %i of %i cores and %i of %i GiB', (cpuUsed, cpu, memoryUsed, memory, least, balanced, most) => {
    expect(leastAllocated(cpuUsed, cpu, memoryUsed, memory)).toBe(least);
    expect(balancedAllocation(cpuUsed, cpu, memoryUsed, memory)).toBe(balanced);
    expect(mostAllocated(cpuUsed, cpu, memoryUsed, memory)).toBe(most);
  });
});

describe('the scheduler driver', () => {
  it.each<[SimulatedPolicyName, Partial<SchedulerSettings>]>([
    ['fgd', {}],
    ['bestfit', {}],
    ['fragmentation', { narrow: 0 }],
    ['topology', { narrow: 1 }],
    ['fgd', { ranking: 'advisory', narrow: 1 }],
  ])('places as the policy %s alone does where the best node decides: %o', (policy, changes) => {
    const input = generatedWorkload(3, 0.04, 1.3);
    expect(placements(input, policy, scheduler(changes))).toEqual(placements(input, policy, DIRECT));
  });

  it('places otherwise where equal nodes keep equal scores', () => {
    const input = generatedWorkload(3, 0.04, 1.3);
    const advisory = scheduler({ ranking: 'advisory', narrow: 0, inTreeScores: 'none' });
    const placed = placements(input, 'fgd', advisory);
    expect(placed).not.toEqual(placements(input, 'fgd', DIRECT));
    expect(placements(input, 'fgd', advisory)).toEqual(placed);
  });

  const equals: readonly NodeSketch[] = [{ gpus: 1 }, { gpus: 1 }, { gpus: 1 }];
  const firstNodes = (driver: DriverSettings): Set<string> => {
    const seeds = Array.from({ length: 40 }, (_, seed) => seed);
    return new Set(
      seeds.map((seed) => placements({ ...workload(equals, [[1000, 1, 500]]), seed }, 'bestfit', driver)[0] ?? ''),
    );
  };

  it('draws among equal nodes under advisory ranking, and never under decisive ranking', () => {
    const advisory = scheduler({ ranking: 'advisory' });
    expect(firstNodes(advisory)).toEqual(new Set(['0,n0,0', '0,n1,0', '0,n2,0']));
    // Narrowing leaves the first two in name order.
    expect(firstNodes({ ...advisory, narrow: 2 })).toEqual(new Set(['0,n0,0', '0,n1,0']));
    expect(firstNodes(scheduler({}))).toEqual(new Set(['0,n0,0']));
  });

  it.each([
    // In-tree n0 scores 52 + 6 and n1 98 + 98; the extender gives n0 10 and n1 0.
    ['the extender decides at its weight of 200', { narrow: 0 }, '0,n0,0'],
    ['140 in-tree points outdo 100 of the extender at a weight of 1', { weight: 1, narrow: 0 }, '0,n1,0'],
    ['a list of one node leaves no room for in-tree scores', { weight: 1 }, '0,n0,0'],
    ['the extender decides at a weight of 2', { weight: 2, narrow: 0 }, '0,n0,0'],
    [
      'in-tree scores that prefer the fuller node agree with it',
      { weight: 1, narrow: 0, inTreeScores: 'most-allocated' },
      '0,n0,0',
    ],
    ['no in-tree scores outdo nothing', { weight: 1, narrow: 0, inTreeScores: 'none' }, '0,n0,0'],
  ] as const)('%s', (_, changes, line) => {
    const nodes: readonly NodeSketch[] = [
      { gpus: 1, cores: 16 },
      { gpus: 4, cores: 960 },
    ];
    expect(placements(workload(nodes, [[15_000, 1, 500]]), 'bestfit', scheduler(changes))).toEqual([line]);
  });

  it('leaves pods without GPUs to the in-tree scores, unless told otherwise', () => {
    const nodes: readonly NodeSketch[] = [
      { gpus: 1, cores: 16 },
      { gpus: 1, cores: 96 },
    ];
    const pods: readonly PodSketch[] = [[8000, 0, 0]];
    expect(placements(workload(nodes, pods), 'bestfit', scheduler({ cpuPods: 'policy' }))).toEqual(['0,n0,']);
    expect(placements(workload(nodes, pods), 'bestfit', scheduler({ cpuPods: 'in-tree' }))).toEqual(['0,n1,']);
  });

  it('refuses a pod whose only node was not looked at, and tells so; the next pod finds it', () => {
    const nodes = Array.from({ length: 150 }, (_, at): NodeSketch => ({ gpus: 1, model: at === 149 ? 'G2' : 'T4' }));
    const pods: readonly PodSketch[] = [
      [1000, 1, 500, 'G2'],
      [1000, 1, 500, 'G2'],
      [1000, 1, 500, 'A10'],
    ];
    const input = workload(nodes, pods);
    const sampled = scheduler({ percentageOfNodesToScore: 0 });
    expect(placements(input, 'bestfit', sampled)).toEqual(['0,,', '1,n149,0', '2,,']);
    expect(runInOrder(input, 'bestfit', sampled, () => {}).outcome).toMatchObject({ refused: 2, unseen: 1 });
    expect(runInOrder(input, 'bestfit', scheduler({}), () => {}).outcome).toMatchObject({ refused: 1, unseen: 0 });
  });

  it('sees a node only as a whole before the extender is asked: its filter passes what no single GPU can take', () => {
    const input = workload(
      [{ gpus: 2 }],
      [
        [1000, 1, 600],
        [1000, 1, 600],
        [1000, 1, 700],
        [1000, 1, 400],
      ],
    );
    // 800 milli are free in all and no GPU has 700; then 400 fit.
    expect(placements(input, 'bestfit', scheduler({}))).toEqual(['0,n0,0', '1,n0,1', '2,,', '3,n0,0']);
  });
});
