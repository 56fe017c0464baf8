import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startPublisher } from '../../device-plugin/kube/inventory-publisher.ts';
import { kubeconfigCredentials } from '../../device-plugin/kube/credentials.ts';
import { watchNodePods } from '../../device-plugin/kube/node-pods.ts';
import { createRestClient, type NodeKubeApi } from '../../device-plugin/kube/rest.ts';
import { renderMetrics, startOpsListener } from '../../device-plugin/ops-listener.ts';
import { decodeInventory } from '../../extender/core/inventory-codec.ts';
import { INVENTORY_ANNOTATION, PROFILES } from '../../extender/core/resources.ts';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { systemDelays } from '../../extender/kube/delays.ts';
import { gpusOf, podManifest } from '../support/builders.ts';
import { inventoryOf } from '../support/node-stand.ts';

const clock = { wallMillis: () => Date.now(), monotonicMillis: () => performance.now() };
const promptDelays = { ...systemDelays(), random: () => 0 };

let server: EmbeddedApiServer;
let api: NodeKubeApi;
let folder: string;

async function until(what: () => boolean): Promise<void> {
  for (let turn = 0; turn < 1000 && !what(); turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(what()).toBe(true);
}

beforeEach(async () => {
  server = new EmbeddedApiServer();
  await server.listen();
  folder = mkdtempSync(join(tmpdir(), 'gpuloom-agent-'));
  const file = join(folder, 'kubeconfig');
  writeFileSync(file, server.kubeconfig());
  api = createRestClient(kubeconfigCredentials(file), 'gpuloom-device-plugin/test');
  server.cluster.create('nodes', {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'gpu-1' },
    status: { capacity: {} },
  });
});

afterEach(async () => {
  api.close();
  await server.close();
  rmSync(folder, { recursive: true });
});

describe('the pods of a node', () => {
  it('are those bound to it that ask for GPUs, as they come, change and go', async () => {
    const gone: string[] = [];
    const pods = watchNodePods({
      api,
      clock,
      delays: promptDelays,
      nodeName: 'gpu-1',
      profile: PROFILES.gpuloom,
      onGone: (uid) => gone.push(uid),
      onSeen: () => undefined,
    });
    const create = (name: string, nodeName: string, slices: number) =>
      server.cluster.create('pods', {
        apiVersion: 'v1',
        kind: 'Pod',
        ...podManifest({ name, uid: name, nodeName, slices }),
        metadata: { name, namespace: 'default', uid: name },
      });
    create('ours', 'gpu-1', 4);
    create('elsewhere', 'gpu-2', 4);
    create('cpu-only', 'gpu-1', 0);
    await until(() => pods.byUid('ours') !== undefined);
    expect([...pods.all()].map(({ name }) => name)).toEqual(['ours']);
    expect(pods.byName('default', 'ours')?.uid).toBe('ours');
    server.cluster.setPodPhase('default', 'ours', 'Succeeded');
    await until(() => gone.includes('ours'));
    expect(pods.byUid('ours')).toBeUndefined();
    await pods.reflector.stop();
  });

  it('can be read live, and are told to be gone when they are', async () => {
    const pods = watchNodePods({
      api,
      clock,
      delays: promptDelays,
      nodeName: 'gpu-1',
      profile: PROFILES.gpuloom,
      onGone: () => undefined,
      onSeen: () => undefined,
    });
    server.cluster.create('pods', {
      apiVersion: 'v1',
      kind: 'Pod',
      ...podManifest({ name: 'p', nodeName: 'gpu-1' }),
      metadata: { name: 'p', namespace: 'default', uid: 'u' },
    });
    expect((await pods.readLive('default', 'p'))?.uid).toBe('u');
    expect(await pods.readLive('default', 'other')).toBeUndefined();
    await pods.reflector.stop();
  });
});

describe('the inventory publisher', () => {
  const writes = (): number => server.requests.count('patch', 'nodes');

  it('writes on change only', async () => {
    const publisher = startPublisher({
      api,
      delays: promptDelays,
      nodeName: 'gpu-1',
      profile: 'gpuloom',
      report: () => undefined,
    });
    const inventory = inventoryOf(gpusOf(2, 16));
    for (let each = 0; each < 3; each++) publisher.publish(inventory);
    await until(() => publisher.isPublished());
    publisher.publish(inventory);
    expect(writes()).toBe(1);
    const annotation =
      server.cluster.get('nodes', undefined, 'gpu-1')?.metadata.annotations?.[INVENTORY_ANNOTATION] ?? '';
    expect(decodeInventory(annotation)).toMatchObject({ kind: 'inventory', inventory });
    publisher.stop();
  });

  it('goes on until it has landed, and then says the latest', async () => {
    const reports: string[] = [];
    server.faults.inject({ verb: 'patch', resource: 'nodes' }, { kind: 'answer', status: 503 }, 2);
    const publisher = startPublisher({
      api,
      delays: promptDelays,
      nodeName: 'gpu-1',
      profile: 'gpuloom',
      report: (message) => reports.push(message),
    });
    publisher.publish(inventoryOf(gpusOf(1, 16)));
    publisher.publish(inventoryOf(gpusOf(4, 16)));
    await until(() => publisher.isPublished());
    expect(reports).toHaveLength(2);
    const annotation =
      server.cluster.get('nodes', undefined, 'gpu-1')?.metadata.annotations?.[INVENTORY_ANNOTATION] ?? '';
    const read = decodeInventory(annotation);
    expect(read.kind === 'inventory' ? read.inventory.gpus.length : read).toBe(4);
    publisher.stop();
  });

  it('writes the number of GPUs where gpushare readers look for it', async () => {
    const publisher = startPublisher({
      api,
      delays: promptDelays,
      nodeName: 'gpu-1',
      profile: 'gpushare',
      report: () => undefined,
    });
    publisher.publish(inventoryOf(gpusOf(3, 16)));
    await until(() => publisher.isPublished());
    expect(server.cluster.get('nodes', undefined, 'gpu-1')).toMatchObject({
      status: { capacity: { 'aliyun.com/gpu-count': '3' }, allocatable: { 'aliyun.com/gpu-count': '3' } },
    });
    publisher.stop();
  });
});

describe('kubeconfigs of the agent', () => {
  it.each([
    ['a context that is missing', 'current-context: none', /has no context named "none"/],
    [
      'an exec plugin',
      'current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: "https://x"}}]\nusers: [{name: u, user: {exec: {command: login}}}]',
      /user "u" uses exec; the node agent reads tokens and client certificates only/,
    ],
    ['a file that is none', '[]', /is not a kubeconfig/],
  ])('are refused with advice for %s', (_, text, why) => {
    const file = join(folder, 'other');
    writeFileSync(file, text);
    expect(() => kubeconfigCredentials(file)).toThrow(why);
  });
});

describe("the agent's listener", () => {
  it('answers probes, metrics and the report, and says what there is for anything else', async () => {
    let why: string | undefined = 'not registered with the kubelet';
    const listener = await startOpsListener(
      { host: '127.0.0.1', port: 0 },
      {
        notReady: () => why,
        metrics: () => [
          {
            name: 'gpuloom_gpu_healthy',
            help: 'Whether a GPU takes pods.',
            type: 'gauge',
            samples: [[{ gpu: '0' }, 1]],
          },
        ],
        report: () => Promise.resolve({ version: 1 }),
      },
    );
    const get = async (path: string): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${listener.address.port}${path}`);
      return `${response.status} ${(await response.text()).trim()}`;
    };
    expect(await get('/healthz')).toBe('200 ok');
    expect(await get('/readyz')).toBe('503 {"ready":false,"detail":"not registered with the kubelet"}');
    why = undefined;
    expect(await get('/readyz')).toMatch(/^200/);
    expect(await get('/metrics')).toContain('gpuloom_gpu_healthy{gpu="0"} 1');
    expect(await get('/report')).toBe('200 {"version":1}');
    expect(await get('/etc/passwd')).toMatch(/^404 there are/);
    await listener.close();
  });

  it('escapes label values', () => {
    const text = renderMetrics([{ name: 'x', help: 'h', type: 'gauge', samples: [[{ model: 'a"b\\c\nd' }, 1]] }]);
    expect(text).toContain('x{model="a\\"b\\\\c\\nd"} 1');
  });
});
