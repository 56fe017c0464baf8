import { describe, expect, it } from 'vitest';
import type { PolicyName } from '../../extender/core/model.ts';
import { gpusOf, pod, type NodeSketch, type PodSketch } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';

function policy(name: PolicyName, sketch: PodSketch): PodSketch {
  return { ...sketch, annotations: { ...sketch.annotations, 'gpuloom.io/placement': name } };
}

const twoNodes: readonly NodeSketch[] = [
  { name: 'a', gpus: gpusOf(2, 16) },
  { name: 'b', gpus: gpusOf(2, 16) },
];

describe('binpack', () => {
  it('fills the fullest GPU that fits, on the fullest node', () => {
    const bench = new Bench(twoNodes);
    bench.place({ name: 'first', slices: 4 }, 'b');
    const next = policy('binpack', { name: 'next', slices: 4 });
    expect(bench.bestNode(next)).toBe('b');
    expect(bench.place(next, 'b')).toEqual([0]);
    expect(bench.place(policy('binpack', { name: 'large', slices: 12 }), 'b')).toEqual([1]);
  });
});

describe('spread', () => {
  it('takes the emptiest GPU, on the emptiest node', () => {
    const bench = new Bench(twoNodes);
    bench.place({ name: 'first', slices: 4 }, 'a');
    const next = policy('spread', { name: 'next', slices: 4 });
    expect(bench.bestNode(next)).toBe('b');
    expect(bench.place(policy('spread', { name: 'same node', slices: 4 }), 'a')).toEqual([1]);
  });
});

describe('topology', () => {
  // Pairs 0-2 and 1-3 are linked; 0 and 1 share NUMA node 0.
  const links = [
    [0, 0, 12, 0],
    [0, 0, 0, 12],
    [12, 0, 0, 0],
    [0, 12, 0, 0],
  ];
  const gpus = [0, 0, 1, 1].map((numa) => ({ slices: 16, numa }));

  it('gives a pod of several GPUs those with the strongest links', () => {
    const bench = new Bench([{ name: 'n', gpus, links }]);
    expect(bench.place(policy('topology', { name: 'pair', slices: 8, count: 2 }), 'n')).toEqual([0, 2]);
    expect(bench.place(policy('topology', { name: 'large pair', slices: 26, count: 2 }), 'n')).toEqual([1, 3]);
  });

  it('keeps to one NUMA node where no links are known', () => {
    const bench = new Bench([{ name: 'n', gpus }]);
    bench.place({ name: 'filler', slices: 12, annotations: { 'gpuloom.io/gpu-uuid': 'GPU-n-0' } }, 'n');
    expect(bench.place(policy('topology', { name: 'pair', slices: 16, count: 2 }), 'n')).toEqual([2, 3]);
  });

  it('prefers the node whose GPUs are close', () => {
    const bench = new Bench([
      { name: 'a-far', gpus: gpusOf(2, 16) },
      {
        name: 'z-near',
        gpus: gpusOf(2, 16),
        links: [
          [0, 4],
          [4, 0],
        ],
      },
    ]);
    expect(bench.bestNode(policy('topology', { name: 'pair', slices: 8, count: 2 }))).toBe('z-near');
  });
});

describe('fragmentation', () => {
  it('keeps whole GPUs whole when whole GPUs are what others ask for', () => {
    const bench = new Bench(twoNodes);
    for (const slices of [16, 16, 16, 4]) {
      bench.engine.learner.learn(bench.shape(pod({ name: `seen ${slices}`, slices })).request);
    }
    bench.place({ name: 'small', slices: 4 }, 'b');
    expect(bench.bestNode({ name: 'next', slices: 4 })).toBe('b');
    expect(bench.place({ name: 'next', slices: 4 }, 'b')).toEqual([0]);
  });

  it('breaks ties by node name and GPU index', () => {
    const bench = new Bench([...twoNodes].reverse());
    expect(bench.bestNode({ name: 'p', slices: 16 })).toBe('a');
    expect(bench.place({ name: 'p', slices: 16 }, 'a')).toEqual([0]);
  });
});
