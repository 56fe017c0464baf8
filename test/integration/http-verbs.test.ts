// What each verb route answers, without sockets: status codes, error texts, and the guards on what comes in and goes out.

import { afterEach, describe, expect, it } from 'vitest';
import type { ExtenderArgs, HostPriority } from '../../extender/app/extender-api.ts';
import { containing, verbsUnderTest } from '../support/http-shell.ts';
import type { VerbsSetup, VerbsUnderTest } from '../support/http-shell.ts';

const pod = { metadata: { name: 'trainer', namespace: 'default', uid: 'u1' }, spec: { containers: [] } };
const names = { Pod: pod, Nodes: null, NodeNames: ['a', 'b'] };
const binding = { PodName: 'trainer', PodNamespace: 'default', PodUID: 'u1', Node: 'a' };

const open: VerbsUnderTest[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await server.listener.close();
});

function start(setup: VerbsSetup = {}): VerbsUnderTest {
  const server = verbsUnderTest(setup);
  open.push(server);
  return server;
}

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly text: string;
  readonly json: unknown;
}

async function post(server: VerbsUnderTest, url: string, body?: unknown): Promise<Reply> {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  const answer = await server.listener.app.inject({
    method: 'POST',
    url,
    ...(body === undefined ? {} : { payload, headers: { 'content-type': 'application/json' } }),
  });
  const type = answer.headers['content-type']?.toString() ?? '';
  const json: unknown = type.startsWith('application/json') ? JSON.parse(answer.body) : undefined;
  return { status: answer.statusCode, type, text: answer.body, json };
}

const notReady = (): never => {
  throw new Error('not ready: syncing pods');
};

describe('our own routes', () => {
  it('answer filter, prioritize and bind and tell the observer', async () => {
    const server = start();
    expect((await post(server, '/v1/filter', names)).json).toEqual({
      Nodes: null,
      NodeNames: ['a', 'b'],
      FailedNodes: {},
      FailedAndUnresolvableNodes: {},
      Error: '',
    });
    expect((await post(server, '/v1/prioritize', names)).json).toEqual([
      { Host: 'a', Score: 5 },
      { Host: 'b', Score: 5 },
    ]);
    expect((await post(server, '/v1/bind', binding)).json).toEqual({ Error: '' });
    expect(server.verbs).toEqual(['filter', 'prioritize', 'bind']);
  });

  it('end the connection with an error and keep it with a decision, so that callers find the replica that leads', async () => {
    const error = 'gpuloom is standby: another replica holds the lease';
    const standby = start({
      verbs: {
        filter: () => ({ Nodes: null, NodeNames: null, FailedNodes: {}, FailedAndUnresolvableNodes: {}, Error: error }),
        prioritize: notReady,
        bind: () => Promise.resolve({ Error: error }),
      },
    });
    for (const [server, connection] of [
      [standby, 'close'],
      [start(), 'keep-alive'],
    ] as const) {
      for (const route of ['/v1/filter', '/v1/prioritize', '/v1/bind', '/gpushare-scheduler/filter']) {
        const payload = JSON.stringify(route.endsWith('bind') ? binding : names);
        const headers = { 'content-type': 'application/json' };
        const answer = await server.listener.app.inject({ method: 'POST', url: route, payload, headers });
        expect([route, answer.headers.connection]).toEqual([route, connection]);
      }
    }
  });

  it('carry a refusal of bind in Error with status 200, so that kube-scheduler shows it', async () => {
    const server = start({ verbs: { bind: () => Promise.resolve({ Error: 'GPU 0 is full' }) } });
    const answer = await post(server, '/v1/bind', binding);
    expect([answer.status, answer.json]).toEqual([200, { Error: 'GPU 0 is full' }]);
    expect(server.verbs).toEqual(['bind failed']);
  });

  it('turn an unexpected exception of filter or bind into Error with status 200 and log it', async () => {
    const server = start({ verbs: { filter: notReady, bind: () => Promise.reject(new Error('boom')) } });
    const filter = await post(server, '/v1/filter', names);
    expect([filter.status, filter.json]).toMatchObject([200, { NodeNames: null, Error: containing('syncing') }]);
    const bind = await post(server, '/v1/bind', binding);
    expect([bind.status, bind.json]).toEqual([200, { Error: 'internal error: boom' }]);
    expect(server.lines.filter((line) => line.includes('failed unexpectedly'))).toHaveLength(2);
  });

  it('say by status 503 that scores are not available, because a bare list has no room for an error', async () => {
    const answer = await post(start({ verbs: { prioritize: notReady } }), '/v1/prioritize', names);
    expect([answer.status, answer.json]).toEqual([503, { Error: 'not ready: syncing pods' }]);
  });

  it('never send a filter answer that kube-scheduler would read as "no node fits"', async () => {
    const silent = { Nodes: null, NodeNames: null, FailedNodes: {}, FailedAndUnresolvableNodes: {}, Error: '' };
    const answer = await post(start({ verbs: { filter: () => silent } }), '/v1/filter', names);
    expect(answer.json).toMatchObject({ Error: containing('without NodeNames') });
  });

  it.each<[string, HostPriority[], string]>([
    [
      'a fraction',
      [
        { Host: 'a', Score: 1.5 },
        { Host: 'b', Score: 1 },
      ],
      'integers from 0 to 10',
    ],
    [
      'not a number',
      [
        { Host: 'a', Score: Number.NaN },
        { Host: 'b', Score: 1 },
      ],
      'integers from 0 to 10',
    ],
    [
      'a score above 10',
      [
        { Host: 'a', Score: 11 },
        { Host: 'b', Score: 1 },
      ],
      'integers from 0 to 10',
    ],
    ['a missing host', [{ Host: 'a', Score: 1 }], '1 scores for 2 hosts'],
    [
      'a host twice',
      [
        { Host: 'a', Score: 1 },
        { Host: 'a', Score: 1 },
      ],
      'not requested or is scored twice',
    ],
    [
      'a host nobody asked for',
      [
        { Host: 'a', Score: 1 },
        { Host: 'z', Score: 1 },
      ],
      'not requested',
    ],
  ])('withhold a priority list with %s', async (_what, scores, reason) => {
    const server = start({ verbs: { prioritize: () => scores } });
    const answer = await post(server, '/v1/prioritize', names);
    expect(answer.status).toBe(503);
    expect(answer.text).toContain(reason);
    expect(server.lines.some((line) => line.includes('withheld'))).toBe(true);
  });

  it('accept scores in another order than requested', async () => {
    const scores = [
      { Host: 'b', Score: 1 },
      { Host: 'a', Score: 0 },
    ];
    const answer = await post(start({ verbs: { prioritize: () => scores } }), '/v1/prioritize', names);
    expect([answer.status, answer.json]).toEqual([200, scores]);
  });

  it.each([
    ['no body', undefined, 'has no body'],
    ['half a document', '{"Pod":', 'not JSON'],
    ['a list instead of an object', '[]', 'the body must be'],
    ['names that are numbers', { Pod: pod, NodeNames: ['a', 7] }, 'NodeNames.1 must be string'],
    ['containers that are no list', { Pod: { spec: { containers: 3 } } }, 'Pod.spec.containers must be array'],
    ['a node without an object', { Pod: pod, Nodes: { items: ['x'] } }, 'Nodes.items.0 must be object'],
    ['a prototype key', '{"Pod":{"metadata":{"__proto__":{"admin":true}}}}', '__proto__'],
    ['an escaped prototype key', '{"Pod":{"\\u005f_proto__":{"admin":true}}}', '__proto__'],
    ['a constructor with a prototype', '{"Pod":{"constructor":{"prototype":{"x":1}}}}', 'constructor.prototype'],
    ['a pod nested a thousand deep', `{"Pod":{"spec":{"x":${'['.repeat(1000)}${']'.repeat(1000)}}}}`, 'nested deeper'],
  ])('refuse %s with 400 and say what is wrong', async (_what, body, reason) => {
    const server = start();
    for (const url of ['/v1/filter', '/v1/prioritize']) {
      const answer = await post(server, url, body);
      expect([url, answer.status, answer.type]).toEqual([url, 400, 'application/json; charset=utf-8']);
      expect(answer.text).toContain(reason);
    }
  });

  it('pass fields they do not know, null fields, and the word constructor as a name', async () => {
    let seen: ExtenderArgs | undefined;
    const server = start({
      verbs: {
        prioritize: (args) => {
          seen = args;
          return [{ Host: 'constructor', Score: 0 }];
        },
      },
    });
    const answer = await post(server, '/v1/prioritize', {
      Pod: { metadata: { name: 'p', creationTimestamp: null, labels: null, managedFields: [{ x: 1 }] }, spec: null },
      Nodes: null,
      NodeNames: ['constructor'],
      Extra: { anything: [1] },
    });
    expect(answer.status).toBe(200);
    expect(seen?.Pod).toEqual({ metadata: { name: 'p', managedFields: [{ x: 1 }] } });
  });

  it('survive an answer whose echoed nodes cannot be encoded', async () => {
    let deep: object = {};
    for (let depth = 0; depth < 100_000; depth += 1) deep = { deep };
    const items = [{ metadata: { name: 'a' }, deep }];
    const server = start({
      verbs: {
        filter: () => ({
          Nodes: { items },
          NodeNames: null,
          FailedNodes: {},
          FailedAndUnresolvableNodes: {},
          Error: '',
        }),
      },
    });
    const answer = await post(server, '/v1/filter', { Pod: pod, Nodes: { items: [] } });
    expect(answer.text).toContain('could not be encoded');
    expect(answer.status).toBe(200);
  });

  it('take JSON only, so that a web page cannot post to them without asking first', async () => {
    const answer = await start().listener.app.inject({
      method: 'POST',
      url: '/v1/bind',
      payload: JSON.stringify(binding),
      headers: { 'content-type': 'text/plain' },
    });
    expect([answer.statusCode, answer.body]).toEqual([415, containing('application/json')]);
  });

  it('do not exist under other names, and never redirect', async () => {
    const server = start();
    for (const url of ['/v1/filter/', '/v1//filter', '/V1/filter', '/debug/pprof/', '/']) {
      const answer = await post(server, url, names);
      expect([url, answer.status, answer.text]).toEqual([url, 404, containing('no such route')]);
    }
  });
});

describe('gpushare routes', () => {
  const filter = '/gpushare-scheduler/filter';
  const bind = '/gpushare-scheduler/bind';

  it('answer filter with names, and with full nodes when full nodes were sent', async () => {
    const server = start();
    expect((await post(server, filter, names)).json).toMatchObject({ Nodes: null, NodeNames: ['a', 'b'], Error: '' });
    const items = [{ metadata: { name: 'a' }, status: { capacity: { cpu: '1' } } }, { metadata: { name: 'b' } }];
    const full = await post(server, filter, { Pod: pod, Nodes: { items }, NodeNames: null });
    expect(full.json).toMatchObject({ Nodes: { items }, NodeNames: ['a', 'b'] });
    const both = await post(server, filter, { Pod: pod, Nodes: { items }, NodeNames: ['b'] });
    expect(both.json).toMatchObject({ Nodes: { items: [items[1]] }, NodeNames: ['b'] });
  });

  it.each([
    ['undecodable JSON', '{"Pod":', 'not JSON'],
    ['a wrong type', { Pod: 3 }, 'Pod must be'],
    ['no pod', { NodeNames: ['a'] }, 'arg or pod is nil'],
    ['no nodes', { Pod: pod }, 'cannot get node names'],
  ])('answer filter with 200 and Error for %s', async (_what, body, reason) => {
    const answer = await post(start(), filter, body);
    expect([answer.status, answer.json]).toEqual([200, expect.objectContaining({ Error: containing(reason) })]);
  });

  it('answer bind with 200 and an empty Error, or 500 with the reason, decode errors too', async () => {
    expect(await post(start(), bind, binding)).toMatchObject({ status: 200, json: { Error: '' } });
    const full = start({ verbs: { bind: () => Promise.resolve({ Error: 'GPU 0 is full' }) } });
    expect(await post(full, bind, binding)).toMatchObject({ status: 500, json: { Error: 'GPU 0 is full' } });
    expect(await post(start(), bind, '{')).toMatchObject({ status: 500, text: containing('not JSON') });
  });

  it('answer a missing body with 400', async () => {
    for (const url of [filter, bind]) {
      expect(await post(start(), url)).toMatchObject({ status: 400, text: 'Please send a request body' });
    }
  });

  it('serve inspect for all nodes, one node and an unknown node, and the version as text', async () => {
    const document = (name: string) => ({ nodes: [{ name, totalGPU: 16, usedGPU: 2, devs: [] }] });
    const inspect = (name?: string) => (name === 'ghost' ? undefined : document(name ?? 'all'));
    const { app } = start({ inspect }).listener;
    const all = await app.inject('/gpushare-scheduler/inspect');
    const one = await app.inject('/gpushare-scheduler/inspect/node-1');
    const ghost = await app.inject('/gpushare-scheduler/inspect/ghost');
    expect([all.json(), one.json()]).toEqual([document('all'), document('node-1')]);
    expect([ghost.statusCode, ghost.json()]).toEqual([404, { nodes: [], error: containing('ghost') }]);
    const version = await app.inject('/version');
    expect([version.body, version.headers['content-type']]).toEqual(['0.1.0', 'text/plain; charset=utf-8']);
  });
});
