// Bounds against what can be counted by hand, and the pieces they are made of.

import { describe, expect, it } from 'vitest';
import { neverHosted, noRefusalPercent, placementBounds, type AllocationBounds } from '../../simulator/bound/bounds.ts';
import { inflated, listed, nodeShapes } from '../../simulator/bound/demand.ts';
import { formulate } from '../../simulator/bound/formulation.ts';
import { knownBoundsOf } from '../../simulator/bound/known.ts';
import { LinearProgram, provenMost } from '../../simulator/bound/linear-program.ts';
import { gridFor, sharingGraph } from '../../simulator/bound/sharing-graph.ts';
import { loadSolver } from '../../simulator/bound/solver.ts';
import { publishedTraces } from '../../simulator/published/results.ts';
import { workload, type NodeSketch, type PodSketch } from '../support/simulated.ts';

const solver = await loadSolver();

function bounds(nodes: readonly NodeSketch[], pods: readonly PodSketch[]): AllocationBounds {
  const input = workload(nodes, pods);
  const classes = listed(input.list);
  return {
    noRefusalPercent: noRefusalPercent(solver, input.nodes, classes),
    ...placementBounds(solver, input.nodes, classes),
  };
}

function times(count: number, pod: PodSketch): readonly PodSketch[] {
  return Array.from({ length: count }, () => pod);
}

describe('the bounds of a workload counted by hand', () => {
  it('one GPU takes one pod of 600 milli, not 1.67, and the rest of it nothing else', () => {
    expect(bounds([{ gpus: 1 }], times(3, [1000, 1, 600]))).toEqual({
      linearPercent: 60,
      allCpuOnlyPercent: 60,
      noRefusalPercent: 60,
    });
  });

  it('one GPU takes a pod of 600 milli and one of 300, not one and a third', () => {
    const pods: PodSketch[] = [[1000, 1, 600], ...times(2, [1000, 1, 300])];
    expect(bounds([{ gpus: 1 }], pods)).toMatchObject({ linearPercent: 90, allCpuOnlyPercent: 90 });
  });

  it('pods of 810, 470 and 50 milli: two pairs of the small ones, or one large and three tiny', () => {
    // 2 x 470 + 50 = 990 and 810 + 3 x 50 = 960; with one tiny pod only: 990 and 810.
    const pods: PodSketch[] = [[1000, 1, 810], ...times(2, [1000, 1, 470]), [1000, 1, 50]];
    expect(bounds([{ gpus: 2 }], pods)).toMatchObject({ linearPercent: 90, allCpuOnlyPercent: 90 });
  });

  it('half of an inflexible mix: a node of 4 GPUs, whole pods of 3 GPUs fill 3 of them', () => {
    expect(bounds([{ gpus: 4 }, { gpus: 4 }], times(4, [1000, 3, 1000]))).toMatchObject({
      linearPercent: 75,
      noRefusalPercent: 75,
    });
  });

  it('CPU runs out before GPUs: 10 cores for pods of 4 cores and one GPU', () => {
    expect(bounds([{ gpus: 4, cores: 10 }], times(8, [4000, 1, 1000]))).toMatchObject({ linearPercent: 62.5 });
  });

  it('CPU-only pods take cores from GPU pods only where all of them must be placed', () => {
    const pods: PodSketch[] = [...times(4, [2000, 1, 1000]), [6000, 0, 0]];
    expect(bounds([{ gpus: 4, cores: 10 }], pods)).toEqual({
      linearPercent: 100,
      allCpuOnlyPercent: 50,
      // 14 cores are asked for where there are 10.
      noRefusalPercent: 71.4286,
    });
  });

  it('CPU-only pods that do not fit leave no bound over placing them all', () => {
    const found = bounds([{ gpus: 1, cores: 10 }], [...times(3, [4000, 0, 0]), [1000, 1, 500]]);
    expect(found).toMatchObject({ linearPercent: 50, allCpuOnlyPercent: undefined });
  });

  it('a model that is not there hosts nothing, and its pods are load that nobody can place', () => {
    const pods: PodSketch[] = [...times(3, [1000, 1, 1000, 'T4']), [1000, 1, 1000, 'A10']];
    const input = workload([{ gpus: 3 }], pods);
    expect(bounds([{ gpus: 3 }], pods)).toMatchObject({ linearPercent: 100, noRefusalPercent: 133.3334 });
    expect(neverHosted(input.nodes, listed(input.list))).toBe(1);
  });

  it('a scarce model is full first', () => {
    const nodes: NodeSketch[] = [{ gpus: 1, model: 'A10' }, { gpus: 9 }];
    const pods: PodSketch[] = [...times(4, [1000, 1, 1000, 'A10']), ...times(6, [1000, 1, 1000])];
    expect(bounds(nodes, pods)).toMatchObject({ linearPercent: 70, noRefusalPercent: 25 });
  });

  it('without GPU pods there is no load to speak of', () => {
    expect(bounds([{ gpus: 1 }], [[1000, 0, 0]])).toEqual({
      linearPercent: 0,
      allCpuOnlyPercent: 0,
      noRefusalPercent: undefined,
    });
  });
});

describe('the demand of a bound', () => {
  it('in proportion asks for the load exactly', () => {
    const input = workload(
      [{ gpus: 4 }],
      [
        [1000, 1, 500],
        [1000, 1, 500],
        [1000, 1, 1000],
        [1000, 0, 0],
      ],
    );
    const classes = inflated(input.nodes, listed(input.list), 1.5);
    expect(classes.map(({ pods }) => pods)).toEqual([6, 3, 3]);
  });

  it('counts nodes that differ only in name as one shape', () => {
    const shapes = nodeShapes(workload([{ gpus: 1 }, { gpus: 1 }, { gpus: 2 }], [[1, 0, 0]]).nodes);
    expect(shapes.map(({ gpus, nodes }) => [gpus, nodes])).toEqual([
      [1, 2],
      [2, 1],
    ]);
  });
});

describe('the ways to fill a GPU', () => {
  it('come from large to small, so no way appears twice', () => {
    const { arcs, innerMilli } = sharingGraph([300, 600], 1000);
    expect(arcs.map(({ fromMilli, sizeMilli }) => `${fromMilli}+${sizeMilli}`)).toEqual([
      '0+600',
      '0+300',
      '300+300',
      '600+300',
    ]);
    expect(innerMilli).toEqual([300, 600]);
  });

  it('are all there: every filling has its path', () => {
    const { arcs } = sharingGraph([500, 250], 1000);
    const paths = (fromMilli: number, largest: number): number =>
      1 +
      arcs
        .filter((arc) => arc.fromMilli === fromMilli && arc.sizeMilli <= largest)
        .reduce((sum, { sizeMilli }) => sum + paths(fromMilli + sizeMilli, sizeMilli), 0);
    // 500 and 250 at most: none, 1 to 4 of 250; 500 with 0 to 2 of 250; 2 of 500.
    expect(paths(0, 1000)).toBe(9);
  });

  it('are cut to a grid only where there are too many', () => {
    const sizes = Array.from({ length: 900 }, (_, at) => at + 50);
    expect(gridFor([810, 470, 320], 1000, 15)).toBe(1);
    const gridMilli = gridFor(sizes, 1000, 15);
    expect(gridMilli).toBeGreaterThan(1);
    const pods = sizes.map((size): PodSketch => [1000, 1, size]);
    const classes = listed(workload([{ gpus: 1 }], pods).list);
    const most = (gpus: number): number => {
      const [shape] = nodeShapes(workload([{ gpus, cores: 4000 }], pods).nodes);
      if (shape === undefined) throw new Error('a node has a shape');
      const shapes = Array.from({ length: 4 }, () => shape);
      const solved = solver.solve(formulate(shapes, classes, 'most placed'));
      return solved.kind === 'optimal' ? solved.value : NaN;
    };
    // 449.55 GPUs are asked for. Where there are 1,200 nothing of it is lost to the grid, and 400 hold no more than 400.
    expect(most(300)).toBeCloseTo(449.55, 5);
    expect(most(100)).toBeCloseTo(400, 5);
  });
});

describe('a linear program', () => {
  it('is proven by any prices, and exactly by the best ones', () => {
    const program = new LinearProgram();
    const x = program.variable(3, 10);
    const y = program.variable(2, 10);
    program.atMost(4, [
      [1, x],
      [1, y],
    ]);
    program.exactly(3, [[1, y]]);
    expect(solver.solve(program)).toMatchObject({ kind: 'optimal', value: 9, proven: 9 });
    expect(provenMost(program, [3, -1])).toBe(9);
    expect(provenMost(program, [0, 0])).toBe(50);
    // A price of the wrong sign would prove too little; it counts as none.
    expect(provenMost(program, [-5, 0])).toBe(50);
  });

  it('says where nothing satisfies it', () => {
    const program = new LinearProgram();
    program.exactly(3, [[1, program.variable(0, 2)]]);
    expect(solver.solve(program)).toEqual({ kind: 'infeasible' });
  });

  it('refuses variables without a bound, which no price could prove', () => {
    expect(() => new LinearProgram().variable(1, Infinity)).toThrow(/from 0 to Infinity/);
  });
});

describe('the known bounds of openb', () => {
  it('are there for every published trace, in order of strength', () => {
    for (const trace of publishedTraces()) {
      const [known] = knownBoundsOf(trace);
      const { noRefusalPercent, linearPercent, allCpuOnlyPercent } = known?.bounds ?? { linearPercent: 0 };
      expect(allCpuOnlyPercent).toBeLessThanOrEqual(linearPercent);
      expect(noRefusalPercent).toBeLessThanOrEqual(linearPercent);
      expect(noRefusalPercent).toBeGreaterThan(70);
    }
    expect(knownBoundsOf('generated')).toEqual([]);
  });
});
