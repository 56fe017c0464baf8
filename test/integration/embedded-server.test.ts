// The embedded API server as a process neighbour: client library, hostile input, slow clients, shutdown.

import { request } from 'node:http';
import { connect } from 'node:net';

import { CoreV1Api, KubeConfig, Watch } from '@kubernetes/client-node';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { EmbeddedCluster } from '../../extender/embedded/cluster.ts';
import type { Change } from '../../extender/embedded/store.ts';
import { ApiConnection, at } from '../support/api-connection.ts';

const PODS = '/api/v1/namespaces/default/pods';

let server: EmbeddedApiServer;
let api: ApiConnection;
const errors: unknown[] = [];

beforeEach(async () => {
  errors.length = 0;
  server = new EmbeddedApiServer({ historySize: 50, maxBodyBytes: 10_000, onError: (error) => errors.push(error) });
  api = new ApiConnection(await server.listen(), fetch);
});

afterEach(async () => {
  await server.close();
  expect(errors).toEqual([]);
});

test('the Kubernetes client library binds a pod and sees it in its watch', async () => {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromString(server.kubeconfig());
  const core = kubeconfig.makeApiClient(CoreV1Api);
  const pod = await core.createNamespacedPod({
    namespace: 'default',
    body: { metadata: { name: 'p' }, spec: { containers: [{ name: 'main', image: 'registry.example/main:1' }] } },
  });
  const list = await core.listNamespacedPod({ namespace: 'default' });
  const seen = Promise.withResolvers<unknown>();
  const watch = await new Watch(kubeconfig).watch(
    PODS,
    { resourceVersion: list.metadata?.resourceVersion },
    (phase, object: unknown) => {
      seen.resolve([phase, at(object, 'spec.nodeName'), at(object, 'metadata.annotations')]);
    },
    () => undefined,
  );
  await core.createNamespacedPodBinding({
    namespace: 'default',
    name: 'p',
    body: {
      metadata: { name: 'p', uid: pod.metadata?.uid ?? '', annotations: { 'gpuloom.io/allocation': '{}' } },
      target: { kind: 'Node', name: 'n1' },
    },
  });
  expect(await seen.promise).toEqual(['MODIFIED', 'n1', { 'gpuloom.io/allocation': '{}' }]);
  const bound = await core.readNamespacedPod({ namespace: 'default', name: 'p' });
  expect(bound.spec?.nodeName).toBe('n1');
  expect(server.requests.count('create', 'pods/binding')).toBe(1);
  watch.abort();
});

describe('hostile input', () => {
  test('a body over the limit gets 413', async () => {
    const answer = await api.post(PODS, { metadata: { name: 'p', annotations: { big: 'x'.repeat(20_000) } } });
    expect(answer).toMatchObject({ status: 413, body: { reason: 'RequestEntityTooLarge' } });
  });

  test.each([
    ['a list', '[]'],
    ['a number', '7'],
    ['null', 'null'],
    ['nothing', ''],
    ['bottomless nesting', `{"metadata":{"name":"p"},"spec":${'{"a":'.repeat(500)}1${'}'.repeat(500)}}`],
    ['another kind', '{"kind":"Node","metadata":{"name":"p"}}'],
    ['annotations that are no strings', '{"metadata":{"name":"p","annotations":{"a":1}}}'],
    ['a name that is no string', '{"metadata":{"name":["p"]}}'],
    ['a spec that is a list', '{"metadata":{"name":"p"},"spec":[]}'],
  ])('%s as a pod gets 400', async (_, body) => {
    expect(await api.post(PODS, body)).toMatchObject({ status: 400, body: { kind: 'Status', reason: 'BadRequest' } });
  });

  test.each([
    ['limit=-1'],
    ['limit=abc'],
    ['continue=zzz'],
    ['fieldSelector=nonsense'],
    ['labelSelector=a%20in%20b'],
    ['resourceVersion=abc'],
    ['watch=true&resourceVersion=-5'],
    ['watch=true&timeoutSeconds=1e9'],
  ])('a list with %s gets 400', async (query) => {
    expect((await api.get(`${PODS}?${query}`)).status).toBe(400);
  });

  test('a member named __proto__ stays an ordinary member', async () => {
    await api.post(PODS, '{"metadata":{"name":"p"},"spec":{}}');
    const patched = await api.mergePatch(`${PODS}/p`, '{"spec":{"__proto__":{"nodeName":"n1"}}}');
    expect(patched.status).toBe(200);
    expect((await api.get(`${PODS}?fieldSelector=spec.nodeName%3Dn1`)).body).toMatchObject({ items: [] });
  });

  test('a web page from elsewhere is refused, by its Origin and by its Host', async () => {
    const foreign = await fetch(`${server.url}${PODS}`, { headers: { origin: 'http://evil.example' } });
    expect(foreign.status).toBe(403);
    const status = await new Promise((resolve, reject) => {
      const outgoing = request(`${server.url}${PODS}`, { headers: { host: 'evil.example' } }, (incoming) => {
        incoming.resume();
        resolve(incoming.statusCode);
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
    expect(status).toBe(403);
  });
});

test('a client that does not read its watch is cut off, and others are not', async () => {
  const from = server.cluster.store.resourceVersion;
  const lazy = connect(Number(new URL(server.url).port), '127.0.0.1');
  lazy.pause();
  lazy.on('error', () => undefined);
  lazy.write(`GET ${PODS}?watch=true&resourceVersion=${from} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  await vi.waitFor(() => expect(server.openWatches).toBe(1));
  const reader = await api.watch(`${PODS}?watch=true&resourceVersion=${from}`);
  const big = 'x'.repeat(256 * 1024);
  for (let index = 0; index < 120; index++) {
    server.cluster.create('pods', { metadata: { name: `p${index}`, annotations: { big } }, spec: {} });
    const [event] = await reader.take(1);
    expect(at(event?.object, 'metadata.name')).toBe(`p${index}`);
  }
  await vi.waitFor(() => expect(server.openWatches).toBe(1));
  lazy.destroy();
  reader.close();
});

test('a server with an open watch and an unanswered request closes at once, twice if asked', async () => {
  server.faults.inject({ verb: 'get' }, { kind: 'freeze' });
  const watch = await api.watch(`${PODS}?watch=true`);
  const hanging = api.get(`${PODS}/p`);
  const ends = Promise.allSettled([hanging, watch.next()]);
  await vi.waitFor(() => expect(server.requests.count('get', 'pods')).toBe(1));
  await Promise.all([server.close(), server.close()]);
  expect((await ends).map((end) => end.status)).toEqual(['rejected', 'rejected']);
});

test('the owner works on the cluster without HTTP and hears of every change in order', () => {
  const cluster = new EmbeddedCluster({ termination: 'by-owner', wallMillis: () => 0 });
  const changes: string[] = [];
  const note = ({ type, resource, resourceVersion, current }: Change): void => {
    changes.push(`${resourceVersion} ${type} ${resource} ${current.object.metadata.name}`);
    // A write from inside a subscriber must not overtake the change that caused it.
    if (type === 'ADDED' && resource === 'nodes') cluster.create('configmaps', { metadata: { name: 'seen' } });
  };
  cluster.subscribe(note);
  const unsubscribe = cluster.subscribe(({ resourceVersion }) => changes.push(`${resourceVersion} again`));
  cluster.create('nodes', { metadata: { name: 'n1' }, status: { capacity: { cpu: '4' } } });
  unsubscribe();
  cluster.create('pods', {
    metadata: { name: 'p', uid: 'u1' },
    spec: { nodeName: 'n1' },
    status: { phase: 'Running' },
  });
  cluster.delete('pods', 'default', 'p', { gracePeriodSeconds: 30 });
  expect(cluster.get('pods', 'default', 'p')).toMatchObject({
    metadata: { uid: 'u1', deletionTimestamp: '1970-01-01T00:00:30Z' },
    status: { phase: 'Running' },
  });
  expect(cluster.finishTermination('default', 'p')).toBe(true);
  expect(cluster.finishTermination('default', 'p')).toBe(false);
  expect(changes).toEqual([
    '2 ADDED nodes n1',
    '2 again',
    '3 ADDED configmaps seen',
    '3 again',
    '4 ADDED pods p',
    '5 MODIFIED pods p',
    '6 DELETED pods p',
  ]);
});

test('objects handed out by the cluster are frozen', () => {
  const cluster = new EmbeddedCluster();
  const node = cluster.create('nodes', { metadata: { name: 'n1' }, status: { capacity: { cpu: '4' } } });
  expect(() => Object.assign(node.status?.['capacity'] ?? {}, { cpu: '8' })).toThrow('read only');
});
