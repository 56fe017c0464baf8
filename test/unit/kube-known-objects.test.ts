// What lists and watch events amount to, apart from any transport.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { isOlderVersion, KnownObjects } from '../../extender/kube/known-objects.ts';
import { slimObject } from '../support/recording-feed.ts';
import type { SlimObject } from '../support/recording-feed.ts';

const raw = (name: string, uid: string, version: number): unknown => ({
  metadata: { namespace: 'default', name, uid, resourceVersion: String(version) },
});

function knowing(...objects: readonly unknown[]): { known: KnownObjects<SlimObject>; problems: string[] } {
  const problems: string[] = [];
  const known = new KnownObjects(slimObject, (kind, key) => problems.push(`${kind} ${key}`));
  relist(known, objects);
  return { known, problems };
}

function relist(known: KnownObjects<SlimObject>, objects: readonly unknown[]): number {
  const draft = { entries: new Map() };
  for (const object of objects) known.addToDraft(draft, object);
  return known.commit(draft).drift;
}

const shown = (changes: ReturnType<KnownObjects<SlimObject>['put']>): readonly string[] =>
  changes.map((change) => `${change.kind} ${change.item.uid}@${change.item.version}`);

describe('a watch event', () => {
  it('with the version already known changes nothing', () => {
    const { known } = knowing(raw('a', 'u1', 5));
    expect(known.put(raw('a', 'u1', 5))).toEqual([]);
  });

  it('that is older than what is known is dropped and reported, so no object goes back in time', () => {
    const { known, problems } = knowing(raw('a', 'u1', 10));
    expect(known.put(raw('a', 'u1', 9))).toEqual([]);
    expect(problems).toEqual(['went-backwards default/a']);
  });

  it('with a new uid under a known name removes the old object first', () => {
    const { known } = knowing(raw('a', 'u1', 5));
    expect(shown(known.put(raw('a', 'u2', 8)))).toEqual(['remove u1@5', 'upsert u2@8']);
  });

  it('that deletes an object with another uid than the known one is ignored', () => {
    const { known } = knowing(raw('a', 'u2', 8));
    expect(known.drop(raw('a', 'u1', 9))).toEqual([]);
    expect(shown(known.drop(raw('a', 'u2', 9)))).toEqual(['remove u2@8']);
    expect(known.size).toBe(0);
  });
});

it.each<[string, readonly unknown[], number]>([
  ['the same', [raw('a', 'u1', 5), raw('b', 'u2', 6)], 0],
  ['one more', [raw('a', 'u1', 5), raw('b', 'u2', 6), raw('c', 'u3', 7)], 1],
  ['one less', [raw('a', 'u1', 5)], 1],
  ['one newer', [raw('a', 'u1', 9), raw('b', 'u2', 6)], 1],
  ['one replaced under its name', [raw('a', 'u9', 9), raw('b', 'u2', 6)], 1],
  ['all different', [raw('c', 'u3', 7)], 3],
])('the drift to a list with %s is counted', (_what, objects, drift) => {
  const { known } = knowing(raw('a', 'u1', 5), raw('b', 'u2', 6));
  expect(relist(known, objects)).toBe(drift);
  expect(relist(known, objects)).toBe(0);
});

it('versions compare as numbers of any length, and not at all when they are not numbers', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 80n }), fc.bigInt({ min: 0n, max: 2n ** 80n }), (one, other) => {
      expect(isOlderVersion(String(one), String(other))).toBe(one < other);
    }),
    { seed: 20_300_101 },
  );
  for (const odd of ['', 'abc', '01', '-1', '1.5']) {
    expect([isOlderVersion(odd, '5'), isOlderVersion('5', odd)]).toEqual([false, false]);
  }
});
