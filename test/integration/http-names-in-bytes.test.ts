// Requests whose node names stay bytes, over the real listener and application: the answers are those to the same
// request as strings, and memory that is used again never shows in another caller's answer.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ListenAddress, Listener } from '../../extender/http/listener.ts';
import { TestCluster } from '../support/application.ts';
import { gpusOf, podManifest, type NodeSketch } from '../support/builders.ts';
import { exchange, rawClient, verbsUnderTest } from '../support/http-shell.ts';

const SKETCHES: readonly NodeSketch[] = [
  { name: 'large', gpus: gpusOf(2, 40) },
  { name: 'small', gpus: gpusOf(2, 8) },
  { name: 'other', gpus: gpusOf(1, 40, 'T4') },
  { name: 'bare', gpus: [] },
];
const NAMES: readonly string[] = [...SKETCHES.map(({ name }) => name), 'stranger'];

let cluster: TestCluster;
let listener: Listener;
let address: ListenAddress;
let answered: readonly string[];

async function serve(narrow: number): Promise<void> {
  cluster = new TestCluster(SKETCHES, { narrow });
  ({ listener, verbs: answered } = verbsUnderTest({ verbs: cluster.app }));
  address = await listener.listen({ host: '127.0.0.1', port: 0 });
}

afterEach(() => listener.close());

describe('the same request with its names in bytes and as strings', () => {
  const pods = {
    'a pod that fits here and there': podManifest({ name: 'p', slices: 12 }),
    'a pod that fits everywhere': podManifest({ name: 'p', slices: 2 }),
    'a pod that fits nowhere': podManifest({ name: 'p', slices: 80 }),
    'a pod that contradicts itself': podManifest({ name: 'p', slices: 5, count: 2 }),
    'a pod without GPUs': podManifest({ name: 'p', slices: 0 }),
    'no pod': null,
  };
  const routes = ['/v1/filter', '/v1/prioritize', '/gpushare-scheduler/filter'];

  it.each([
    [0, 'none', null],
    [2, 'none', null],
    [0, 'one', { items: [{ metadata: { name: 'large' } }] }],
  ])('gets the same answer, with narrowing to %i and %s of the nodes beside its name', async (narrow, _, Nodes) => {
    await serve(narrow);
    for (const [what, Pod] of Object.entries(pods)) {
      for (const path of routes) {
        const request = { Pod, Nodes, NodeNames: NAMES };
        const [inBytes, asStrings] = [JSON.stringify(request), JSON.stringify(request, null, 1)];
        const [first, second] = [
          await exchange(address, { path, body: inBytes }),
          await exchange(address, { path, body: asStrings }),
        ];
        expect({ what, path, status: first.status }).toEqual({ what, path, status: second.status });
        expect(JSON.parse(first.body)).toEqual(JSON.parse(second.body));
      }
    }
  });

  it('gets the error that JSON deserves where the part before the names is damaged', async () => {
    await serve(0);
    const body = '{"Pod":{"metadata":[}},"Nodes":null,"NodeNames":["large"]}';
    const answer = await exchange(address, { path: '/v1/filter', body });
    expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('not JSON')]);
  });

  it('is told what is wrong with a pod of the wrong form', async () => {
    await serve(0);
    const body = JSON.stringify({ Pod: { metadata: { name: 7 } }, Nodes: null, NodeNames: ['large'] });
    const answer = await exchange(address, { path: '/v1/filter', body });
    expect([answer.status, answer.body]).toEqual([400, expect.stringContaining('Pod.metadata.name')]);
  });
});

describe('memory that is used again', () => {
  beforeEach(() => serve(0));

  it('keeps the answers of callers apart that ask at once', async () => {
    const ask = async (caller: number): Promise<void> => {
      const names = Array.from({ length: 50 + caller }, (_, at) => `c${caller}-n${at}`);
      const body = JSON.stringify({ Pod: podManifest({ name: `p${caller}` }), Nodes: null, NodeNames: names });
      const answer = await exchange(address, { path: '/v1/prioritize', body });
      expect(JSON.parse(answer.body)).toEqual(names.map((Host) => ({ Host, Score: 0 })));
    };
    await Promise.all(Array.from({ length: 60 }, (_, caller) => ask(caller)));
  });

  it('is not written again while a slow reader still waits for it', async () => {
    const LARGE = 80_000;
    // Together more than the operating system takes for a reader that does not read.
    const REQUESTS = 4;
    const callers = Array.from({ length: 3 }, (_, caller) => `slow-${caller}`);
    const bodyOf = (caller: string): string => {
      const NodeNames = Array.from({ length: LARGE }, (_, at) => `${caller}-${at}`);
      return JSON.stringify({ Pod: podManifest({ name: caller }), Nodes: null, NodeNames });
    };
    const clients = await Promise.all(
      callers.map(async (caller) => {
        const body = bodyOf(caller);
        const requests = Array.from({ length: REQUESTS }, (_, at) => {
          const connection = at === REQUESTS - 1 ? 'close' : 'keep-alive';
          return `POST /v1/prioritize HTTP/1.1\r\nHost: x\r\nConnection: ${connection}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
        });
        const client = await rawClient(address, requests.join(''));
        client.socket.pause();
        return client;
      }),
    );
    await expect.poll(() => answered.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(2 * callers.length);
    for (let each = 0; each < 3; each++) await exchange(address, { path: '/v1/prioritize', body: bodyOf('quick-0') });
    for (const { socket } of clients) socket.resume();
    const answers = await Promise.all(clients.map(({ closed }) => closed));
    for (const [at, caller] of callers.entries()) {
      const hosts = [...(answers[at] ?? '').matchAll(/"Host":"([a-z]+-\d)-/g)].map(([, owner]) => owner);
      expect(hosts).toHaveLength(LARGE * REQUESTS);
      expect(new Set(hosts)).toEqual(new Set([caller]));
    }
  });
});
