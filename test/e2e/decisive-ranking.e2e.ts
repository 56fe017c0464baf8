// kube-scheduler obeys the engine: with pods created one after another, every node and every GPU chosen by the real
// scheduler and extender is the one that an engine here chooses, fed with the same events in the same order.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { PodDirectory } from '../../extender/app/pod-directory.ts';
import { nodeFeed, podFeed } from '../../extender/app/reconcile.ts';
import { Engine } from '../../extender/core/engine.ts';
import { Ledger } from '../../extender/core/ledger.ts';
import type { PodRecord } from '../../extender/core/model.ts';
import { isBetter } from '../../extender/core/ranking.ts';
import { FITS } from '../../extender/core/reasons.ts';
import { nodeRecord, podRecord } from '../../extender/core/records.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import { ClusterState } from '../../extender/core/state.ts';
import type { LiveNode } from './cluster.ts';
import { createPods } from './cluster.ts';
import type { RunningProgram } from './control-plane.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { allocatedGpus } from './gpu-replay.ts';
import { eventually } from './process.ts';
import { gpuNodes, gpuPods } from './workload.ts';

const NODES = 80;
const PODS = 300;

let cluster: GpuCluster;
let extender: ExtenderProcess;
let scheduler: RunningProgram;

beforeAll(async () => {
  cluster = await GpuCluster.start({ nodes: gpuNodes(NODES) });
  extender = await cluster.startExtender('extender', ['--no-leader-election']);
  await extender.untilReady();
  scheduler = await cluster.startScheduler({ extenderOrigin: extender.verbsOrigin });
});
afterAll(() => cluster.stop());
beforeEach(() => cluster.reportLogsOnFailure());

test('node and GPUs of every pod are the choice of the engine itself, line by line', async () => {
  const { plane, history } = cluster;
  for (const [index, pod] of gpuPods({ count: PODS, seed: 7 }).entries()) {
    // The extender learns from a pod when its watch shows it, which must not race with the scheduler's first call.
    scheduler.freeze();
    await createPods(plane.admin, [pod]);
    expect(await eventually(() => isKnown(pod.name), 10_000)).toBe(true);
    scheduler.thaw();
    await history.untilBound(index + 1, 20_000);
  }
  await history.finish();
  const { chosen, expected } = await replayChoices();
  expect(chosen).toHaveLength(PODS);
  expect(chosen).toEqual(expected);
  await cluster.expectSound(extender);
});

async function isKnown(pod: string): Promise<boolean> {
  const answer = await fetch(`${extender.opsOrigin}/explain?pod=default/${pod}`);
  await answer.arrayBuffer();
  return answer.status === 200;
}

/** What was chosen, and what an engine here chooses at that point of the same history. */
async function replayChoices(): Promise<{ readonly chosen: readonly string[]; readonly expected: readonly string[] }> {
  const engine = new Engine({ ledger: new Ledger(new ClusterState()), shapes: new Map() });
  const clock = { wallMillis: () => 0, monotonicMillis: () => 0 };
  const pods = podFeed({ engine, pending: new PodDirectory(), clock, onTampered: () => undefined });
  const { items } = await cluster.plane.admin.list<LiveNode>('/api/v1/nodes');
  nodeFeed({ engine }).replace(items.map((item) => nodeRecord(item)).filter((node) => node !== undefined));
  const chosen: string[] = [];
  const expected: string[] = [];
  for (const { pod } of cluster.history.sightings) {
    const record = podRecord(pod, PROFILES.gpuloom);
    if (record === undefined) throw new Error('a pod without identity');
    if (record.nodeName !== '' && engine.ledger.resident(record.uid) === undefined) {
      const gpus = (allocatedGpus(pod) ?? []).map(({ index }) => index);
      chosen.push(`${record.name}: ${record.nodeName} GPU ${gpus.join(',')}`);
      expected.push(`${record.name}: ${choiceOf(engine, record)}`);
    }
    pods.upsert(record);
  }
  return { chosen, expected };
}

function choiceOf(engine: Engine, { demand, namespace, labels }: PodRecord): string {
  if (demand.kind !== 'request') return demand.kind;
  const { state } = engine.ledger;
  const shape = engine.shapeOf(demand.request, namespace, labels);
  const verdicts = engine.verdicts(shape);
  const ranks = state.nameRanks();
  let best = -1;
  for (const node of state.nodeIndices()) {
    if (verdicts.reasons[node] === FITS && (best < 0 || isBetter(verdicts, ranks, node, best))) best = node;
  }
  const placing = best < 0 ? undefined : engine.place(shape, best);
  if (placing?.kind !== 'placed') return 'nowhere';
  return `${state.nodeNames[best] ?? ''} GPU ${placing.gpus.map(({ index }) => index).join(',')}`;
}
