// A cluster that ran gpushare, taken over without touching a pod or a node: its resource names, its scheduler paths, its
// annotations, texts, inspect document and list of unhealthy GPUs, with pods that gpushare bound before.

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

import { gpusOf } from '../support/builders.ts';
import type { PlainPod } from './cluster.ts';
import { bindPod, createPods, eventMessages } from './cluster.ts';
import { startPulse } from './cluster-pulse.ts';
import type { ExtenderProcess } from './extender-process.ts';
import { GpuCluster } from './gpu-cluster.ts';
import { eventually } from './process.ts';

const NODES = [
  { name: 'upgraded', gpus: gpusOf(2, 16) },
  { name: 'half-broken', gpus: gpusOf(2, 16) },
  { name: 'healthy', gpus: gpusOf(4, 16) },
  { name: 'without-gpus', gpus: [] },
];
const CONFIG_MAPS = '/api/v1/namespaces/kube-system/configmaps';
const UNHEALTHY_LIST = { metadata: { name: 'unhealthy-gpu-half-broken' }, data: { gpus: '0' } };
const SLICES = 8;
/** Two on the one working GPU of half-broken and two on each of the four of healthy; upgraded has no hole of eight. */
const FITTING = 10;

let cluster: GpuCluster;
let extender: ExtenderProcess;

beforeAll(async () => {
  cluster = await GpuCluster.start({ nodes: NODES, profile: 'gpushare' });
  const { admin } = cluster.plane;
  await createPods(admin, [boundByGpushare('old-a', 0, 12), boundByGpushare('old-b', 1, 10)]);
  await bindPod(admin, 'default', 'old-a', 'upgraded');
  await bindPod(admin, 'default', 'old-b', 'upgraded');
  await admin.create(CONFIG_MAPS, UNHEALTHY_LIST);
  extender = await cluster.startExtender('extender', ['--profile=gpushare', '--no-leader-election']);
  await extender.untilReady();
  await cluster.startScheduler({ extenderOrigin: extender.verbsOrigin });
});
afterAll(() => cluster.stop());
beforeEach(() => cluster.reportLogsOnFailure());

test('pods that gpushare bound before count from the first moment, in its own inspect document', async () => {
  const device = (id: number, pod: string, usedGPU: number): unknown => ({
    id,
    totalGPU: 16,
    usedGPU,
    pods: [{ name: pod, namespace: 'default', usedGPU }],
  });
  expect(await inspect('/upgraded')).toEqual({
    nodes: [{ name: 'upgraded', totalGPU: 32, usedGPU: 22, devs: [device(0, 'old-a', 12), device(1, 'old-b', 10)] }],
  });
});

test('as many pods are bound as the healthy GPUs hold, and none on a GPU listed as unhealthy', async () => {
  const pods = Array.from({ length: FITTING }, (_, index) => sharePod(`new-${index}`));
  await createPods(cluster.plane.admin, pods);
  await cluster.history.untilBound(FITTING + 2, 60_000);
  expect((await placements()).filter((place) => place.startsWith('half-broken'))).toEqual(
    Array(2).fill('half-broken GPU 1'),
  );
});

test('every bound pod carries the five annotations that readers of gpushare expect', () => {
  const shown = cluster.history.pods().filter(({ metadata }) => metadata?.name?.startsWith('new-'));
  expect(shown).toHaveLength(FITTING);
  for (const { metadata } of shown) {
    const { annotations = {} } = metadata ?? {};
    expect(annotations['ALIYUN_COM_GPU_MEM_IDX']).toMatch(/^[0-3]$/);
    expect(annotations['ALIYUN_COM_GPU_MEM_DEV']).toBe('16');
    expect(annotations['ALIYUN_COM_GPU_MEM_POD']).toBe(String(SLICES));
    expect(annotations['ALIYUN_COM_GPU_MEM_ASSIGNED']).toBe('false');
    expect(annotations['ALIYUN_COM_GPU_MEM_ASSUME_TIME']).toMatch(/^\d{19}$/);
  }
});

test('a pod that waits is told so in the words of gpushare', async () => {
  const { admin } = cluster.plane;
  await createPods(admin, [sharePod('waiting')]);
  let messages: readonly string[] = [];
  const isTold = async (): Promise<boolean> => {
    messages = await eventMessages(admin, 'default', 'waiting');
    return messages.some((message) => message.includes('2 Insufficient GPU Memory in one device'));
  };
  expect(await eventually(isTold, 20_000), messages.join('\n')).toBe(true);
});

test('a node without GPUs is refused in the words of gpushare, should kube-scheduler ask about it', async () => {
  const answer = await fetch(`${extender.verbsOrigin}/gpushare-scheduler/filter`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      Pod: {
        metadata: { name: 'asked', namespace: 'default', uid: 'asked' },
        spec: { containers: [{ name: 'main', resources: { limits: { 'aliyun.com/gpu-mem': '4' } } }] },
      },
      NodeNames: ['without-gpus', 'upgraded'],
    }),
  });
  expect(await answer.json()).toMatchObject({
    NodeNames: ['upgraded'],
    FailedNodes: { 'without-gpus': 'The node without-gpus is not for GPU share, need skip' },
    Error: '',
  });
});

test('the waiting pod is bound when the unhealthy GPU is taken off the list', async () => {
  const { plane, history } = cluster;
  await plane.admin.delete(`${CONFIG_MAPS}/${UNHEALTHY_LIST.metadata.name}`);
  const pulse = startPulse(plane.admin, 'upgraded');
  await history.untilBound(FITTING + 3, 60_000);
  await pulse.stop();
  expect(await placements()).toContain('half-broken GPU 0');
});

test('the inspect document adds up to what is bound, in the form of gpushare', async () => {
  const document = (await inspect('')) as { readonly nodes: readonly Readonly<Record<string, unknown>>[] };
  expect(document.nodes.map(({ name, totalGPU, usedGPU }) => [name, totalGPU, usedGPU])).toEqual([
    ['half-broken', 32, 24],
    ['healthy', 64, 64],
    ['upgraded', 32, 22],
  ]);
});

test('no GPU was ever over its limits, and the books agree with the API server', async () => {
  await cluster.history.finish();
  await cluster.expectSound(extender);
  expect(await extender.forbiddenCalls()).toEqual([]);
});

function sharePod(name: string): PlainPod {
  return { name, limits: { 'aliyun.com/gpu-mem': String(SLICES) } };
}

/** With the annotations that gpushare's extender wrote and its device plugin confirmed; nothing of ours. */
function boundByGpushare(name: string, gpu: number, slices: number): PlainPod {
  return {
    name,
    limits: { 'aliyun.com/gpu-mem': String(slices) },
    annotations: {
      ALIYUN_COM_GPU_MEM_IDX: String(gpu),
      ALIYUN_COM_GPU_MEM_DEV: '16',
      ALIYUN_COM_GPU_MEM_POD: String(slices),
      ALIYUN_COM_GPU_MEM_ASSIGNED: 'true',
      ALIYUN_COM_GPU_MEM_ASSUME_TIME: '1700000000000000000',
    },
    // Placed by hand below, as if long ago.
    schedulerName: 'nobody',
  };
}

async function inspect(path: string): Promise<unknown> {
  const answer = await fetch(`${extender.verbsOrigin}/gpushare-scheduler/inspect${path}`);
  expect(answer.status).toBe(200);
  return await answer.json();
}

async function placements(): Promise<readonly string[]> {
  const placed = cluster.history.pods().filter(({ metadata }) => !metadata?.name?.startsWith('old-'));
  return placed.map(({ spec, metadata }) => {
    return `${spec?.nodeName ?? ''} GPU ${metadata?.annotations?.['ALIYUN_COM_GPU_MEM_IDX'] ?? ''}`;
  });
}
