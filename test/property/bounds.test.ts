// On tiny random clusters: no packing whatsoever exceeds the bounds, found by trying them all, nor does any policy.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { noRefusalPercent, placementBounds } from '../../simulator/bound/bounds.ts';
import { arriving, listed, type PodClass } from '../../simulator/bound/demand.ts';
import { loadSolver } from '../../simulator/bound/solver.ts';
import { SIMULATED_POLICIES } from '../../simulator/policy/selection.ts';
import { DIRECT } from '../../simulator/run/driver.ts';
import { runInOrder } from '../../simulator/run/in-order.ts';
import { capacityMilli, milliOf, type SimulatedNode } from '../../simulator/workload.ts';
import { workload, type NodeSketch, type PodSketch } from '../support/simulated.ts';

const solver = await loadSolver();
const ROUNDING = 1e-6;

const node = fc.record({
  gpus: fc.integer({ min: 1, max: 3 }),
  cores: fc.integer({ min: 2, max: 12 }),
  model: model(),
});
const pod = fc.oneof(
  fc.tuple(cpu(), fc.constant(1), fc.constantFrom(110, 190, 270, 330, 340, 470, 510, 590, 810), models()),
  fc.tuple(cpu(), fc.integer({ min: 1, max: 3 }), fc.constant(1000), models()),
  fc.tuple(cpu(), fc.constant(0), fc.constant(0), fc.constant('')),
);
const cluster = fc.array(node, { minLength: 1, maxLength: 3 });
const pods = fc.array(pod, { minLength: 1, maxLength: 7 });

describe('the bounds of a small cluster', () => {
  it('are never exceeded by any packing', () => {
    const check = fc.property(cluster, pods, (nodes: readonly NodeSketch[], arrivals: readonly PodSketch[]) => {
      const input = workload(nodes, arrivals);
      const capacity = capacityMilli(input.nodes);
      const best = mostMilli(input.nodes, listed(input.list));
      const { linearPercent, allCpuOnlyPercent } = placementBounds(solver, input.nodes, listed(input.list));
      expect(linearPercent).toBeGreaterThanOrEqual((best.any / capacity) * 100 - ROUNDING);
      if (best.allCpuOnly === undefined) return;
      expect(allCpuOnlyPercent).toBeGreaterThanOrEqual((best.allCpuOnly / capacity) * 100 - ROUNDING);
      expect(allCpuOnlyPercent).toBeLessThanOrEqual(linearPercent + ROUNDING);
    });
    fc.assert(check, { seed: 31, numRuns: 150 });
  });

  it('are never exceeded by any policy', () => {
    const check = fc.property(cluster, pods, (nodes: readonly NodeSketch[], arrivals: readonly PodSketch[]) => {
      const input = workload(nodes, arrivals);
      const { linearPercent } = placementBounds(solver, input.nodes, arriving(input.list, input.order.pods));
      for (const policy of SIMULATED_POLICIES) {
        const { outcome } = runInOrder(input, policy, DIRECT, () => {});
        expect(outcome.allocationPercent).toBeLessThanOrEqual(linearPercent + ROUNDING);
      }
    });
    fc.assert(check, { seed: 32, numRuns: 60 });
  });

  it('let a mix that fits whole be placed whole', () => {
    const check = fc.property(cluster, pods, (nodes: readonly NodeSketch[], arrivals: readonly PodSketch[]) => {
      const input = workload(nodes, arrivals);
      const classes = listed(input.list);
      const demand = classes.reduce((sum, each) => sum + each.pods * milliOf(each.request), 0);
      if (demand === 0 || mostMilli(input.nodes, classes).pods < arrivals.length) return;
      const percent = (demand / capacityMilli(input.nodes)) * 100;
      expect(noRefusalPercent(solver, input.nodes, classes)).toBeGreaterThanOrEqual(percent - ROUNDING);
    });
    fc.assert(check, { seed: 33, numRuns: 150 });
  });
});

function cpu(): fc.Arbitrary<number> {
  return fc.integer({ min: 1, max: 6 }).map((cores) => cores * 1000);
}

function model(): fc.Arbitrary<string> {
  return fc.constantFrom('T4', 'A10');
}

function models(): fc.Arbitrary<string> {
  return fc.constantFrom('', '', 'A10', 'A10|T4');
}

interface Best {
  /** Most milli with any pods refused. */
  readonly any: number;
  /** Most milli with no CPU-only pod refused; undefined where they do not all fit. */
  readonly allCpuOnly: number | undefined;
  /** Most pods. */
  readonly pods: number;
}

/** By trying every pod on every choice of GPUs of every node, and refusing it. */
function mostMilli(nodes: readonly SimulatedNode[], classes: readonly PodClass[]): Best {
  const requests = classes.flatMap(({ request, pods }) => Array.from({ length: pods }, () => request));
  const freeCpu = nodes.map(({ cpuMilli }) => cpuMilli);
  const freeGpus = nodes.map(({ gpus }) => Array.from({ length: gpus }, () => 1000));
  const best: { any: number; allCpuOnly: number | undefined; pods: number } = {
    any: 0,
    allCpuOnly: undefined,
    pods: 0,
  };
  const place = (at: number, milli: number, refusedCpuOnly: number, placed: number): void => {
    const request = requests[at];
    if (request === undefined) {
      best.any = Math.max(best.any, milli);
      best.pods = Math.max(best.pods, placed);
      if (refusedCpuOnly === 0) best.allCpuOnly = Math.max(best.allCpuOnly ?? 0, milli);
      return;
    }
    const { gpuCount, slicesPerGpu, host, models } = request;
    for (const [each, { model }] of nodes.entries()) {
      if ((freeCpu[each] ?? 0) < host.cpuMilli) continue;
      if (gpuCount > 0 && models.allow.length > 0 && !models.allow.includes(model)) continue;
      for (const chosen of choices(freeGpus[each] ?? [], gpuCount, slicesPerGpu)) {
        take(freeCpu, each, host.cpuMilli);
        for (const gpu of chosen) take(freeGpus[each] ?? [], gpu, slicesPerGpu);
        place(at + 1, milli + milliOf(request), refusedCpuOnly, placed + 1);
        take(freeCpu, each, -host.cpuMilli);
        for (const gpu of chosen) take(freeGpus[each] ?? [], gpu, -slicesPerGpu);
      }
    }
    place(at + 1, milli, refusedCpuOnly + (gpuCount === 0 ? 1 : 0), placed);
  };
  place(0, 0, 0, 0);
  return best;
}

function take(amounts: number[], at: number, amount: number): void {
  amounts[at] = (amounts[at] ?? 0) - amount;
}

/** Every set of `count` GPUs with room; of GPUs with equally much free only the first ones. */
function choices(free: readonly number[], count: number, milli: number): number[][] {
  const fitting = [...free.keys()].filter((gpu) => (free[gpu] ?? 0) >= milli);
  const distinct = fitting.filter((gpu) => free.indexOf(free[gpu] ?? 0) === gpu);
  if (count === 0) return [[]];
  if (count === 1) return distinct.map((gpu) => [gpu]);
  return fitting.length < count ? [] : [fitting.slice(0, count)];
}
