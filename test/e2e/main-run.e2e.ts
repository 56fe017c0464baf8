// A whole cluster on a real control plane: unequal nodes, two thousand pods of every kind, one extender. What is asserted
// is safety at every moment, completeness at the end, one write per pod, and an explanation for every pod left out.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import type { ApiClient, ApiObject } from './api.ts';
import { inParallel } from './api.ts';
import type { AuditedWrite } from './audit.ts';
import type { LivePod } from './cluster.ts';
import { createPods, podsPath } from './cluster.ts';
import { startPulse } from './cluster-pulse.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { EXTENDER_USER } from './installation.ts';
import { gpuNodes, gpuPods, impossiblePods } from './workload.ts';

const NODES = 200;
const PODS = 2_000;
const IMPOSSIBLE_OF_EACH_KIND = 5;
const DELETED = 150;

const impossible = impossiblePods(IMPOSSIBLE_OF_EACH_KIND);
const possible = gpuPods({ count: PODS - impossible.length, seed: 2026 });

let cluster: GpuCluster;
let extender: ExtenderProcess;

beforeAll(async () => {
  cluster = await GpuCluster.start({ nodes: gpuNodes(NODES) });
  extender = await cluster.startExtender('extender', ['--no-leader-election']);
  await extender.untilReady();
  await cluster.startScheduler({ extenderOrigin: extender.verbsOrigin });
});
afterAll(() => cluster.stop());
beforeEach(() => cluster.reportLogsOnFailure());

test('every pod that fits is bound, also into the room that deleted pods leave', { timeout: 240_000 }, async () => {
  const { history, plane, nodes } = cluster;
  const pulse = startPulse(plane.admin, nodes[0]?.name ?? '');
  const half = Math.floor(possible.length / 2);
  await createPods(plane.admin, [...impossible.map(({ pod }) => pod), ...possible.slice(0, half)]);
  await history.untilBound(half / 2, 60_000);
  await Promise.all([
    createPods(plane.admin, possible.slice(half)),
    deleteSomeBoundPods(plane.admin, history.pods(), DELETED),
  ]);
  await cluster.untilSettled();
  await pulse.stop();
  await history.finish();
  const bound = history.pods().filter(({ spec }) => spec?.nodeName !== undefined);
  const names = new Set(possible.map(({ name }) => name));
  expect(bound.map(nameOf).filter((name) => !names.has(name))).toEqual([]);
  expect(bound.length).toBeGreaterThan(PODS / 2);
});

test('no GPU was ever over its limits, no allocation changed, and the books agree to the slice', async () => {
  await cluster.expectSound(extender);
  console.log('binds by outcome:', Object.fromEntries(await extender.metric('gpuloom_binds_total')));
});

test('the extender wrote once for every pod it bound, and that was the Binding', async () => {
  const writes = (await cluster.plane.auditedWrites()).filter(({ user }) => user === EXTENDER_USER.name);
  const shownBound = cluster.history.sightings.filter(({ pod }) => pod.spec?.nodeName !== undefined);
  expect(new Set(writes.map(kindOfWrite))).toEqual(new Set(['create pods/binding 201']));
  expect(sorted(writes.map(({ name }) => name))).toEqual(sorted(new Set(shownBound.map(({ pod }) => nameOf(pod)))));
});

test('the shipped roles allow the extender all it does: nothing was forbidden, and its events are there', async () => {
  expect(await extender.forbiddenCalls()).toEqual([]);
  const { items } = await cluster.plane.admin.list('/api/v1/namespaces/default/events');
  const reasons = new Set(items.map(({ reason }) => reason));
  expect(reasons).toEqual(new Set([...reasons, 'GpuAllocated', 'GpuRefused', 'GpuRequestInvalid']));
});

test('a pod that no node can ever host is told why by kube-scheduler', async () => {
  const { items } = await cluster.plane.admin.list('/api/v1/namespaces/default/events');
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

async function deleteSomeBoundPods(api: ApiClient, pods: readonly LivePod[], count: number): Promise<void> {
  const bound = pods.filter(({ spec }) => spec?.nodeName !== undefined);
  const step = Math.max(1, Math.floor(bound.length / count));
  const chosen = bound.filter((_, index) => index % step === 0).slice(0, count);
  await inParallel(chosen, 4, (pod) => api.delete(`${podsPath('default')}/${nameOf(pod)}`));
}

function nameOf({ metadata }: LivePod): string {
  return metadata?.name ?? '';
}

function sorted(names: Iterable<string>): readonly string[] {
  return [...names].sort((a, b) => (a < b ? -1 : 1));
}

function kindOfWrite({ verb, resource, status }: AuditedWrite): string {
  return `${verb} ${resource} ${status}`;
}

function podOfEvent(event: ApiObject): string {
  const { involvedObject } = event as ApiObject & { readonly involvedObject?: { readonly name?: string } };
  return involvedObject?.name ?? '';
}
