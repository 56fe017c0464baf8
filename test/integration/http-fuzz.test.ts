// Random and protocol-shaped bodies on every route, seeded. A failure prints the counterexample.

import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { verbsUnderTest } from '../support/http-shell.ts';
import type { VerbsUnderTest } from '../support/http-shell.ts';

const SEED = 20_240_917;

let server: VerbsUnderTest;
beforeAll(() => {
  server = verbsUnderTest();
});
afterAll(() => server.listener.close());

const routes = [
  '/v1/filter',
  '/v1/prioritize',
  '/v1/bind',
  '/gpushare-scheduler/filter',
  '/gpushare-scheduler/bind',
] as const;

/** Words that reach into the protocol and into the prototype chain. */
const keys = fc.constantFrom(
  ...['Pod', 'Nodes', 'NodeNames', 'items', 'metadata', 'spec', 'containers', 'resources', 'limits', 'name', 'labels'],
  ...['PodName', 'PodUID', 'Node', '__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', ''],
);
const leaves = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.double(),
  fc.boolean(),
  fc.constantFrom(null, 'a', '-1', Number.MAX_VALUE),
);
/** JSON as text, so that __proto__ becomes a key of the document and not of this test's own objects. */
const { text: protocolLike } = fc.letrec<{ text: string }>((tie) => ({
  text: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaves.map((leaf) => JSON.stringify(leaf)),
    fc.constantFrom('1e400', '-0', '9007199254740993'),
    fc.array(tie('text'), { maxLength: 4 }).map((items) => `[${items.join(',')}]`),
    fc
      .array(fc.tuple(keys, tie('text')), { maxLength: 6 })
      .map((entries) => `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`),
  ),
}));
const bodies = fc.oneof(
  fc.json(),
  fc.string({ unit: 'binary' }),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  protocolLike,
  fc
    .record({ Pod: fc.anything(), Nodes: fc.anything(), NodeNames: fc.array(fc.string()) }, { requiredKeys: [] })
    .map((value) => JSON.stringify(value, (_key, member: unknown) => (typeof member === 'bigint' ? 1 : member)) ?? ''),
);

it('no body on any route crashes the server, answers 5xx on /v1 or changes a prototype', async () => {
  const canary = Object.getOwnPropertyNames(Object.prototype).join();
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...routes), bodies, async (url, payload) => {
      const headers = { 'content-type': 'application/json' };
      const answer = await server.listener.app.inject({ method: 'POST', url, payload, headers });
      const allowed = url === '/gpushare-scheduler/bind' ? [200, 400, 500] : [200, 400];
      expect(allowed).toContain(answer.statusCode);
      seen.add(`${url} ${answer.statusCode}`);
      if (answer.body !== 'Please send a request body') expect(() => void JSON.parse(answer.body)).not.toThrow();
    }),
    { seed: SEED, numRuns: 1500 },
  );
  // The bodies are only worth their time if they get past the decoder as well as failing in it.
  for (const url of routes) expect(seen).toContain(`${url} 200`);
  expect(seen).toContain('/v1/filter 400');
  expect(Object.getOwnPropertyNames(Object.prototype).join()).toBe(canary);
  expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  expect(server.lines.filter((line) => line.includes('unexpected'))).toEqual([]);
});

it('no query on the inspect routes and no path crashes the server', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 300 }), async (word) => {
      const path = encodeURIComponent(word.isWellFormed() ? word : 'ill-formed');
      const answer = await server.listener.app.inject(`/gpushare-scheduler/inspect/${path}`);
      expect([200, 404, 414]).toContain(answer.statusCode);
    }),
    { seed: SEED, numRuns: 300 },
  );
});
