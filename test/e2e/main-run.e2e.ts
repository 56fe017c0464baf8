// A whole cluster on a real control plane: unequal nodes, two thousand pods of every kind, one extender. What is asserted
// is safety at every moment, completeness at the end, one write per pod, and an explanation for every pod left out.

import { afterAll, beforeAll, beforeEach, expect, onTestFailed, test } from 'vitest';

import type { ApiObject } from './api.ts';
import { inParallel } from './api.ts';
import type { AuditedWrite } from './audit.ts';
import { requireBinaries } from './binaries.ts';
import { bookDifferences, fittingPods, ledgerFromApi } from './books.ts';
import type { LivePod } from './cluster.ts';
import { createNodes, createPods, podsPath } from './cluster.ts';
import { startPulse } from './cluster-pulse.ts';
import type { ControlPlane } from './control-plane.ts';
import { startControlPlane } from './control-plane.ts';
import { ExtenderProcess } from './extender-process.ts';
import { replayViolations } from './gpu-replay.ts';
import { EXTENDER_USER, installRoles, schedulerConfigFile } from './installation.ts';
import { eventually } from './process.ts';
import { WatchHistory } from './watch-history.ts';
import { asFakeNode, gpuNodes, gpuPods, impossiblePods } from './workload.ts';

const NODES = 200;
const PODS = 2_000;
const IMPOSSIBLE_OF_EACH_KIND = 5;
const DELETED = 150;

const nodes = gpuNodes(NODES);
const impossible = impossiblePods(IMPOSSIBLE_OF_EACH_KIND);
const possible = gpuPods({ count: PODS - impossible.length, seed: 2026 });

let plane: ControlPlane;
let extender: ExtenderProcess;
let history: WatchHistory;

beforeAll(async () => {
  plane = await startControlPlane({ binaries: await requireBinaries(), auditLog: true, users: [EXTENDER_USER] });
  await installRoles(plane);
  await createNodes(plane.admin, nodes.map(asFakeNode));
  history = await WatchHistory.start(plane.admin);
  extender = await ExtenderProcess.start(plane, {
    name: 'extender',
    kubeconfig: plane.kubeconfig(EXTENDER_USER.name),
    args: ['--no-leader-election'],
  });
  await extender.untilReady();
  await plane.startScheduler({
    name: 'kube-scheduler',
    configFile: schedulerConfigFile(plane),
    extenderOrigin: extender.verbsOrigin,
    qps: 1_000,
  });
});
afterAll(async () => {
  await plane.stop();
});
beforeEach(() => {
  onTestFailed(async () => {
    console.error(await plane.logTails());
  });
});

test('every pod that fits is bound, also into the room that deleted pods leave', { timeout: 240_000 }, async () => {
  const pulse = startPulse(plane.admin, nodes[0]?.name ?? '');
  const half = Math.floor(possible.length / 2);
  await createPods(plane.admin, [...impossible.map(({ pod }) => pod), ...possible.slice(0, half)]);
  await history.untilBound(half / 2, 60_000);
  await Promise.all([createPods(plane.admin, possible.slice(half)), deleteSomeBoundPods(history.pods(), DELETED)]);
  const isSettled = async (): Promise<boolean> => {
    const ledger = await ledgerFromApi(plane.admin);
    const { items } = await plane.admin.list<LivePod>(podsPath('default'));
    return fittingPods(ledger, items).length === 0;
  };
  expect(await eventually(isSettled, 180_000)).toBe(true);
  await pulse.stop();
  await history.finish();
  const names = new Set(possible.map(({ name }) => name));
  const boundImpossible = history
    .pods()
    .filter((pod) => pod.spec?.nodeName !== undefined && !names.has(pod.metadata?.name ?? ''));
  expect(boundImpossible).toEqual([]);
  expect(history.bound).toBeGreaterThan(PODS / 2);
});

test('no GPU was over its limits at any moment, and no allocation ever changed', () => {
  expect(replayViolations(history.sightings, nodes)).toEqual([]);
});

test('the extender wrote once for every pod it bound, and that was the Binding', async () => {
  const writes = (await plane.auditedWrites()).filter(({ user }) => user === EXTENDER_USER.name);
  const everBound = new Set(
    history.sightings.filter(({ pod }) => pod.spec?.nodeName !== undefined).map(({ pod }) => pod.metadata?.name),
  );
  expect(new Set(writes.map(kindOfWrite))).toEqual(new Set(['create pods/binding 201']));
  expect(writes.map(({ name }) => name).sort()).toEqual([...everBound].sort());
});

test("the extender's books agree with the API server to the slice, and its own audit found no drift", async () => {
  const truth = await ledgerFromApi(plane.admin);
  expect(bookDifferences(await extender.snapshot(), truth)).toEqual([]);
  expect(await extender.metric('gpuloom_ledger_drift')).toEqual(new Map([['', 0]]));
  const placed = history.pods().filter(({ spec }) => spec?.nodeName !== undefined);
  expect((await extender.snapshot()).residents).toHaveLength(placed.length);
  console.log('binds by outcome:', Object.fromEntries(await extender.metric('gpuloom_binds_total')));
});

test('a pod that no node can ever host is told why by kube-scheduler', async () => {
  const { items } = await plane.admin.list('/api/v1/namespaces/default/events');
  const messages = new Map<string, string[]>();
  for (const event of items.filter(({ reason }) => reason === 'FailedScheduling')) {
    const name = podOfEvent(event);
    messages.set(name, [...(messages.get(name) ?? []), String(event['message'])]);
  }
  const unexplained = impossible
    .filter(({ pod, reason }) => !(messages.get(pod.name) ?? []).some((message) => message.includes(reason)))
    .map(({ pod, reason }) => ({ pod: pod.name, expected: reason, told: messages.get(pod.name) }));
  expect(unexplained).toEqual([]);
});

async function deleteSomeBoundPods(pods: readonly LivePod[], count: number): Promise<void> {
  const bound = pods.filter(({ spec }) => spec?.nodeName !== undefined);
  const step = Math.max(1, Math.floor(bound.length / count));
  const chosen = bound.filter((_, index) => index % step === 0).slice(0, count);
  await inParallel(chosen, 4, ({ metadata }) => plane.admin.delete(`${podsPath('default')}/${metadata?.name ?? ''}`));
}

function kindOfWrite({ verb, resource, status }: AuditedWrite): string {
  return `${verb} ${resource} ${status}`;
}

function podOfEvent(event: ApiObject): string {
  const { involvedObject } = event as ApiObject & { readonly involvedObject?: { readonly name?: string } };
  return involvedObject?.name ?? '';
}
