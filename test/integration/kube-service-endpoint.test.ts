// The leader's endpoint behind a Service against the embedded API server: two replicas on one virtual clock, with requests
// held up, refused and lost by the server.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { connectKube } from '../../extender/kube/client.ts';
import type { KubeClient } from '../../extender/kube/client.ts';
import { startServiceEndpoint } from '../../extender/kube/service-endpoint.ts';
import type { ServiceEndpoint } from '../../extender/kube/service-endpoint.ts';
import { containing } from '../support/http-shell.ts';
import { VirtualTime } from '../support/virtual-time.ts';

const NAMESPACE = 'gpuloom-system';
const SERVICE = 'gpuloom-extender';
const CHECK_MILLIS = 10_000;
const A = '10.0.0.1';
const B = '10.0.0.2';
const PORT = 12_345;

let server: EmbeddedApiServer;
let client: KubeClient;
let time: VirtualTime;
let leader: string | undefined;
let problems: string[];
let running: ServiceEndpoint[];

beforeEach(async () => {
  server = new EmbeddedApiServer();
  client = await connectKube({ kind: 'loopback', server: await server.listen() }, { version: 'test' });
  time = new VirtualTime();
  leader = undefined;
  problems = [];
  running = [];
});

afterEach(async () => {
  await Promise.all(running.map((endpoint) => endpoint.stop()));
  await client.close();
  await server.close();
});

function start(ip: string): ServiceEndpoint {
  const endpoint = startServiceEndpoint({
    api: client,
    delays: time,
    namespace: NAMESPACE,
    service: SERVICE,
    address: { ip, port: PORT },
    mayPublish: () => leader === ip,
    report: (message) => problems.push(message),
  });
  running.push(endpoint);
  return endpoint;
}

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { interval: 2 });
/** Every running replica waits for its next check. */
const idle = (): Promise<void> => eventually(() => expect(time.sleeps()).toHaveLength(running.length));
const subsets = (): unknown => server.cluster.get('endpoints', NAMESPACE, SERVICE)?.['subsets'];
const version = (): unknown => server.cluster.get('endpoints', NAMESPACE, SERVICE)?.metadata.resourceVersion;
const ports = [{ name: 'verbs', port: PORT, protocol: 'TCP' }];
const only = (ip: string): unknown => [{ addresses: [{ ip }], ports }];
const write = (value: unknown, more: object = {}): void => {
  const metadata = { namespace: NAMESPACE, name: SERVICE, ...more };
  server.cluster.update('endpoints', { apiVersion: 'v1', kind: 'Endpoints', metadata, subsets: value });
};

/** The replica leads and has caught up, and its endpoint is told. */
async function lead(ip: string, endpoint: ServiceEndpoint): Promise<void> {
  leader = ip;
  endpoint.wake();
  await eventually(() => expect(subsets()).toEqual(only(ip)));
  await idle();
}

describe('two replicas', () => {
  it('ask for nothing before one of them leads, then the leader is the only endpoint at once', async () => {
    const a = start(A);
    start(B);
    await idle();
    const asked = server.faults.inject({ resource: 'endpoints' }, { kind: 'drop-before' });
    time.advance(3 * CHECK_MILLIS);
    await idle();
    expect([asked.hits, subsets()]).toEqual([0, undefined]);
    asked.remove();
    await lead(A, a);
    expect(problems).toEqual([]);
  });

  it('hand over without a check in between when the lead changes', async () => {
    const [a, b] = [start(A), start(B)];
    await idle();
    await lead(A, a);
    await lead(B, b);
    const before = version();
    time.advance(CHECK_MILLIS);
    await idle();
    expect([subsets(), version()]).toEqual([only(B), before]);
  });

  it('never let a write of the former leader that was held up undo the one of its successor', async () => {
    const [a, b] = [start(A), start(B)];
    await idle();
    await lead(A, a);
    write(only('10.9.9.9'));
    const held = Promise.withResolvers<void>();
    const rule = server.faults.inject(
      { verb: 'update', resource: 'endpoints' },
      { kind: 'delay-before', until: held.promise },
      1,
    );
    a.wake();
    await eventually(() => expect(rule.hits).toBe(1));
    leader = B;
    b.wake();
    await eventually(() => expect(subsets()).toEqual(only(B)));
    const settled = version();
    held.resolve();
    await idle();
    time.advance(CHECK_MILLIS);
    await idle();
    expect([subsets(), version(), problems]).toEqual([only(B), settled, []]);
  });

  it('write nothing once the lead is lost while they read', async () => {
    const a = start(A);
    await idle();
    const held = Promise.withResolvers<void>();
    const rule = server.faults.inject(
      { verb: 'get', resource: 'endpoints' },
      { kind: 'delay-after', until: held.promise },
      1,
    );
    leader = A;
    a.wake();
    await eventually(() => expect(rule.hits).toBe(1));
    leader = undefined;
    held.resolve();
    await idle();
    expect(subsets()).toBeUndefined();
  });
});

describe('the leader', () => {
  it.each<[string, () => void]>([
    ['another address', () => write(only(B))],
    ['a second address', () => write([{ addresses: [{ ip: A }, { ip: B }], ports }])],
    [
      'a second address that is not ready',
      () => write([{ addresses: [{ ip: A }], notReadyAddresses: [{ ip: B }], ports }]),
    ],
    ['itself as not ready', () => write([{ notReadyAddresses: [{ ip: A }], ports }])],
    ['another port', () => write([{ addresses: [{ ip: A }], ports: [{ name: 'verbs', port: 1, protocol: 'TCP' }] }])],
    ['a port without the name', () => write([{ addresses: [{ ip: A }], ports: [{ port: PORT }] }])],
    ['no address', () => write([])],
    ['a list that is none', () => write({ addresses: 7 })],
    ['no object', () => server.cluster.delete('endpoints', NAMESPACE, SERVICE)],
  ])('puts itself back at the next check after somebody left %s', async (_what, change) => {
    const a = start(A);
    await idle();
    await lead(A, a);
    change();
    time.advance(CHECK_MILLIS);
    await eventually(() => expect(subsets()).toEqual(only(A)));
    await idle();
    expect(problems).toEqual([]);
  });

  it('keeps labels and annotations when it writes, and does not write where traffic already goes to it alone', async () => {
    server.cluster.create('endpoints', {
      metadata: { namespace: NAMESPACE, name: SERVICE, labels: { team: 'gpu' }, annotations: { note: 'kept' } },
    });
    const a = start(A);
    await idle();
    await lead(A, a);
    expect(server.cluster.get('endpoints', NAMESPACE, SERVICE)?.metadata).toMatchObject({
      labels: { team: 'gpu' },
      annotations: { note: 'kept' },
    });
    write([{ addresses: [{ ip: A, nodeName: 'node-1' }], ports }], { labels: { team: 'other' } });
    const before = version();
    time.advance(CHECK_MILLIS);
    await idle();
    expect(version()).toBe(before);
  });

  it.each(['forbidden', 'conflicting', 'lost', 'committed but unanswered'])(
    'tries again soon after a write that was %s',
    async (fate) => {
      const actions = {
        forbidden: { kind: 'answer', status: 403, message: 'endpoints is forbidden' },
        conflicting: { kind: 'answer', status: 409 },
        lost: { kind: 'drop-before' },
        'committed but unanswered': { kind: 'drop-after' },
      } as const;
      const action = new Map<string, (typeof actions)[keyof typeof actions]>(Object.entries(actions)).get(fate);
      if (action === undefined) throw new Error(fate);
      const a = start(A);
      await idle();
      server.faults.inject({ verb: 'create', resource: 'endpoints' }, action, 1);
      leader = A;
      a.wake();
      await eventually(() => expect(time.sleeps()[0]).toBeLessThan(1_000));
      time.advance(1_000);
      await eventually(() => expect(subsets()).toEqual(only(A)));
      await idle();
      const told = fate === 'conflicting' ? [] : [containing(SERVICE)];
      expect(problems).toEqual(told);
    },
  );
});

describe('a replica that ends', () => {
  it('leaves the Service empty when it was the endpoint', async () => {
    const a = start(A);
    await idle();
    await lead(A, a);
    await a.stop();
    expect(subsets()).toEqual([]);
  });

  it('leaves its successor alone', async () => {
    const [a, b] = [start(A), start(B)];
    await idle();
    await lead(A, a);
    await lead(B, b);
    await a.stop();
    expect(subsets()).toEqual(only(B));
  });

  it('asks for nothing when it never led, and does not mind an API server that is gone', async () => {
    const [a, b] = [start(A), start(B)];
    await idle();
    await lead(A, a);
    server.faults.inject({ resource: 'endpoints' }, { kind: 'drop-before' });
    await b.stop();
    expect(problems).toEqual([]);
    await a.stop();
    expect(problems).toEqual([containing(SERVICE)]);
  });
});
