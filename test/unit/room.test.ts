import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ledger } from '../../extender/core/ledger.ts';
import { Mix, type MixClass, MixLearner } from '../../extender/core/mix.ts';
import type { PolicyName } from '../../extender/core/model.ts';
import { FITS } from '../../extender/core/reasons.ts';
import { DEFAULT_ROOM_WEIGHTS } from '../../extender/core/room-weights.ts';
import { RoomMeter } from '../../extender/core/room.ts';
import { ClusterState } from '../../extender/core/state.ts';
import { selectPolicy } from '../../simulator/policy/selection.ts';
import { gpusOf, node, pod, type GpuSketch, type NodeSketch } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';
import { openbFolder } from '../support/openb.ts';
import { callSimulator } from '../support/simulated.ts';

function classOf(slicesPerGpu: number, gpuCount = 1, cpuMilli = 1000, constraintId = 0, corePerGpu = 0): MixClass {
  return { slicesPerGpu, gpuCount, cpuMilli, constraintId, corePerGpu };
}

function evenMix(classes: readonly MixClass[], version = 1): Mix {
  const shares = classes.map(() => 1 / classes.length);
  return new Mix(version, classes, shares);
}

function stateOf(...nodes: readonly NodeSketch[]): ClusterState {
  const state = new ClusterState();
  const ledger = new Ledger(state);
  // The constraint of the classes below that name none.
  state.models.constraintId({ allow: [], deny: [] });
  for (const sketch of nodes) ledger.upsertNode(node(sketch));
  return state;
}

function take(state: ClusterState, taken: readonly number[]): void {
  taken.forEach((slices, at) => (state.gpuFree[at] = Math.max(0, (state.gpuFree[at] ?? 0) - slices)));
}

describe('the room of a node', () => {
  const two = gpusOf(2, 16);

  it.each<[string, readonly GpuSketch[], readonly number[], string, MixClass, number]>([
    ['is the pods that fit each GPU, whole pods only', two, [0, 5], '64', classOf(6), 3],
    ['is nothing where no GPU is large enough', two, [12, 12], '64', classOf(6), 0],
    ['is nothing without the CPU of one pod', two, [0, 0], '64', classOf(16, 1, 65_000), 0],
    // Two pods by GPU and one by CPU: a tenth of the difference is lost.
    ['counts CPU that would run out a little', two, [0, 0], '64', classOf(16, 1, 64_000), 1.9],
    ['counts a pod of two GPUs by 2 to the power of 0.8', two, [0, 0], '64', classOf(16, 2), 2 ** 0.8],
    ['needs different GPUs for one pod', two, [0, 16], '64', classOf(4, 2), 0],
    ['is nothing on unhealthy GPUs', [{ slices: 16, health: 'unhealthy' }], [0], '64', classOf(4), 0],
    ['is bounded by compute', two, [0, 0], '64', classOf(2, 1, 1000, 0, 40), 4],
  ])('%s', (_, gpus, taken, cpu, wanted, room) => {
    const state = stateOf({ name: 'n', gpus, cpu });
    take(state, taken);
    const meter = new RoomMeter();
    meter.read(state, 0, evenMix([wanted]));
    expect(meter.before).toBeCloseTo(room, 9);
  });

  it('is weighed by how common a class is among those that ask for GPUs', () => {
    const state = stateOf({ name: 'n', gpus: two });
    const mix = new Mix(1, [classOf(16), classOf(4), classOf(0, 0)], [0.1, 0.3, 0.6]);
    const meter = new RoomMeter();
    meter.read(state, 0, mix);
    expect(meter.before).toBeCloseTo(0.25 * 2 + 0.75 * 8, 9);
  });

  it('goes by the weights it is given', () => {
    const state = stateOf({ name: 'n', gpus: two, cpu: '64' });
    const meter = new RoomMeter({ ...DEFAULT_ROOM_WEIGHTS, gpuCountExponent: 2, cpuWeight: 0.5 });
    meter.read(state, 0, evenMix([classOf(8, 2, 64_000)]));
    // Two pods of two GPUs each by GPU and one by CPU: half of the difference is lost.
    expect(meter.before).toBeCloseTo(4 * 1.5, 9);
  });

  it('leaves out GPUs of a model that a class does not admit', () => {
    const state = stateOf({ name: 'n', gpus: [...gpusOf(1, 16, 'T4'), ...gpusOf(1, 16, 'A100')] });
    const onlyT4 = state.models.constraintId({ allow: ['T4'], deny: [] });
    const meter = new RoomMeter();
    meter.read(state, 0, evenMix([classOf(8, 1, 1000, onlyT4)]));
    expect(meter.before).toBe(2);
  });
});

/** The definition in the plainest form: pods are put down one by one until no more fits. */
function plainRoom(
  state: ClusterState,
  mix: Mix,
  gpus: readonly { free: number; core: number }[],
  cpu: number,
): number {
  let room = 0;
  let total = 0;
  for (let at = 0; at < mix.length; at++) {
    const { cpuMilli, slicesPerGpu, corePerGpu, gpuCount, constraintId } = mix.row(at);
    if (slicesPerGpu === 0) continue;
    total += mix.share[at] ?? 0;
    const left = gpus.map((gpu) => ({ ...gpu }));
    let pods = 0;
    for (;;) {
      const able = left
        .map((gpu, position) => ({ gpu, model: state.gpuModel[position] ?? 0 }))
        .filter(({ model }) => state.models.admits(constraintId, model))
        .map(({ gpu }) => gpu)
        .filter(({ free, core }) => free >= slicesPerGpu && core >= Math.max(1, corePerGpu));
      if (able.length < gpuCount) break;
      const copies = ({ free, core }: { free: number; core: number }): number =>
        Math.min(Math.floor(free / slicesPerGpu), corePerGpu === 0 ? Infinity : Math.floor(core / corePerGpu));
      able.sort((a, b) => copies(b) - copies(a));
      for (const gpu of able.slice(0, gpuCount)) {
        gpu.free -= slicesPerGpu;
        gpu.core -= corePerGpu;
      }
      pods++;
    }
    if (cpu < cpuMilli) continue;
    const byCpu = cpuMilli === 0 ? pods : Math.min(pods, cpu / cpuMilli);
    room += (mix.share[at] ?? 0) * gpuCount ** 0.8 * (0.9 * pods + 0.1 * byCpu);
  }
  return total === 0 ? 0 : room / total;
}

const models = fc.constantFrom('T4', 'A100');
const gpuSketches = fc.array(fc.record({ slices: fc.constantFrom(8, 16, 24), model: models }), {
  minLength: 1,
  maxLength: 5,
});
const rowSketches = fc.array(
  fc.record({
    slices: fc.integer({ min: 0, max: 12 }),
    count: fc.constantFrom(1, 1, 2, 3),
    core: fc.constantFrom(0, 0, 30),
    cpu: fc.constantFrom(0, 1000, 2500, 6000),
    onlyT4: fc.boolean(),
  }),
  { minLength: 1, maxLength: 8 },
);
type Rows = typeof rowSketches extends fc.Arbitrary<infer T> ? T : never;

function mixOf(state: ClusterState, rows: Rows, version = 1): Mix {
  const t4 = state.models.constraintId({ allow: ['T4'], deny: [] });
  const any = state.models.constraintId({ allow: [], deny: [] });
  return evenMix(
    rows.map(({ slices, count, core, cpu, onlyT4 }) =>
      classOf(slices, slices === 0 ? 0 : count, cpu, onlyT4 ? t4 : any, core),
    ),
    version,
  );
}

describe('room, on any node and mix', () => {
  it('is what placing pods one by one gives, before a pod comes, with it on one GPU and with it on several', () => {
    fc.assert(
      fc.property(
        gpuSketches,
        rowSketches,
        fc.array(fc.nat(20), { maxLength: 5 }),
        fc.nat(4),
        (gpus, rows, taken, at) => {
          const state = stateOf({ name: 'n', gpus, cpu: '7' });
          take(state, taken.slice(0, gpus.length));
          taken
            .slice(0, gpus.length)
            .forEach((each, gpu) => (state.gpuFreeCore[gpu] = [100, 100, 60, 0][each % 4] ?? 0));
          const mix = mixOf(state, rows);
          const read = gpus.map((_, gpu) => ({ free: state.gpuFree[gpu] ?? 0, core: state.gpuFreeCore[gpu] ?? 0 }));
          const gpu = at % gpus.length;
          const slices = Math.min(3, read[gpu]?.free ?? 0);
          const on = (chosen: readonly number[]): typeof read =>
            read.map((each, position) =>
              chosen.includes(position) ? { free: each.free - slices, core: each.core - 20 } : each,
            );
          const meter = new RoomMeter();
          meter.read(state, 0, mix);
          expect(meter.before).toBeCloseTo(plainRoom(state, mix, read, 7000), 9);
          expect(meter.afterOn(gpu, slices, 20, 1500)).toBeCloseTo(plainRoom(state, mix, on([gpu]), 5500), 9);
          expect(meter.afterOn(-1, 0, 0, 3000)).toBeCloseTo(plainRoom(state, mix, read, 4000), 9);
          expect(meter.afterTaking(Int32Array.of(gpu), 1, slices, 20, 500)).toBeCloseTo(
            plainRoom(state, mix, on([gpu]), 6500),
            9,
          );
        },
      ),
      { numRuns: 400, seed: 15 },
    );
  });

  it('is the same from what was kept and from scratch, as nodes and the mix change', () => {
    const change = fc.record({ at: fc.nat(9), slices: fc.nat(6), which: fc.nat(1), cpu: fc.nat(3000) });
    fc.assert(
      fc.property(gpuSketches, rowSketches, rowSketches, fc.array(change, { maxLength: 20 }), (gpus, a, b, changes) => {
        const state = stateOf({ name: 'n', gpus, cpu: '7' }, { name: 'o', gpus, cpu: '9' });
        const mixes = [mixOf(state, a, 1), mixOf(state, b, 2)];
        const kept = new RoomMeter();
        for (const { at, slices, which, cpu } of changes) {
          const index = at % 2;
          const slot = (state.gpuStart[index] ?? 0) + (at % gpus.length);
          state.gpuFree[slot] = Math.max(0, (state.gpuFree[slot] ?? 0) - slices);
          state.mark(index);
          const mix = mixes[which] ?? evenMix([]);
          for (const each of [0, 1]) {
            const figures = [kept, new RoomMeter()].map((meter) => {
              meter.read(state, each, mix);
              return [meter.before, meter.afterOn(0, 1, 0, cpu), meter.afterTaking(Int32Array.of(0), 1, 1, 0, cpu)];
            });
            expect(figures[0]).toEqual(figures[1]);
          }
        }
      }),
      { numRuns: 150, seed: 16 },
    );
  });
});

describe('the default policy', () => {
  const learned = (bench: Bench, ...pods: readonly { slices: number; count?: number }[]): void => {
    for (const each of pods) bench.engine.learner.learn(bench.shape(pod({ name: 'seen', ...each })).request);
  };

  it('leaves the GPU that likely pods need and takes the one they cannot use', () => {
    const bench = new Bench([
      { name: 'a', gpus: gpusOf(1, 16) },
      { name: 'b', gpus: gpusOf(1, 16) },
    ]);
    learned(bench, { slices: 16 }, { slices: 16 }, { slices: 4 });
    bench.place({ name: 'first', slices: 4 }, 'b');
    expect(bench.bestNode({ name: 'next', slices: 4 })).toBe('b');
  });

  it('fills a hole exactly rather than cutting another', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(2, 16) }]);
    learned(bench, { slices: 10 }, { slices: 6 }, { slices: 6 });
    expect(bench.place({ name: 'large', slices: 10 }, 'n')).toEqual([0]);
    expect(bench.place({ name: 'small', slices: 6 }, 'n')).toEqual([0]);
  });

  it('counts pods like the one that comes while no likely pod is known to ask for GPUs', () => {
    for (const mix of [new Mix(0, [], []), evenMix([classOf(0, 0)])]) {
      const bench = new Bench([{ name: 'n', gpus: gpusOf(3, 16) }], { mix });
      bench.engine.place(bench.shape(pod({ name: 'p', slices: 6 })), 0);
      expect(bench.engine.lastTerms('fragmentation')).toEqual({ roomBeforePods: 6, roomAfterPods: 5 });
      bench.engine.place(bench.shape(pod({ name: 'pair', slices: 16, count: 2 })), 0);
      expect(bench.engine.lastTerms('fragmentation')['roomBeforePods']).toBeCloseTo(3 * 2 ** 0.8, 9);
    }
  });

  it('scores every node that fits, below the bound that soft affinity relies on', () => {
    fc.assert(
      fc.property(
        gpuSketches,
        fc.array(fc.integer({ min: 1, max: 24 }), { minLength: 1, maxLength: 20 }),
        (gpus, sizes) => {
          const bench = new Bench([{ name: 'n', gpus }], { mixWindow: 8 });
          for (const slices of sizes) {
            learned(bench, { slices });
            const shape = bench.shape(pod({ name: 'p', slices }));
            const isFitting = gpus.some((_, gpu) => (bench.engine.ledger.state.gpuFree[gpu] ?? 0) >= slices);
            const verdicts = bench.engine.verdicts(shape);
            expect(verdicts.reasons[0] === FITS).toBe(isFitting);
            if (!isFitting) continue;
            expect(Math.abs(verdicts.scores[0] ?? Number.NaN)).toBeLessThan(2 ** 30);
            const placing = bench.engine.place(shape, 0);
            expect(placing).toMatchObject({ kind: 'placed', score: verdicts.scores[0] });
            bench.place({ name: `p${bench.engine.ledger.state.generation}`, slices }, 'n');
          }
        },
      ),
      { numRuns: 100, seed: 17 },
    );
  });

  it('takes losses less than a step apart as equal, by the steps it is given', () => {
    const scores = [0.25, 1].map((stepPods) => {
      const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }], { weights: { ...DEFAULT_ROOM_WEIGHTS, stepPods } });
      learned(bench, { slices: 8 });
      return bench.engine.place(bench.shape(pod({ name: 'p', slices: 8 })), 0);
    });
    expect(scores).toMatchObject([{ score: -4 }, { score: -1 }]);
  });

  it.each([
    ['gpuCountExponent', -0.1],
    ['cpuWeight', Number.NaN],
    ['stepPods', 0],
  ])('has no weight %s of %d', (name, value) => {
    const weights = { ...DEFAULT_ROOM_WEIGHTS, [name]: value };
    expect(() => new Bench([], { weights })).toThrow(new RegExp(`weight ${name} is ${value}; it must be from`, 'v'));
  });

  it('tells the room of the node before and after in pods', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(2, 16) }]);
    learned(bench, { slices: 8 });
    bench.engine.place(bench.shape(pod({ name: 'p', slices: 8 })), 0);
    expect(bench.engine.lastTerms('fragmentation')).toEqual({ roomBeforePods: 4, roomAfterPods: 3 });
  });
});

describe('a learned mix', () => {
  it('keeps the classes too rare to be typical in its whole, through saving and loading', () => {
    const { models } = new ClusterState();
    const bench = new Bench([]);
    const learner = new MixLearner(models, 64);
    for (let each = 0; each < 64; each++) {
      learner.learn(bench.shape(pod({ name: 'p', slices: each === 5 ? 9 : 4 })).request);
    }
    expect([...learner.mix.slices]).toEqual([4]);
    expect([...learner.mix.whole.slices]).toEqual([4, 9]);
    const other = new MixLearner(models, 64);
    other.load(learner.save());
    expect(other.mix.whole).toEqual(learner.mix.whole);
    const { whole: _, ...older } = learner.save();
    other.load(older);
    expect([...other.mix.whole.slices]).toEqual([4]);
  });
});

describe('the default policy beside FGD on the openb trace', () => {
  const folder = openbFolder();
  const allocated = async (trace: string, policy: PolicyName | 'fgd'): Promise<number> => {
    const at = folder ?? '';
    const { stdout, stderr } = await callSimulator(
      'run',
      ...['--nodes', `${at}/openb_node_list_gpu_node.csv`, '--pods', `${at}/openb_pod_list_${trace}.csv`],
      ...['--arrivals', `${at}/arrivals/${trace}.jsonl.gz`, '--seed', '43', '--policy', policy, '--json', '-'],
    );
    const result: unknown = stdout === '' ? undefined : JSON.parse(stdout);
    if (typeof result === 'object' && result !== null && 'allocationPercent' in result) {
      return Number(result.allocationPercent);
    }
    throw new Error(`${trace}, ${policy}: ${stderr}`);
  };

  it('knows less than FGD: its mix is learned from the pods that have arrived', () => {
    const draw = (): number => 0;
    const ledger = new Ledger(new ClusterState());
    expect(selectPolicy('fragmentation', ledger, draw).mix).toBe('learned');
    expect(selectPolicy('fgd', ledger, draw).mix).toBe('listed');
  });

  it.skipIf(folder === undefined).each(['cpu250', 'gpushare100', 'multigpu40'])(
    'allocates more at the end of %s (skipped without the trace files)',
    async (trace) => {
      expect(await allocated(trace, 'fragmentation')).toBeGreaterThan(await allocated(trace, 'fgd'));
    },
    60_000,
  );
});
