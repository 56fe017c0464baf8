// What the engine keeps between calls must equal what it computes from scratch.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FragmentationMeter } from '../../extender/core/fragmentation.ts';
import { Mix } from '../../extender/core/mix.ts';
import { isBetter } from '../../extender/core/ranking.ts';
import { FITS } from '../../extender/core/reasons.ts';
import { node, pod } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';

const GPUS = [{ slices: 16 }, { slices: 24, model: 'T4' }, { slices: 16 }];

const names = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('place' as const),
      slices: fc.integer({ min: 1, max: 12 }),
      count: fc.constantFrom(1, 1, 2),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('finish' as const), at: fc.nat(50) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('add node' as const), name: names, cpu: fc.constantFrom('2', '8') }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose node' as const), name: names }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function start(defaultPolicy = 'fragmentation'): Bench {
  return new Bench(
    ['b', 'd'].map((name) => ({ name, gpus: GPUS })),
    { mixWindow: 8, defaultPolicy },
  );
}

function apply(bench: Bench, each: Step, serial: number): void {
  const { ledger, learner } = bench.engine;
  if (each.do === 'add node') ledger.upsertNode(node({ name: each.name, gpus: GPUS, cpu: each.cpu }));
  else if (each.do === 'lose node') ledger.removeNode(each.name);
  else if (each.do === 'finish') {
    const residents = [...ledger.residents()];
    ledger.release(residents[each.at % Math.max(1, residents.length)]?.uid ?? '');
  } else {
    const sketch = { name: `p${serial}`, slices: each.slices * each.count, count: each.count };
    const { demand } = pod(sketch);
    if (demand.kind === 'request') learner.learn(demand.request);
    const best = bench.bestNode(sketch);
    if (best !== undefined) bench.place(sketch, best);
  }
}

describe('what is kept between calls', () => {
  it('the best node of a shape is the first of all nodes in the order of ranking', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (steps, slices) => {
        const bench = start();
        const probe = { name: 'probe', slices };
        steps.forEach((each, serial) => {
          apply(bench, each, serial);
          const { state } = bench.engine.ledger;
          const index = bench.engine.bestNode(bench.shape(pod(probe)));
          expect(index < 0 ? undefined : state.nodeNames[index]).toBe(bench.bestNode(probe));
        });
      }),
      { numRuns: 200, seed: 11 },
    );
  });

  it('a shape that is asked for again after any number of changes finds every node as it is', () => {
    const history = fc.array(fc.tuple(step, fc.nat(12)), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(history, fc.integer({ min: 1, max: 12 }), (steps, slices) => {
        // A policy whose scores hold while the typical requests change.
        const bench = start('binpack');
        const shape = bench.shape(pod({ name: 'probe', slices, cpu: '3' }));
        bench.engine.bestNode(shape);
        steps.forEach(([each, rest], serial) => {
          apply(bench, each, serial);
          if (rest > 0) return;
          const { reasons, scores } = bench.engine.verdicts(shape);
          for (const index of bench.engine.ledger.state.nodeIndices()) {
            const fresh = bench.engine.place(shape, index);
            expect(reasons[index]).toBe(fresh.kind === 'placed' ? FITS : fresh.reason);
            if (fresh.kind === 'placed') expect(scores[index]).toBe(fresh.score);
          }
          const best = bench.engine.bestNode(shape);
          expect(best < 0 ? undefined : bench.engine.ledger.state.nodeNames[best]).toBe(
            bench.bestNode({ name: 'probe', slices, cpu: '3' }),
          );
        });
      }),
      { numRuns: 200, seed: 13 },
    );
  });

  it('equal scores go to the first name, whatever the order in which nodes came', () => {
    const bench = new Bench(['c', 'a', 'b'].map((name) => ({ name, gpus: GPUS })));
    const { engine } = bench;
    const shape = bench.shape(pod({ name: 'p', slices: 4 }));
    expect(engine.ledger.state.nodeNames[engine.bestNode(shape)]).toBe('a');
    engine.ledger.upsertNode(node({ name: '0', gpus: GPUS }));
    expect(engine.ledger.state.nodeNames[engine.bestNode(shape)]).toBe('0');
    engine.ledger.removeNode('0');
    const verdicts = engine.verdicts(shape);
    const ranks = engine.ledger.state.nameRanks();
    const index = engine.bestNode(shape);
    expect(verdicts.reasons[index]).toBe(FITS);
    expect([...engine.ledger.state.nodeIndices()].some((other) => isBetter(verdicts, ranks, other, index))).toBe(false);
  });

  it('a meter that remembers nodes measures and tries as one that reads them for the first time', () => {
    const mixes = [4, 8].map(
      (slicesPerGpu, at) =>
        new Mix(
          at,
          [
            { cpuMilli: 1000, slicesPerGpu, corePerGpu: 0, gpuCount: 1, constraintId: 0 },
            { cpuMilli: 4000, slicesPerGpu: 16, corePerGpu: 0, gpuCount: 2, constraintId: 0 },
            { cpuMilli: 2000, slicesPerGpu: 0, corePerGpu: 0, gpuCount: 0, constraintId: 0 },
          ].slice(0, 3 - at),
          [0.5, 0.3, 0.2].slice(0, 3 - at),
        ),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(step, fc.nat(1)), { minLength: 1, maxLength: 40 }), (steps) => {
        const bench = start();
        const kept = new FragmentationMeter(true);
        steps.forEach(([each, which], serial) => {
          apply(bench, each, serial);
          const { state } = bench.engine.ledger;
          const mix = mixes[which] ?? new Mix(9, [], []);
          for (const index of state.nodeIndices()) {
            const fresh = new FragmentationMeter();
            const figures = [kept, fresh].map((meter) => {
              meter.read(state, index, mix);
              const tried = [meter.measure(), meter.measure(1500), meter.afterOn(1, 2, 0, 500)];
              meter.take(0, 1, 0);
              return [...tried, meter.measure(500)];
            });
            expect(figures[0]).toEqual(figures[1]);
          }
        });
      }),
      { numRuns: 100, seed: 12 },
    );
  });
});
