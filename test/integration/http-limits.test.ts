// The listener's limits over real sockets: slow, idle, oversized and unfinished requests, and an orderly end.
// Waits are on conditions; the limits under test are set short, and nothing asserts how long a thing took.

import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ListenAddress } from '../../extender/http/listener.ts';
import { exchange, rawClient, verbsUnderTest } from '../support/http-shell.ts';
import type { RawClient, VerbsSetup, VerbsUnderTest } from '../support/http-shell.ts';

const open: VerbsUnderTest[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await server.listener.close();
});

async function listen(setup: VerbsSetup): Promise<{ server: VerbsUnderTest; address: ListenAddress }> {
  const server = verbsUnderTest({ ...setup, limits: { drainMillis: 50, ...setup.limits } });
  open.push(server);
  return { server, address: await server.listener.listen({ host: '127.0.0.1', port: 0 }) };
}

const body = JSON.stringify({ Pod: { metadata: { name: 'p' } }, Nodes: null, NodeNames: ['a'] });
const filter = { path: '/v1/filter', body };
const halfRequest = 'POST /v1/filter HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';

describe('slow clients', () => {
  it('do not keep a good client from its answer, and are cut when the header time is over', async () => {
    const { address } = await listen({
      limits: { headersTimeoutMillis: 300, requestTimeoutMillis: 600, connectionsCheckingIntervalMillis: 50 },
    });
    const slow = await Promise.all(Array.from({ length: 200 }, () => rawClient(address, halfRequest)));
    expect(await exchange(address, filter)).toMatchObject({ status: 200 });
    const endings = await Promise.all(slow.map(({ closed }) => closed));
    expect(endings.every((text) => text.includes('408'))).toBe(true);
    expect(await exchange(address, filter)).toMatchObject({ status: 200 });
  });

  it('are cut when they trickle a body for longer than the request time', async () => {
    const { address, server } = await listen({
      limits: { headersTimeoutMillis: 200, requestTimeoutMillis: 300, connectionsCheckingIntervalMillis: 50 },
    });
    const slow = await rawClient(address, `${halfRequest}Content-Length: 100000\r\n\r\n{"Pod":`);
    expect(await slow.closed).toContain('408');
    expect(server.verbs).toEqual([]);
  });

  it('are turned away, and counted, when the connection limit is reached', async () => {
    const { address, server } = await listen({ limits: { maxConnections: 3 } });
    const held: RawClient[] = [];
    for (let index = 0; index < 3; index += 1) held.push(await rawClient(address, halfRequest));
    const outcome = await exchange(address, filter).then(
      () => 'answered',
      () => 'refused',
    );
    expect(outcome).toBe('refused');
    await vi.waitFor(() => expect(server.refused).toEqual(['capacity']));
    for (const { socket } of held) socket.destroy();
    await vi.waitFor(async () => expect(await exchange(address, filter)).toMatchObject({ status: 200 }));
  });
});

describe('large bodies', () => {
  it('are refused with 413 and advice before they are read when their length is announced', async () => {
    const { address } = await listen({ limits: { bodyLimitBytes: 1000 } });
    const client = await rawClient(address, `${halfRequest}Content-Length: 1001\r\n\r\n`);
    expect(await client.closed).toMatch(/^HTTP\/1.1 413 [^]*nodeCacheCapable/);
  });

  it('are refused with 413 while they arrive when their length is not announced', async () => {
    const { address } = await listen({ limits: { bodyLimitBytes: 1000 } });
    const chunk = `400\r\n${'x'.repeat(1024)}\r\n`;
    const client = await rawClient(address, `${halfRequest}Transfer-Encoding: chunked\r\n\r\n${chunk}`);
    expect(await client.closed).toMatch(/^HTTP\/1.1 413 /);
  });

  it('are refused with 429 when many arrive at once, and the budget is given back', async () => {
    const { address } = await listen({ limits: { bodyLimitBytes: 4000, bodyBudgetBytes: 5000 } });
    const part = `${halfRequest}Content-Length: 4000\r\n\r\n${'x'.repeat(3000)}`;
    const first = await rawClient(address, part);
    const second = await rawClient(address, part);
    const ended = await Promise.race([first.closed, second.closed]);
    expect(ended).toMatch(/^HTTP\/1.1 429 /);
    first.socket.destroy();
    second.socket.destroy();
    const padded = { path: '/v1/filter', body: `${body}${' '.repeat(3800)}` };
    await vi.waitFor(async () => expect(await exchange(address, padded)).toMatchObject({ status: 200 }));
  });
});

describe('closing', () => {
  it('lets a request in flight finish, closes its connection and accepts no new one', async () => {
    const gate = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    const { address, server } = await listen({
      verbs: {
        bind: () => {
          entered.resolve();
          return gate.promise.then(() => ({ Error: '' }));
        },
      },
      limits: { drainMillis: 10_000 },
    });
    const keepAlive = `${halfRequest.replace('filter', 'bind')}Content-Length: 2\r\n\r\n{}`;
    const client = await rawClient(address, keepAlive);
    await entered.promise;
    const closed = server.listener.close();
    await expect(exchange(address, filter)).rejects.toThrow(/ECONNREFUSED|ECONNRESET/);
    gate.resolve();
    expect(await client.closed).toContain('{"Error":""}');
    await closed;
  });

  it('cuts what has not finished when the drain time is over', async () => {
    const { address, server } = await listen({
      verbs: { bind: () => new Promise(() => {}) },
      limits: { drainMillis: 30 },
    });
    const stuck = await rawClient(address, `${halfRequest.replace('filter', 'bind')}Content-Length: 2\r\n\r\n{}`);
    const half = await rawClient(address, halfRequest);
    await vi.waitFor(async () => expect(await connections(server)).toBe(2));
    await server.listener.close();
    expect(await stuck.closed).toBe('');
    expect(await half.closed).toBe('');
  });
});

function connections(server: VerbsUnderTest): Promise<number> {
  return new Promise((resolve) => server.listener.app.server.getConnections((_error, count) => resolve(count)));
}
