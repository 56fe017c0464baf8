// `npm start -- --once` before an extender that fails: the run ends soon and says why.

import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { startClusterOf } from '../../extender/demo/embedded-cluster.ts';
import { seededNodes } from '../../extender/demo/gpu-nodes.ts';
import { ExtenderFault, runOnce } from '../../extender/demo/run-once.ts';
import type { Session } from '../../extender/demo/session.ts';
import { seededWorkload } from '../../extender/demo/workload.ts';

interface Call {
  readonly verb: string;
  readonly podName: string;
  readonly offered: readonly string[];
}

const ERROR = { Error: 'not synced yet' };
const accept = (names: readonly string[]): object => ({ NodeNames: names.slice(0, 1), FailedNodes: {}, Error: '' });
const refuse = (names: readonly string[]): object => ({
  NodeNames: [],
  FailedNodes: Object.fromEntries(names.map((name) => [name, 'no GPU is free'])),
  Error: '',
});

let endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.reverse()) await end();
  endings = [];
});

/** Fills a small cluster before an extender that answers so. */
async function fill(answer: (call: Call) => object): Promise<Session> {
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as {
        NodeNames?: string[];
        PodName?: string;
        Pod?: { metadata: { name: string } };
      };
      const podName = body.PodName ?? body.Pod?.metadata.name ?? '';
      const verb = request.url?.split('/').at(-1) ?? '';
      response.end(JSON.stringify(answer({ verb, podName, offered: body.NodeNames ?? [] })));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const cluster = await startClusterOf(seededNodes(1, 3));
  endings.push(
    () => cluster.close(),
    () => new Promise((resolve) => server.close(resolve)),
  );
  const verbsUrl = `http://127.0.0.1:${port}`;
  const session = await runOnce({
    server: cluster.server,
    extender: { verbsUrl, opsUrl: verbsUrl, hasSeen: () => true, close: () => Promise.resolve() },
    seed: 1,
    workload: seededWorkload(1),
    pods: 60,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  endings.push(() => session.close());
  return session;
}

describe('filling the cluster once', () => {
  it.each<[string, (call: Call) => object, string]>([
    ['filter', () => ERROR, 'filter: not synced yet'],
    ['bind', ({ verb, offered }) => (verb === 'filter' ? accept(offered) : ERROR), 'bind: not synced yet'],
  ])('ends after a few calls when %s answers nothing but errors, and says so', async (verb, answer, last) => {
    let calls = 0;
    const run = fill((call) => {
      calls++;
      return answer(call);
    });
    await expect(run).rejects.toThrow(ExtenderFault);
    await expect(run).rejects.toThrow(
      `the extender answers nothing but errors: 8 calls of ${verb} in a row failed, the last with "${last}"`,
    );
    expect(calls).toBeLessThan(20);
  });

  it('says how many pods were not decided when calls fail for some of them', async () => {
    let unlucky: string | undefined;
    const run = fill(({ podName, offered }) => {
      unlucky ??= podName;
      return podName === unlucky ? ERROR : refuse(offered);
    });
    await expect(run).rejects.toThrow('pods that were not decided: 1, because 4 calls for each failed, the last with');
  });

  it('goes on when calls fail now and then, and decides every pod', async () => {
    const tried = new Set<string>();
    const session = await fill(({ podName, offered }) => {
      if (tried.has(podName)) return refuse(offered);
      tried.add(podName);
      return tried.size % 5 === 0 ? refuse(offered) : ERROR;
    });
    expect(session.tally.arrived).toBe(60);
    expect(session.tally.causes().map(({ reason }) => reason)).toEqual(['no GPU is free']);
  });
});
