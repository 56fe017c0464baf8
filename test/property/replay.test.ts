// Replaying a random cluster: its books are the extender's own, whichever document they come from.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drift } from '../../extender/core/drift.ts';
import { DEFAULT_LIMITS } from '../../extender/core/limits.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import { takeSnapshot } from '../../extender/core/snapshot.ts';
import { openBooks } from '../../simulator/replay/books.ts';
import { readKubectlList } from '../../simulator/replay/kubectl-list.ts';
import { readSnapshotFile } from '../../simulator/replay/snapshot-file.ts';
import { pod, type NodeSketch, type PodSketch } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';
import { kubectlObjects, kubectlText, replayed, type ScenePod } from '../support/replayed.ts';

const SETTINGS = { policy: 'fragmentation', limits: DEFAULT_LIMITS, mix: 'pods' } as const;

const gpu = fc.record({
  slices: fc.constantFrom(8, 16, 24),
  model: fc.constantFrom('T4', 'A100'),
  health: fc.constantFrom('healthy' as const, 'healthy' as const, 'healthy' as const, 'unhealthy' as const),
});
const nodes = fc
  .array(fc.record({ gpus: fc.array(gpu, { maxLength: 4 }), cpu: fc.constantFrom('4', '64') }), {
    minLength: 1,
    maxLength: 5,
  })
  .map((list) => list.map((each, at): NodeSketch => ({ name: `n${at}`, ...each })));
const podSketch = fc.record({
  count: fc.constantFrom(1, 1, 1, 2),
  slices: fc.integer({ min: 0, max: 12 }),
  core: fc.constantFrom(undefined, 10, 50),
  class: fc.constantFrom('online' as const, 'batch' as const),
  minute: fc.integer({ min: 0, max: 59 }),
  keepOff: fc.constantFrom(undefined, undefined, 'web'),
  model: fc.constantFrom(undefined, undefined, 'T4'),
});
const pods = fc.array(podSketch, { maxLength: 30 }).map((list) =>
  list.map(({ count, slices, core, class: className, minute, keepOff, model }, at): PodSketch => ({
    name: `p${at}`,
    count,
    slices: slices * count,
    ...(core === undefined || slices === 0 ? {} : { core: core * count }),
    class: className,
    labels: { app: at % 3 === 0 ? 'web' : 'other' },
    creationTimestamp: `2026-01-01T00:${String(minute).padStart(2, '0')}:00Z`,
    annotations: {
      ...(keepOff === undefined ? {} : { 'gpuloom.io/gpu-anti-affinity': `app=${keepOff}` }),
      ...(model === undefined ? {} : { 'gpuloom.io/gpu-model': model }),
    },
  })),
);

/** The pods placed where the engine puts them, as an extender would have; those that fit nowhere wait. */
function lived(
  nodeSketches: readonly NodeSketch[],
  podSketches: readonly PodSketch[],
): { bench: Bench; scene: ScenePod[] } {
  const bench = new Bench(nodeSketches, { checksHost: true });
  const scene = podSketches.map((sketch): ScenePod => {
    const record = pod(sketch);
    if (record.demand.kind !== 'request') return sketch;
    bench.engine.learner.learn(record.demand.request);
    const node = bench.bestNode(sketch);
    return node === undefined ? sketch : { ...sketch, on: [node, ...bench.place(sketch, node)] };
  });
  return { bench, scene };
}

async function* chunksOf(text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(text);
}

describe('a replay of a cluster that an engine filled', () => {
  it('has the books of that engine, from a snapshot and from a list', async () => {
    await fc.assert(
      fc.asyncProperty(nodes, pods, async (nodeSketches, podSketches) => {
        const { bench, scene } = lived(nodeSketches, podSketches);
        const taken = JSON.stringify(takeSnapshot(bench.engine));
        const listed = kubectlText(kubectlObjects({ nodes: nodeSketches, pods: scene }));
        const options = { file: 'document', profile: PROFILES.gpuloom, skipOrphans: false };
        for (const cluster of [
          await readSnapshotFile(chunksOf(taken), options),
          await readKubectlList(chunksOf(listed), options),
        ]) {
          const { ledger } = openBooks(cluster, cluster.nodes, cluster.residents, SETTINGS);
          expect(drift(bench.engine.ledger, ledger)).toEqual([]);
          expect(ledger.size).toBe(bench.engine.ledger.size);
        }
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  it('answers alike from a snapshot and from a list, finds no drift', async () => {
    await fc.assert(
      fc.asyncProperty(nodes, pods, async (nodeSketches, podSketches) => {
        const { bench, scene } = lived(nodeSketches, podSketches);
        const waiting = scene.flatMap(({ on, ...sketch }) => (on === undefined ? [pod(sketch)] : []));
        const gpuPods = waiting.filter(({ demand }) => demand.kind !== 'none');
        const taken = JSON.stringify(takeSnapshot(bench.engine, gpuPods));
        const listed = kubectlText(kubectlObjects({ nodes: nodeSketches, pods: scene }));
        const argv = ['--mix', 'pods', '--policy', 'binpack', '--order', 'seed:3', '--remove-nodes', 'n0', '--repack'];
        const fromSnapshot = await replayed('snapshot', taken, ...argv);
        const fromList = await replayed('kubectl', listed, ...argv);
        expect({ ...fromList, document: undefined, findings: [] }).toEqual({
          ...fromSnapshot,
          document: undefined,
          findings: [],
        });
        expect(fromSnapshot.findings.map(({ kind }) => kind).filter((kind) => kind !== 'unhealthy-gpu')).toEqual([]);
        checkSums(fromSnapshot, scene);
      }),
      { numRuns: 60, seed: 2 },
    );
  });
});

/** Whatever was asked: no pod is lost, no GPU holds more than it has. */
function checkSums(
  { today, changed, anew, repack }: Awaited<ReturnType<typeof replayed>>,
  scene: readonly ScenePod[],
): void {
  const gpuPods = scene.filter(({ slices }) => slices !== 0).length;
  for (const outcome of [changed, anew]) {
    if (outcome === undefined) continue;
    const { occupancy, groups } = outcome;
    for (const { pods: all, fit, refusals } of groups) {
      expect(fit + refusals.reduce((sum, { pods: refused }) => sum + refused, 0)).toBe(all);
    }
    expect(occupancy.closedNodes).toBe(0);
    expect(occupancy.allocatedSlices + occupancy.freeSlices).toBeLessThanOrEqual(occupancy.slices);
    expect(occupancy.strandedSlices ?? 0).toBeLessThanOrEqual(occupancy.freeSlices);
  }
  expect((anew?.groups ?? []).reduce((sum, { pods: all }) => sum + all, 0)).toBe(gpuPods);
  expect(today.occupancy.allocatedSlices).toBeLessThanOrEqual(today.occupancy.slices);
  expect(repack?.fewMoves.freedSlices).toBeDefined();
}
