// Pure parts of the wire: lines from bytes, watch events from lines, paths, waits and times.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { backoffMillis } from '../../extender/kube/delays.ts';
import { apiPath, retryAfterMillis } from '../../extender/kube/kube-api.ts';
import { splitLines } from '../../extender/kube/lines.ts';
import { microTime } from '../../extender/kube/micro-time.ts';
import { parseWatchLine } from '../../extender/kube/watch-event.ts';

async function* chunksOf(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let start = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    if (cut <= start || cut >= bytes.length) continue;
    yield bytes.subarray(start, cut);
    start = cut;
  }
  yield bytes.subarray(start);
}

async function collect(lines: AsyncIterable<string>): Promise<readonly string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

describe('lines of a stream', () => {
  it('are the same however the bytes are cut, also within a character', async () => {
    const line = fc.string({ unit: 'grapheme', minLength: 1 }).map((text) => `x${text.replaceAll(/[\r\n]/g, '')}`);
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.array(fc.nat({ max: 200 })), async (lines, cuts) => {
        const bytes = Buffer.from(lines.map((one) => `${one}\n`).join(''));
        expect(await collect(splitLines(chunksOf(bytes, cuts)))).toEqual(lines);
      }),
      { seed: 20_300_101 },
    );
  });

  it('leave out one that was cut off, and refuse one without end', async () => {
    expect(await collect(splitLines(chunksOf(Buffer.from('{"a":1}\n{"b":'), [])))).toEqual(['{"a":1}']);
    await expect(collect(splitLines(chunksOf(Buffer.from('x'.repeat(50)), [20, 30]), 25))).rejects.toThrow(/longer/);
  });
});

it('any line is read as an event or as unreadable, and nothing throws', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      expect(typeof parseWatchLine(line).kind).toBe('string');
    }),
    { seed: 20_300_101 },
  );
  const expired = { type: 'ERROR', object: { code: 410, message: 'too old' } };
  expect(parseWatchLine(JSON.stringify(expired))).toMatchObject({ kind: 'error', expired: true });
  const restored = { type: 'ERROR', object: { code: 504, message: 'Too large resource version: 9, current: 2' } };
  expect(parseWatchLine(JSON.stringify(restored))).toMatchObject({ kind: 'error', expired: true });
});

it('an API path takes only names that cannot change its meaning', () => {
  expect(apiPath('v1', 'namespaces', 'team-a', 'pods', 'job.0')).toBe('/api/v1/namespaces/team-a/pods/job.0');
  expect(apiPath('coordination.k8s.io/v1', 'leases')).toBe('/apis/coordination.k8s.io/v1/leases');
  for (const bad of ['', '.', '..', 'a/b', 'a?b', 'a%2fb', 'a b', 'ä', '-a', 'x'.repeat(254)]) {
    expect(() => apiPath('v1', 'pods', bad)).toThrow(/not a valid Kubernetes name/);
  }
});

it.each<[string | undefined, unknown, number]>([
  ['7', {}, 7_000],
  [undefined, { details: { retryAfterSeconds: 3 } }, 3_000],
  ['9', { details: { retryAfterSeconds: 3 } }, 9_000],
  ['Wed, 21 Oct 2015 07:28:00 GMT', {}, 0],
  ['-5', {}, 0],
  ['86400', {}, 120_000],
  [undefined, 'too busy', 0],
])('Retry-After %j with body %j asks for %i ms', (header, body, expected) => {
  expect(retryAfterMillis({ status: 429, headers: { 'retry-after': header }, body })).toBe(expected);
});

it('the backoff never exceeds its cap, nor what doubling allows', () => {
  const backoff = { baseMillis: 250, capMillis: 30_000 };
  fc.assert(
    fc.property(fc.nat({ max: 5_000 }), fc.double({ min: 0, max: 0.999_999, noNaN: true }), (attempt, chance) => {
      const millis = backoffMillis(backoff, attempt, () => chance);
      expect(millis).toBeGreaterThanOrEqual(0);
      expect(millis).toBeLessThan(Math.min(30_000, 250 * 2 ** attempt) + 1);
    }),
    { seed: 20_300_101 },
  );
});

it('a MicroTime has exactly six fraction digits', () => {
  expect(microTime(Date.UTC(2030, 0, 2, 3, 4, 5, 6))).toBe('2030-01-02T03:04:05.006000Z');
});
