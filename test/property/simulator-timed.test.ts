// What holds of every timed run, whatever the cluster, the pods, the policy and the driver. Checked from the schedule
// alone, without the ledger that made it.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drift } from '../../extender/core/drift.ts';
import type { SimulatedPolicyName } from '../../simulator/policy/selection.ts';
import { DIRECT, SHIPPED_SCHEDULER, type DriverSettings } from '../../simulator/run/driver.ts';
import { runTimed, type TimedRun } from '../../simulator/timed/run.ts';
import type { TimedWorkload } from '../../simulator/timed/workload.ts';
import { MILLI_PER_GPU } from '../../simulator/workload.ts';
import { timedWorkload, type NodeSketch, type PodSketch, type TimedPodSketch } from '../support/simulated.ts';

const SEED = 20_260_101;
const RUNS = 150;

const shape = fc.oneof(
  fc.tuple(fc.integer({ min: 500, max: 12_000 }), fc.constant(0), fc.constant(0)),
  fc.tuple(
    fc.integer({ min: 500, max: 12_000 }),
    fc.constant(1),
    fc.integer({ min: 1, max: 10 }).map((tenth) => tenth * 100),
  ),
  fc.tuple(fc.integer({ min: 500, max: 12_000 }), fc.integer({ min: 2, max: 4 }), fc.constant(MILLI_PER_GPU)),
);
const model = fc.constantFrom('', 'T4', 'G2', 'A10');
const podSketch = fc.record({
  at: fc.integer({ min: 0, max: 40 }),
  seconds: fc.integer({ min: 0, max: 30 }),
  pod: fc
    .tuple(shape, model)
    .map(([[cpu, gpus, milli], models]): PodSketch => [cpu, gpus, milli, gpus === 0 ? '' : models]),
  class: fc.constantFrom('online' as const, 'batch' as const),
});
const nodeSketch = fc.record({
  gpus: fc.integer({ min: 0, max: 4 }),
  cores: fc.integer({ min: 4, max: 24 }),
  model: fc.constantFrom('T4', 'G2'),
});
const driver = fc.constantFrom<DriverSettings>(
  DIRECT,
  SHIPPED_SCHEDULER,
  { ...SHIPPED_SCHEDULER, ranking: 'advisory', weight: 1, cpuPods: 'policy' },
  { ...SHIPPED_SCHEDULER, ranking: 'advisory', percentageOfNodesToScore: 0, narrow: 0 },
);
const policy = fc.constantFrom<SimulatedPolicyName>('fgd', 'bestfit', 'fragmentation', 'spread');
const scene = fc.record({
  nodes: fc.array(nodeSketch, { minLength: 1, maxLength: 5 }),
  pods: fc.array(podSketch, { maxLength: 30 }).map((pods) => pods.toSorted((a, b) => a.at - b.at)),
  driver,
  policy,
  cutSeconds: fc.option(fc.integer({ min: 0, max: 60 }), { nil: undefined }),
});

interface Scene {
  readonly nodes: readonly NodeSketch[];
  readonly pods: readonly TimedPodSketch[];
  readonly driver: DriverSettings;
  readonly policy: SimulatedPolicyName;
  readonly cutSeconds: number | undefined;
}

function ran({
  nodes,
  pods,
  driver: settings,
  policy: name,
  cutSeconds,
}: Scene): TimedRun & { readonly input: TimedWorkload } {
  const untilMillis = cutSeconds === undefined ? undefined : cutSeconds * 1000;
  const input = { ...timedWorkload(nodes, pods), untilMillis };
  return { ...runTimed(input, name, settings, () => {}), input };
}

function holds(check: (scene: Scene, run: TimedRun & { readonly input: TimedWorkload }) => void): void {
  fc.assert(
    fc.property(scene, (each) => {
      check(each, ran(each));
    }),
    { seed: SEED, numRuns: RUNS },
  );
}

/** Pods that hold their place at a moment; one that leaves at that moment is gone. */
function present({ schedule }: TimedRun, atMillis: number): number[] {
  return [...schedule.placedMillis.keys()].filter((arrival) => {
    const placed = schedule.placedMillis[arrival] ?? Number.NaN;
    const left = schedule.leftMillis[arrival] ?? Number.NaN;
    return placed <= atMillis && !(left <= atMillis);
  });
}

describe('every timed run', () => {
  it('keeps every GPU and every CPU within its capacity at all times', () => {
    holds(({ nodes, pods }, run) => {
      for (const moment of new Set(run.schedule.placedMillis)) {
        const gpu = new Map<string, number>();
        const cpu = new Map<number, number>();
        for (const arrival of present(run, moment)) {
          const node = run.schedule.placements.nodeOf(arrival);
          const [cpuMilli = 0, , milli = 0] = pods[arrival]?.pod ?? [];
          cpu.set(node, (cpu.get(node) ?? 0) + cpuMilli);
          for (const index of run.schedule.placements.gpusOf(arrival)) {
            expect(index).toBeLessThan(nodes[node]?.gpus ?? 0);
            gpu.set(`${node}/${index}`, (gpu.get(`${node}/${index}`) ?? 0) + milli);
          }
        }
        for (const held of gpu.values()) expect(held).toBeLessThanOrEqual(MILLI_PER_GPU);
        for (const [node, held] of cpu) expect(held).toBeLessThanOrEqual((nodes[node]?.cores ?? 0) * 1000);
      }
    });
  });

  it('gives every placed pod the GPUs it asked for, not before it came, and takes them when its time is over', () => {
    holds(({ pods }, { schedule }) => {
      pods.forEach(({ at, seconds, pod: [, gpus] }, arrival) => {
        const placed = schedule.placedMillis[arrival] ?? Number.NaN;
        const left = schedule.leftMillis[arrival] ?? Number.NaN;
        if (Number.isNaN(placed)) return;
        expect(placed).toBeGreaterThanOrEqual(at * 1000);
        expect(schedule.placements.gpusOf(arrival)).toHaveLength(gpus);
        if (!Number.isNaN(left)) expect(left).toBe(placed + seconds * 1000);
      });
    });
  });

  it('ends with every arrival placed, waiting, or known to fit no node', () => {
    holds((_, { outcome }) => {
      const { online, batch } = outcome.classes;
      const sum = (of: 'pods' | 'placed' | 'stillWaiting' | 'unplaceable'): number => online[of] + batch[of];
      expect(sum('pods')).toBe(outcome.pods);
      expect(sum('placed') + sum('stillWaiting') + sum('unplaceable')).toBe(outcome.pods);
      expect(outcome.finished + outcome.running).toBe(sum('placed'));
    });
  });

  it('that is not cut off leaves nobody running or waiting, and an empty cluster', () => {
    holds((each) => {
      const { outcome, cluster } = ran({ ...each, cutSeconds: undefined });
      expect(outcome.pods).toBe(each.pods.length);
      expect(outcome.running).toBe(0);
      expect(outcome.classes.online.stillWaiting + outcome.classes.batch.stillWaiting).toBe(0);
      expect(cluster.ledger.size).toBe(0);
    });
  });

  it('leaves no pod waiting that would fit as things are', () => {
    holds((each, { schedule, outcome, cluster, input }) => {
      const end = outcome.endSeconds * 1000;
      each.pods.forEach(({ at }, arrival) => {
        if (at * 1000 > end || !Number.isNaN(schedule.placedMillis[arrival] ?? 0)) return;
        const request = input.list.requests[input.list.pods[arrival] ?? -1];
        if (request !== undefined) expect(cluster.engine.bestNode(cluster.engine.shapeOf(request, '', {}))).toBe(-1);
      });
    });
  });

  it('leaves books that a rebuild from scratch agrees with', () => {
    holds((_, { cluster }) => expect(drift(cluster.ledger)).toEqual([]));
  });

  it('is the same again', () => {
    holds((each, { outcome, schedule }) => {
      const again = ran(each);
      expect(again.outcome).toEqual(outcome);
      expect(again.schedule.placedMillis).toEqual(schedule.placedMillis);
    });
  });
});
