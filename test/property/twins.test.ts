// Nodes in equal states share one judgement, so nothing that a judgement reads may be missed when states are compared.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClusterState } from '../../extender/core/state.ts';
import { Ledger } from '../../extender/core/ledger.ts';
import { FITS } from '../../extender/core/reasons.ts';
import { Twins } from '../../extender/core/twins.ts';
import { node, pod, type PodSketch } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';

const GPUS = [{ slices: 16 }, { slices: 16 }];
/** Where things are, when they changed, and what only the policy `topology` reads. */
const NOT_COMPARED = ['gpuStart', 'changedAt', 'gpuNuma'];

function machines(names: readonly string[]): ClusterState {
  const state = new ClusterState();
  const ledger = new Ledger(state);
  for (const name of names) ledger.upsertNode(node({ name, gpus: GPUS }));
  return state;
}

function columnsOf(state: ClusterState): readonly (readonly [string, Uint8Array | Int32Array | Float64Array])[] {
  return Object.entries(state).flatMap(([name, column]) =>
    column instanceof Uint8Array || column instanceof Int32Array || column instanceof Float64Array
      ? [[name, column] as const]
      : [],
  );
}

describe('nodes in equal states', () => {
  it('are all led back to the first of them', () => {
    expect([...new Twins().firsts(machines(['a', 'b', 'c'])).subarray(0, 3)]).toEqual([0, 0, 0]);
  });

  it('stop being twins when anything that a judgement reads differs, whichever column it is in', () => {
    const columns = columnsOf(new ClusterState()).map(([name]) => name);
    expect(columns.length).toBeGreaterThan(15);
    const told = columns.filter((name) => {
      const state = machines(['a', 'b', 'c']);
      const twins = new Twins();
      twins.firsts(state);
      const column = new Map(columnsOf(state)).get(name);
      // The second GPU of the second node; columns of nodes have the node itself there.
      const at =
        name.startsWith('gpu') && name !== 'gpuCount' && name !== 'gpuStart' ? (state.gpuStart[1] ?? 0) + 1 : 1;
      if (column === undefined) throw new Error(`no column ${name}`);
      column[at] = (column[at] ?? 0) + 1;
      state.mark(1);
      return twins.firsts(state)[1] === 1;
    });
    expect(columns.filter((name) => !told.includes(name))).toEqual(NOT_COMPARED);
  });

  it('stay apart from those that were their twins when several change in the same way at once', () => {
    const state = machines(['a', 'b', 'c']);
    const twins = new Twins();
    twins.firsts(state);
    for (const index of [0, 2]) {
      state.gpuHealthy[state.gpuStart[index] ?? 0] = 0;
      state.mark(index);
    }
    expect([...twins.firsts(state).subarray(0, 3)]).toEqual([0, 1, 0]);
  });

  it('are judged once for a shape, and each for itself where the shape looks at pods or GPU names', () => {
    const bench = new Bench(Array.from({ length: 40 }, (_, at) => ({ name: `n${at}`, gpus: GPUS })));
    const judged = (sketch: PodSketch): number => bench.engine.verdicts(bench.shape(pod(sketch))).judged;
    expect(judged({ name: 'p', slices: 4 })).toBe(1);
    bench.place({ name: 'p', slices: 4 }, 'n7');
    expect(judged({ name: 'q', slices: 5 })).toBe(2);
    expect(judged({ name: 'r', slices: 5, annotations: { 'gpuloom.io/gpu-uuid': 'GPU-n7-0' } })).toBe(40);
    expect(judged({ name: 's', slices: 5, annotations: { 'gpuloom.io/gpu-affinity': 'app=web' } })).toBe(40);
  });

  it('take the verdict and the score that each would get alone, whatever happened before', () => {
    const placing = fc.record({
      slices: fc.integer({ min: 1, max: 12 }),
      class: fc.constantFrom('online' as const, 'batch' as const),
      core: fc.constantFrom(undefined, 30),
      at: fc.nat(7),
    });
    const history = fc.array(fc.oneof({ weight: 4, arbitrary: placing }, fc.record({ release: fc.nat(20) })), {
      minLength: 1,
      maxLength: 30,
    });
    fc.assert(
      fc.property(history, (steps) => {
        const bench = new Bench(
          Array.from({ length: 8 }, (_, at) => ({ name: `n${at}`, gpus: GPUS, cpu: at < 6 ? '64' : '4' })),
          { mixWindow: 8, checksHost: true },
        );
        const { ledger, learner } = bench.engine;
        steps.forEach((each, serial) => {
          if ('release' in each) {
            const residents = [...ledger.residents()];
            ledger.release(residents[each.release % Math.max(1, residents.length)]?.uid ?? '');
          } else {
            const { slices, core, at } = each;
            const sketch = { name: `p${serial}`, slices, class: each.class, ...(core === undefined ? {} : { core }) };
            const shape = bench.shape(pod(sketch));
            learner.learn(shape.request);
            if (bench.reason(sketch, `n${at}`) === 'Fits') bench.place(sketch, `n${at}`);
          }
          // CPU that nobody asked for before: a shape that is judged for the first time.
          const shape = bench.shape(pod({ name: 'probe', slices: 3, cpu: `${1000 + serial}m` }));
          const { reasons, scores } = bench.engine.verdicts(shape);
          for (const index of ledger.state.nodeIndices()) {
            const fresh = bench.engine.place(shape, index);
            expect(reasons[index]).toBe(fresh.kind === 'placed' ? FITS : fresh.reason);
            if (fresh.kind === 'placed') expect(scores[index]).toBe(fresh.score);
          }
        });
      }),
      { numRuns: 100, seed: 31 },
    );
  });
});
