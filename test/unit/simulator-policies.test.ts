import { describe, expect, it } from 'vitest';
import type { PodRecord } from '../../extender/core/model.ts';
import type { PublishedPolicy } from '../../simulator/policy/published.ts';
import type { SimulatedPolicyName } from '../../simulator/policy/selection.ts';
import { buildCluster } from '../../simulator/run/cluster.ts';
import { DIRECT } from '../../simulator/run/driver.ts';
import { runInOrder } from '../../simulator/run/in-order.ts';
import { workload, type NodeSketch, type PodSketch } from '../support/simulated.ts';

/** Lines of the placements file, less the arrival number. */
function placed(policy: SimulatedPolicyName, nodes: readonly NodeSketch[], pods: readonly PodSketch[]): string[] {
  const input = workload(nodes, pods);
  const { placements } = runInOrder(input, policy, DIRECT, () => {});
  const names = input.nodes.map(({ name }) => name);
  const lines = [...placements.pieces(names)].join('').trimEnd().split('\n');
  return lines.map((line) => line.slice(line.indexOf(',') + 1));
}

/** The score of the first node for the last pod, with the others already on it. */
function scoreOf(policy: PublishedPolicy, node: NodeSketch, pods: readonly PodSketch[]): number {
  const { engine, ledger } = buildCluster(workload([node], pods), policy, () => 0);
  let score = Number.NaN;
  pods.forEach(([cpuMilli, gpuCount, milli], at) => {
    const { list } = workload([node], [[cpuMilli, gpuCount, milli]]);
    const [request] = list.requests;
    if (request === undefined) throw new Error('one pod');
    const placing = engine.place(engine.shapeOf(request, '', {}), 0);
    if (placing.kind === 'rejected') throw new Error(`pod ${at} does not fit`);
    score = placing.score;
    const record: PodRecord = {
      ...{ uid: `${at}`, namespace: '', name: '', nodeName: '', terminal: false, deleting: false, labels: {} },
      ...{ host: request.host, demand: { kind: 'none' }, claim: { kind: 'none' } },
    };
    ledger.assume(record, request, ledger.state.nodeNames[0] ?? '', placing.gpus, 0);
  });
  return score;
}

describe('scores, by hand from the published definitions', () => {
  const two: NodeSketch = { gpus: 2, cores: 64 };
  const eight: NodeSketch = { gpus: 8, cores: 96 };

  it.each<[string, PublishedPolicy, NodeSketch, readonly PodSketch[], number]>([
    // 1 - (0.5 * 60000/128000 + 0.5 * 1500/8000) = 0.6718
    ['bestfit counts what is left of CPU and GPU', 'bestfit', two, [[4000, 1, 500]], 67],
    // 1 - 0.5 * 0 - 0.5 * 0
    ['bestfit gives 100 to a node that is filled', 'bestfit', two, [[64_000, 2, 1000]], 100],
    // (64/128 * 32/128 + 2/8 * 1/8) / 2 = 0.078125
    ['dotprod prefers a small product', 'dotprod', two, [[32_000, 1, 1000]], 92],
    ['gpupacking gives an idle node of two GPUs 31', 'gpupacking', two, [[4000, 1, 500]], 31],
    ['gpupacking gives an idle node of eight GPUs 25', 'gpupacking', eight, [[4000, 1, 500]], 25],
    // The chosen GPU is 50 % free: 100 - 50 / 10
    [
      'gpupacking prefers a used GPU, the fuller the more',
      'gpupacking',
      two,
      [
        [4000, 1, 500],
        [4000, 1, 500],
      ],
      95,
    ],
    [
      'gpupacking takes idle GPUs of a used node next',
      'gpupacking',
      eight,
      [
        [4000, 1, 500],
        [4000, 4, 1000],
      ],
      46,
    ],
    ['gpupacking has no opinion on pods without GPUs', 'gpupacking', eight, [[4000, 0, 0]], 0],
    // 25 * 6000 / 8000 = 18 (a small node counts as used), + 25 without GPU pods
    ['gpuclustering likes nodes without GPU pods', 'gpuclustering', two, [[4000, 1, 500]], 43],
    [
      'gpuclustering takes no notice of pods without GPUs',
      'gpuclustering',
      two,
      [
        [4000, 0, 0],
        [4000, 1, 500],
      ],
      43,
    ],
    // 25 * 500 / 8000 = 1
    [
      'gpuclustering prefers its own kind alone',
      'gpuclustering',
      eight,
      [
        [4000, 1, 500],
        [4000, 1, 300],
      ],
      76,
    ],
    [
      'gpuclustering avoids other kinds',
      'gpuclustering',
      eight,
      [
        [4000, 1, 500],
        [4000, 1, 1000],
      ],
      1,
    ],
    // 25 * 1500 / 8000 = 4
    [
      'gpuclustering accepts its kind among others',
      'gpuclustering',
      eight,
      [
        [4000, 1, 500],
        [4000, 1, 1000],
        [4000, 1, 300],
      ],
      54,
    ],
    ['gpuclustering has no opinion on pods without GPUs', 'gpuclustering', eight, [[4000, 0, 0]], 0],
  ])('%s', (_, policy, node, pods, score) => {
    expect(scoreOf(policy, node, pods)).toBe(score);
  });
});

describe('placements', () => {
  const nodes: readonly NodeSketch[] = [{ gpus: 2 }, { gpus: 2 }];

  it.each<[PublishedPolicy]>([['bestfit'], ['dotprod'], ['gpupacking'], ['gpuclustering'], ['fgd']])(
    '%s: equal nodes are taken in tie-break order, and whole GPUs from the lowest index',
    (policy) => {
      expect(
        placed(policy, nodes, [
          [4000, 2, 1000],
          [4000, 2, 1000],
          [4000, 1, 100],
        ]),
      ).toEqual(['n0,0|1', 'n1,0|1', ',']);
    },
  );

  it.each<[PublishedPolicy]>([['bestfit'], ['gpupacking'], ['gpuclustering']])(
    '%s: a sharing pod takes the tightest GPU that fits',
    (policy) => {
      const pods: readonly PodSketch[] = [
        [1000, 1, 300],
        [1000, 1, 800],
        [1000, 1, 200],
        [1000, 1, 700],
      ];
      expect(placed(policy, [{ gpus: 2 }], pods)).toEqual(['n0,0', 'n0,1', 'n0,1', 'n0,0']);
    },
  );

  it('a pod without GPUs holds a node and no GPU; one that fits nowhere holds neither', () => {
    expect(
      placed('bestfit', nodes, [
        [4000, 0, 0],
        [97_000, 0, 0],
        [4000, 4, 1000],
      ]),
    ).toEqual(['n0,', ',', ',']);
  });

  it('a model constraint is kept, and one that no node meets refuses the pod', () => {
    const mixed: readonly NodeSketch[] = [
      { gpus: 2, model: 'T4' },
      { gpus: 2, model: 'G2' },
    ];
    expect(
      placed('bestfit', mixed, [
        [4000, 1, 500, 'G2|G3'],
        [4000, 1, 500, 'A10'],
      ]),
    ).toEqual(['n1,0', ',']);
  });

  it('fgd keeps whole what the typical pods need whole', () => {
    // Typical: halves, and pods of two GPUs. The second half joins the first, not a fresh GPU.
    expect(
      placed('fgd', nodes, [
        [1000, 1, 500],
        [1000, 1, 500],
        [1000, 2, 1000],
      ]),
    ).toEqual(['n0,0', 'n0,0', 'n1,0|1']);
  });

  it('fgd knows the pods that are still to come; fragmentation, as in production, only those that have arrived', () => {
    const small: readonly NodeSketch[] = [{ gpus: 8 }, { gpus: 1 }];
    const pods: readonly PodSketch[] = [
      [1000, 1, 500],
      [1000, 8, 1000],
    ];
    expect(placed('fgd', small, pods)).toEqual(['n1,0', 'n0,0|1|2|3|4|5|6|7']);
    expect(placed('fragmentation', small, pods)).toEqual(['n0,0', ',']);
  });

  it('random reaches every node and GPU, fits like the others, and repeats with its seed', () => {
    const pods = Array.from({ length: 40 }, (): PodSketch => [1000, 1, 100]);
    const first = placed('random', nodes, pods);
    expect(new Set(first)).toEqual(new Set(['n0,0', 'n0,1', 'n1,0', 'n1,1']));
    expect(first.filter((line) => line === 'n0,0').length).toBeLessThanOrEqual(10);
    expect(placed('random', nodes, pods)).toEqual(first);
    expect(first.includes(',')).toBe(false);
  });
});
