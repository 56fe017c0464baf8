// The ops listener and the metrics it renders, without sockets.

import { afterEach, describe, expect, it } from 'vitest';
import type { Listener } from '../../extender/http/listener.ts';
import { createOpsServer } from '../../extender/http/ops-server.ts';
import type { OpsSurface } from '../../extender/http/surface.ts';
import { createMetrics } from '../../extender/metrics.ts';
import type { MetricSources } from '../../extender/metrics.ts';
import { containing, recordingLog } from '../support/http-shell.ts';

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

const quiet: OpsSurface = {
  health: () => ({ live: true, detail: '' }),
  readiness: () => ({ ready: true, warm: true, state: 'active', detail: '' }),
  explain: ({ namespace, name }) => (name === 'ghost' ? undefined : { pod: `${namespace}/${name}`, nodes: 2 }),
  snapshot: () => ({ version: 1, nodes: [] }),
  inspect: (node) => (node === 'ghost' ? undefined : { nodes: [] }),
};

const sources: MetricSources = {
  reservations: () => [['assumed', 2]],
  ledgerDrift: () => 0,
  apiStalenessSeconds: () => [['pods', 1.5]],
  gpus: () =>
    Array.from({ length: 2500 }, (_, n) => ({ node: `n"${n}`, gpu: '0', allocatedSlices: 3, capacitySlices: 16 })),
  shapeCache: () => ({ size: 4, hits: 10, misses: 5 }),
  tlsCertExpiryMillis: () => 1_800_000_000_000,
};

function start(ops: Partial<OpsSurface> = {}): Listener {
  const metrics = createMetrics(sources);
  metrics.observeVerb('filter', 0.0012);
  metrics.countRejection('GPU-1001', 3);
  const listener = createOpsServer({
    ops: { ...quiet, ...ops },
    metrics,
    renderText: (explanation) => `explained: ${JSON.stringify(explanation)}`,
    log: recordingLog().log,
  });
  open.push(
    () => metrics.close(),
    () => listener.close(),
  );
  return listener;
}

describe('probes', () => {
  it('answer 200 while well and 503 with the state while not', async () => {
    const well = start();
    expect((await well.app.inject('/healthz')).statusCode).toBe(200);
    expect((await well.app.inject('/readyz')).json()).toMatchObject({ ready: true, state: 'active' });
    const ill = start({
      health: () => ({ live: false, detail: 'event loop stuck' }),
      readiness: () => ({ ready: false, warm: false, state: 'syncing', detail: 'waiting for pods' }),
    });
    expect((await ill.app.inject('/healthz')).statusCode).toBe(503);
    const readiness = await ill.app.inject('/readyz');
    expect([readiness.statusCode, readiness.json()]).toMatchObject([
      503,
      { state: 'syncing', detail: 'waiting for pods' },
    ]);
  });

  it.each([
    ['a leader', { ready: true, warm: true, state: 'active' as const }, 200, 200],
    ['a standby with a fresh view', { ready: false, warm: true, state: 'standby' as const }, 503, 200],
    ['a standby that still lists', { ready: false, warm: false, state: 'standby' as const }, 503, 503],
  ])('tell %s from one that may be called, and from one that is well', async (_who, report, called, well) => {
    const { app } = start({ readiness: () => ({ ...report, detail: '' }) });
    const [plain, tolerant] = [await app.inject('/readyz'), await app.inject('/readyz?standby=ok')];
    expect([plain.statusCode, tolerant.statusCode]).toEqual([called, well]);
    expect(tolerant.json()).toEqual(plain.json());
    expect((await app.inject('/readyz?verbose')).statusCode).toBe(called);
    const misspelt = await app.inject('/readyz?standby=yes');
    expect([misspelt.statusCode, misspelt.body]).toEqual([400, containing('/readyz?standby=ok')]);
  });
});

describe('metrics', () => {
  it('are rendered with the values of this moment, GPUs included', async () => {
    const answer = await start().app.inject('/metrics');
    expect(answer.headers['content-type']).toContain('version=0.0.4');
    for (const line of [
      'gpuloom_verb_duration_seconds_bucket{le="0.0015",verb="filter"} 1',
      'gpuloom_verb_errors_total{verb="bind"} 0',
      'gpuloom_rejections_total{reason="GPU-1001"} 3',
      'gpuloom_reservations{state="assumed"} 2',
      'gpuloom_ledger_drift 0',
      'gpuloom_api_staleness_seconds{feed="pods"} 1.5',
      'gpuloom_gpu_allocated_slices{node="n\\"2499",gpu="0"} 3',
      'gpuloom_gpu_capacity_slices{node="n\\"0",gpu="0"} 16',
      'gpuloom_shape_cache_hits_total 10',
      'gpuloom_tls_cert_expiry_seconds 1800000000',
    ]) {
      expect(answer.body.split('\n')).toContain(line);
    }
    expect(answer.body).toMatch(/gpuloom_event_loop_delay_seconds\{quantile="0.99"\} [0-9.]+/);
    expect(answer.body).toMatch(/process_resident_memory_bytes \d+/);
  });

  it('keep the same values when they are read twice', async () => {
    const { app } = start();
    const pick = (text: string): string[] =>
      text.split('\n').filter((line) => /^gpuloom_(shape|reserv|gpu)/.test(line));
    expect(pick((await app.inject('/metrics')).body)).toEqual(pick((await app.inject('/metrics')).body));
  });
});

describe('explain', () => {
  it('answers JSON, and text on request', async () => {
    const { app } = start();
    expect((await app.inject('/explain?pod=default/a')).json()).toEqual({ pod: 'default/a', nodes: 2 });
    const text = await app.inject('/explain?pod=default/a&format=text');
    expect([text.headers['content-type'], text.body]).toEqual([
      'text/plain; charset=utf-8',
      'explained: {"pod":"default/a","nodes":2}\n',
    ]);
  });

  it('says for an unknown pod what to check', async () => {
    const answer = await start().app.inject('/explain?pod=default/ghost');
    expect([answer.statusCode, answer.body]).toEqual([404, containing('default/ghost')]);
  });

  it.each([
    ['', 'give one pod as namespace/name'],
    ['?pod=a', 'namespace/name in Kubernetes spelling'],
    ['?pod=a/b/c', 'namespace/name in Kubernetes spelling'],
    ['?pod=a/../b', 'namespace/name in Kubernetes spelling'],
    ['?pod=a/b&pod=c/d', 'give one pod'],
    ['?pod=a/b&format=xml', 'format must be json or text'],
    ['?pod=a/b&verbose=1', 'unknown query parameter verbose'],
  ])('refuses the query "%s" with advice', async (query, advice) => {
    const answer = await start().app.inject(`/explain${query}`);
    expect([answer.statusCode, answer.body]).toEqual([400, containing(advice)]);
  });
});

it('snapshot is offered as a file and inspect as gpushare writes it', async () => {
  const { app } = start();
  const snapshot = await app.inject('/snapshot');
  expect(snapshot.headers['content-disposition']).toContain('gpuloom-snapshot.json');
  expect(snapshot.json()).toEqual({ version: 1, nodes: [] });
  expect((await app.inject('/inspect')).json()).toEqual({ nodes: [] });
  expect((await app.inject('/inspect/ghost')).statusCode).toBe(404);
});

it('a surface that throws is a 500 with the reason and the listener lives on', async () => {
  const { app } = start({
    snapshot: () => {
      throw new Error('snapshot is too large');
    },
  });
  const answer = await app.inject('/snapshot');
  expect([answer.statusCode, answer.json()]).toEqual([500, { error: 'snapshot is too large' }]);
  expect((await app.inject('/healthz')).statusCode).toBe(200);
});

it('the verbs are not served here and nothing can be posted', async () => {
  const { app } = start();
  for (const url of ['/v1/bind', '/snapshot', '/gpushare-scheduler/bind']) {
    expect((await app.inject({ method: 'POST', url, payload: {} })).statusCode).toBe(404);
  }
});
