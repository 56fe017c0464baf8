// The faults that other tests inject into the embedded API server do what they say, and nothing more.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { ApiConnection, at, namesIn } from '../support/api-connection.ts';
import type { Answer, WatchReader } from '../support/api-connection.ts';
import { ManualTimers } from '../support/manual-timers.ts';

const PODS = '/api/v1/namespaces/default/pods';
const BINDING = { resource: 'pods/binding' };

let server: EmbeddedApiServer;
let api: ApiConnection;
let time: ManualTimers;

beforeEach(async () => {
  time = new ManualTimers(Date.UTC(2030, 0, 1));
  server = new EmbeddedApiServer({ timers: time, wallMillis: time.now, bookmarkMillis: 1000 });
  api = new ApiConnection(await server.listen(), fetch);
  server.cluster.create('pods', { metadata: { name: 'p' }, spec: {} });
});

afterEach(async () => {
  await server.close();
});

function bind(): Promise<Answer> {
  return api.post(`${PODS}/p/binding`, { metadata: { name: 'p' }, target: { name: 'n1' } });
}

function nodeOfPod(): unknown {
  return at(server.cluster.get('pods', 'default', 'p'), 'spec.nodeName');
}

function watchPods(query = ''): Promise<WatchReader> {
  return api.watch(`${PODS}?watch=true&resourceVersion=${server.cluster.store.resourceVersion}${query}`);
}

describe('faults of single requests', () => {
  test('an injected answer comes instead of the work, as often as asked', async () => {
    const rule = server.faults.inject(BINDING, { kind: 'answer', status: 429, retryAfterSeconds: 3 }, 1);
    const refused = await bind();
    expect(refused).toMatchObject({
      status: 429,
      body: { reason: 'TooManyRequests', code: 429, details: { retryAfterSeconds: 3 } },
    });
    expect(refused.headers.get('retry-after')).toBe('3');
    expect(nodeOfPod()).toBeUndefined();
    expect((await bind()).status).toBe(201);
    expect(rule.hits).toBe(1);
  });

  test('a connection dropped before the work leaves the pod unbound', async () => {
    server.faults.inject(BINDING, { kind: 'drop-before' }, 1);
    await expect(bind()).rejects.toThrow('fetch failed');
    expect(nodeOfPod()).toBeUndefined();
  });

  test('a lost reply leaves the pod bound', async () => {
    server.faults.inject(BINDING, { kind: 'drop-after' }, 1);
    await expect(bind()).rejects.toThrow('fetch failed');
    expect(nodeOfPod()).toBe('n1');
    expect((await bind()).status).toBe(409);
  });

  test('a delayed bind commits later even though the client gave up', async () => {
    const gate = Promise.withResolvers<void>();
    const rule = server.faults.inject(BINDING, { kind: 'delay-before', until: gate.promise }, 1);
    const abort = new AbortController();
    const call = fetch(`${server.url}${PODS}/p/binding`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ metadata: { name: 'p' }, target: { name: 'n1' } }),
      signal: abort.signal,
    });
    await vi.waitFor(() => expect(rule.hits).toBe(1));
    // The body has been read once another request on the same server is answered after it.
    await api.get('/healthz');
    abort.abort();
    await expect(call).rejects.toThrow('aborted');
    expect(nodeOfPod()).toBeUndefined();
    gate.resolve();
    await vi.waitFor(() => expect(nodeOfPod()).toBe('n1'));
  });

  test('a delayed reply comes after the commit', async () => {
    const gate = Promise.withResolvers<void>();
    server.faults.inject(BINDING, { kind: 'delay-after', until: gate.promise }, 1);
    const call = bind();
    await vi.waitFor(() => expect(nodeOfPod()).toBe('n1'));
    gate.resolve();
    expect((await call).status).toBe(201);
  });

  test('a rule meets only the requests it names and can be taken back', async () => {
    const rule = server.faults.inject({ verb: 'get', resource: 'pods', name: 'p' }, { kind: 'answer', status: 503 });
    expect((await api.get(`${PODS}/p`)).status).toBe(503);
    expect((await api.get(PODS)).status).toBe(200);
    expect((await api.get(`${PODS}/other`)).status).toBe(404);
    rule.remove();
    expect((await api.get(`${PODS}/p`)).status).toBe(200);
  });

  test('requests are counted by verb and resource', async () => {
    await bind();
    await api.get(`${PODS}/p`);
    await api.get('/healthz');
    expect(server.requests.all()).toEqual({ 'create pods/binding': 1, 'get pods': 1, 'get /healthz': 1 });
    expect(server.requests.writes()).toBe(1);
    server.requests.reset();
    expect(server.requests.count('create', 'pods/binding')).toBe(0);
  });
});

describe('faults of watches', () => {
  test('a frozen watch says nothing more, a fresh one carries on', async () => {
    const frozen = await watchPods('&allowWatchBookmarks=true&timeoutSeconds=5');
    server.faults.freezeWatches('pods');
    const fresh = await watchPods('&allowWatchBookmarks=true');
    let said = 0;
    const silence = frozen.next().then(
      () => said++,
      () => undefined,
    );
    await bind();
    time.advance(60_000);
    expect((await fresh.next())?.type).toBe('MODIFIED');
    expect((await fresh.next())?.type).toBe('BOOKMARK');
    expect({ said, open: server.openWatches }).toEqual({ said: 0, open: 2 });
    frozen.close();
    await silence;
    await vi.waitFor(() => expect(server.openWatches).toBe(1));
  });

  test('a watch can be opened frozen', async () => {
    server.faults.inject({ verb: 'watch', resource: 'pods' }, { kind: 'freeze' }, 1);
    const frozen = await watchPods();
    const live = await watchPods();
    await bind();
    expect((await live.next())?.type).toBe('MODIFIED');
    frozen.close();
    await expect(frozen.next()).rejects.toThrow('aborted');
  });

  test('a watch can be ended in order or cut', async () => {
    const ended = await watchPods();
    server.faults.closeWatches('pods', 'end');
    expect(await ended.next()).toBeUndefined();
    const cut = await watchPods();
    server.faults.closeWatches();
    await expect(cut.next()).rejects.toThrow('terminated');
  });

  test('a compaction leaves a watch that is up to date alone', async () => {
    const watch = await watchPods();
    await bind();
    server.faults.compactHistory();
    server.cluster.setPodPhase('default', 'p', 'Running');
    const events = await watch.take(2);
    expect(events.map((event) => at(event.object, 'status.phase'))).toEqual(['Pending', 'Running']);
  });

  test('bookmarks carry the newest version, also of other resources', async () => {
    const watch = await watchPods('&allowWatchBookmarks=true&timeoutSeconds=3');
    server.cluster.create('configmaps', { metadata: { name: 'c' } });
    const newest = String(server.cluster.store.resourceVersion);
    time.advance(1000);
    const bookmark = await watch.next();
    expect(bookmark).toMatchObject({
      type: 'BOOKMARK',
      object: { kind: 'Pod', metadata: { resourceVersion: newest } },
    });
    time.advance(2000);
    const types: string[] = [];
    for (let event = await watch.next(); event !== undefined; event = await watch.next()) types.push(event.type);
    expect(new Set(types)).toEqual(new Set(['BOOKMARK']));
  });

  test('a watch that asks for initial events gets them and a mark at their end', async () => {
    const query = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const watch = await api.watch(`${PODS}?${query}`);
    const [first, mark] = await watch.take(2);
    expect(first).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'p' } } });
    expect(mark).toMatchObject({
      type: 'BOOKMARK',
      object: { metadata: { annotations: { 'k8s.io/initial-events-end': 'true' } } },
    });
  });
});

describe('evictions, budgets and termination', () => {
  const evict = (): Promise<Answer> => api.post(`${PODS}/p/eviction`, { metadata: { name: 'p' } });

  test('a disruption budget refuses the eviction of a running pod with 429', async () => {
    await bind();
    server.cluster.setPodPhase('default', 'p', 'Running');
    server.cluster.pods.disruptionBudget = (pod) => `${pod.metadata.name} must stay`;
    expect(await evict()).toMatchObject({
      status: 429,
      body: {
        reason: 'TooManyRequests',
        details: { causes: [{ reason: 'DisruptionBudget', message: 'p must stay' }] },
      },
    });
    server.cluster.pods.disruptionBudget = undefined;
    expect((await evict()).status).toBe(201);
  });

  test('a terminating pod goes when its grace period is over, or sooner when asked', async () => {
    await bind();
    await api.call('DELETE', `${PODS}/p`, { gracePeriodSeconds: 30 });
    await api.call('DELETE', `${PODS}/p`, { gracePeriodSeconds: 10 });
    time.advance(9_999);
    expect(namesIn((await api.get(PODS)).body)).toEqual(['p']);
    time.advance(1);
    expect(namesIn((await api.get(PODS)).body)).toEqual([]);
    expect(time.pending).toBe(0);
  });

  test('a pod of the same name made after a forced deletion outlives the old grace period', async () => {
    await bind();
    await api.call('DELETE', `${PODS}/p`, { gracePeriodSeconds: 30 });
    await api.call('DELETE', `${PODS}/p`, { gracePeriodSeconds: 0 });
    server.cluster.create('pods', { metadata: { name: 'p' }, spec: {} });
    time.advance(60_000);
    expect(server.cluster.get('pods', 'default', 'p')).toBeDefined();
  });
});
