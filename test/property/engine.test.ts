import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drift } from '../../extender/core/drift.ts';
import type { Ledger } from '../../extender/core/ledger.ts';
import type { IsolationLevel, PodRecord } from '../../extender/core/model.ts';
import { ISOLATION_LEVELS, POLICY_NAMES } from '../../extender/core/model.ts';
import { FITS } from '../../extender/core/reasons.ts';
import { restoreSnapshot, takeSnapshot, type Snapshot } from '../../extender/core/snapshot.ts';
import { node, pod, type GpuSketch, type PodSketch } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';

type Step =
  | {
      readonly do: 'arrive';
      readonly pod: PodSketch;
      readonly choice: number;
      readonly end: 'confirm' | 'doubt' | 'forget';
    }
  | { readonly do: 'finish'; readonly choice: number }
  | { readonly do: 'watch'; readonly choice: number }
  | { readonly do: 'repeat'; readonly choice: number }
  | {
      readonly do: 'node';
      readonly name: string;
      readonly gpus: readonly GpuSketch[];
      readonly isolation: IsolationLevel;
    }
  | { readonly do: 'lose node'; readonly name: string };

const nodeName = fc.constantFrom('a', 'b', 'c', 'd');
const gpu = fc.record({
  slices: fc.constantFrom(8, 16, 24),
  model: fc.constantFrom('T4', 'A100'),
  health: fc.constantFrom('healthy' as const, 'healthy' as const, 'unhealthy' as const),
});
const app = fc.constantFrom('web', 'train', 'cache');
const podSketch: fc.Arbitrary<PodSketch> = fc
  .record({
    count: fc.constantFrom(1, 1, 1, 2),
    slices: fc.integer({ min: 1, max: 12 }),
    core: fc.constantFrom(undefined, 10, 50, 100),
    class: fc.constantFrom('online' as const, 'batch' as const),
    app,
    policy: fc.constantFrom(...POLICY_NAMES),
    keepOff: fc.option(app, { nil: undefined }),
    near: fc.option(app, { nil: undefined }),
    model: fc.constantFrom(undefined, 'T4', '!T4'),
    isolation: fc.constantFrom(undefined, undefined, ...ISOLATION_LEVELS),
  })
  .map(({ count, slices, core, class: className, app: label, policy, keepOff, near, model, isolation }) => ({
    name: '',
    count,
    slices: slices * count,
    ...(core === undefined ? {} : { core: core * count }),
    class: className,
    labels: { app: label },
    annotations: {
      'gpuloom.io/placement': policy,
      ...(keepOff === undefined ? {} : { 'gpuloom.io/gpu-anti-affinity': `app=${keepOff}` }),
      ...(near === undefined ? {} : { 'gpuloom.io/gpu-affinity': `app=${near}` }),
      ...(model === undefined ? {} : { 'gpuloom.io/gpu-model': model }),
      ...(isolation === undefined ? {} : { 'gpuloom.io/isolation': isolation }),
    },
  }));
const choice = fc.nat({ max: 1000 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('arrive' as const),
      pod: podSketch,
      choice,
      end: fc.constantFrom('confirm' as const, 'confirm' as const, 'doubt' as const, 'forget' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('finish' as const), choice }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('watch' as const), choice }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('repeat' as const), choice }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('node' as const),
      name: nodeName,
      gpus: fc.array(gpu, { minLength: 1, maxLength: 4 }),
      isolation: fc.constantFrom(...ISOLATION_LEVELS),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose node' as const), name: nodeName }) },
);
const history = fc.array(step, { minLength: 1, maxLength: 60 });

function start(): Bench {
  const gpus = [{ slices: 16 }, { slices: 24, model: 'T4' }, { slices: 16 }];
  return new Bench(
    ['a', 'b', 'c'].map((name) => ({ name, gpus, isolation: name === 'a' ? ('mps' as const) : ('none' as const) })),
    { mixWindow: 16 },
  );
}

function pick<T>(items: Iterable<T>, at: number): T | undefined {
  const all = [...items];
  return all[at % Math.max(1, all.length)];
}

/** Runs one step; returns a line that names every decision, so that two runs can be compared. */
function run(bench: Bench, each: Step, serial: number): string {
  const { ledger, learner } = bench.engine;
  switch (each.do) {
    case 'arrive': {
      const record = pod({ ...each.pod, name: `p${serial}` });
      return arrive(bench, record, each);
    }
    case 'finish': {
      const resident = pick(ledger.residents(), each.choice);
      if (resident !== undefined) ledger.release(resident.pod.uid);
      return 'finish';
    }
    case 'watch': {
      const resident = pick(ledger.residents(), each.choice);
      if (resident === undefined) return 'watch nothing';
      const claim =
        resident.gpus.length > 0 ? { kind: 'gpus' as const, gpus: resident.gpus } : { kind: 'none' as const };
      return ledger.observe({ ...resident.pod, nodeName: resident.nodeName, claim }, serial);
    }
    case 'repeat': {
      const resident = pick(ledger.residents(), each.choice);
      if (resident !== undefined) ledger.setAside(resident.pod.uid);
      return 'set aside';
    }
    case 'node':
      ledger.upsertNode(node({ name: each.name, gpus: each.gpus, isolation: each.isolation }));
      return `node ${each.name}`;
    case 'lose node':
      ledger.removeNode(each.name);
      return `lose ${each.name} ${learner.size}`;
  }
}

function arrive(bench: Bench, record: PodRecord, { choice: at, end }: Extract<Step, { do: 'arrive' }>): string {
  const { engine } = bench;
  const { ledger } = engine;
  if (record.demand.kind !== 'request') throw new Error('the generator makes valid pods only');
  engine.learner.learn(record.demand.request);
  const shape = bench.shape(record);
  const { reasons } = engine.verdicts(shape);
  const fitting = [...ledger.state.nodeIndices()].filter((index) => reasons[index] === FITS);
  const target = pick(fitting, at);
  if (target === undefined) return `${record.name} refused`;
  const placing = engine.place(shape, target);
  if (placing.kind === 'rejected') throw new Error('the cached verdict says it fits');
  const name = ledger.state.nodeNames[target] ?? '';
  ledger.assume(record, record.demand.request, name, placing.gpus, 0);
  if (end === 'confirm') ledger.confirm(record.uid, 0);
  else if (end === 'doubt') ledger.doubt(record.uid, 0);
  else ledger.forget(record.uid);
  return `${record.name} on ${name} ${placing.gpus.map(({ uuid }) => uuid).join()} ${end}`;
}

/** Sums what residents hold on each GPU straight from their requests, with no help from the ledger's columns. */
function overCapacity(ledger: Ledger): string[] {
  const wrong: string[] = [];
  for (const record of ledger.nodes()) {
    if (record.gpus.kind !== 'inventory') continue;
    const index = ledger.state.indexOf(record.name) ?? -1;
    for (const { uuid, slices } of record.gpus.inventory.gpus) {
      let held = 0;
      let core = 0;
      for (const { gpus, request } of ledger.residentsOf(record.name)) {
        if (request === undefined || !gpus.some((key) => key.uuid === uuid)) continue;
        held += request.slicesPerGpu;
        core += request.corePerGpu;
      }
      const isOpen = ledger.state.closedWhy[index] === '';
      if (isOpen && (held > slices || core > 100)) wrong.push(`${uuid}: ${held}/${slices} slices, ${core}% compute`);
    }
  }
  return wrong;
}

/** Whether a pod that requires MPS fits only nodes whose own inventory says so. */
function offersWhatIsRequired(bench: Bench, sketch: PodSketch): boolean {
  const { ledger } = bench.engine;
  const requires = sketch.annotations?.['gpuloom.io/isolation'] === 'mps';
  const { reasons } = bench.engine.verdicts(bench.shape(pod({ ...sketch, name: 'probe' })));
  return [...ledger.nodes()].every(({ name, gpus }) => {
    const offers = gpus.kind === 'inventory' && gpus.inventory.isolation === 'mps';
    return !requires || offers || reasons[bench.indexOf(name)] !== FITS;
  });
}

describe('whatever happens to the cluster', () => {
  it('a pod that requires isolation fits no node that offers less at that moment', () => {
    fc.assert(
      fc.property(history, fc.array(podSketch, { minLength: 2, maxLength: 4 }), (steps, probes) => {
        const bench = start();
        steps.forEach((each, serial) => {
          run(bench, each, serial);
          for (const probe of probes) expect(offersWhatIsRequired(bench, probe)).toBe(true);
        });
      }),
      { numRuns: 100, seed: 21 },
    );
  });

  it('no GPU of an open node is granted beyond its capacity, and the books equal their rebuild', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const bench = start();
        steps.forEach((each, serial) => {
          run(bench, each, serial);
          expect(overCapacity(bench.engine.ledger)).toEqual([]);
        });
        expect(drift(bench.engine.ledger)).toEqual([]);
      }),
      { numRuns: 400, seed: 1 },
    );
  });

  it('cached verdicts and scores equal those computed from scratch', () => {
    fc.assert(
      fc.property(history, fc.array(podSketch, { minLength: 1, maxLength: 3 }), (steps, probes) => {
        const bench = start();
        const shapes = new Map<string, unknown>();
        steps.forEach((each, serial) => {
          run(bench, each, serial);
          for (const probe of probes) {
            const shape = bench.shape(pod({ ...probe, name: 'probe' }));
            shapes.set(shape.key, shape);
            const cached = bench.engine.verdicts(shape);
            for (const index of bench.engine.ledger.state.nodeIndices()) {
              const fresh = bench.engine.place(shape, index);
              expect(cached.reasons[index]).toBe(fresh.kind === 'placed' ? FITS : fresh.reason);
              if (fresh.kind === 'placed') expect(cached.scores[index]).toBe(fresh.score);
            }
          }
        });
      }),
      { numRuns: 150, seed: 2 },
    );
  });

  it('the same history gives the same placements', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const [one, two] = [start(), start()];
        expect(steps.map((each, serial) => run(one, each, serial))).toEqual(
          steps.map((each, serial) => run(two, each, serial)),
        );
      }),
      { numRuns: 100, seed: 3 },
    );
  });

  it('a snapshot through JSON restores the same books, learns on alike, and takes the same snapshot again', () => {
    fc.assert(
      fc.property(history, (steps) => {
        const bench = start();
        steps.forEach((each, serial) => run(bench, each, serial));
        const taken = JSON.parse(JSON.stringify(takeSnapshot(bench.engine))) as Snapshot;
        const restored = new Bench([], { mixWindow: 16 }).engine;
        restoreSnapshot(restored, taken);
        expect(drift(bench.engine.ledger, restored.ledger)).toEqual([]);
        expect(JSON.parse(JSON.stringify(takeSnapshot(restored)))).toEqual(taken);
        for (const engine of [bench.engine, restored]) {
          for (let slices = 1; slices < 9; slices++)
            engine.learner.learn(bench.shape(pod({ name: 'later', slices })).request);
        }
        expect(restored.learner.save()).toEqual(bench.engine.learner.save());
      }),
      { numRuns: 100, seed: 4 },
    );
  });
});
