// Whether a replica answers, and whether it is well: what each probe hears in each state.

import { expect, it } from 'vitest';
import { Readiness } from '../../extender/app/readiness.ts';
import type { ReadinessSources } from '../../extender/app/readiness.ts';
import { VirtualTime } from '../support/virtual-time.ts';

const STALE_AFTER_MILLIS = 60_000;

const LEADER: ReadinessSources = {
  unsynced: () => [],
  lastContactMillis: () => 1_000_000,
  isLeader: () => true,
  isCaughtUp: () => true,
};
const STANDBY: ReadinessSources = { ...LEADER, isLeader: () => false, isCaughtUp: () => false };
const unsynced = { unsynced: () => ['pods'] };
const silent = { lastContactMillis: () => 1_000_000 - STALE_AFTER_MILLIS - 1 };

it.each<[string, ReadinessSources, string, boolean, boolean]>([
  ['a leader with a fresh view', LEADER, 'active', true, true],
  ['a leader without its first lists', { ...LEADER, ...unsynced }, 'syncing', false, false],
  ['a leader whose fresh lists are under way', { ...LEADER, isCaughtUp: () => false }, 'syncing', false, false],
  ['a leader out of touch', { ...LEADER, ...silent }, 'stale', false, false],
  ['a standby with a fresh view', STANDBY, 'standby', false, true],
  ['a standby without its first lists', { ...STANDBY, ...unsynced }, 'standby', false, false],
  ['a standby out of touch', { ...STANDBY, ...silent }, 'standby', false, false],
])('%s is %s, %s', (_who, sources, state, ready, warm) => {
  const readiness = new Readiness(sources, new VirtualTime(), STALE_AFTER_MILLIS);
  expect(readiness.report()).toMatchObject({ state, ready, warm });
  expect(readiness.refusal() === undefined).toBe(ready);
  readiness.drain();
  expect(readiness.report()).toMatchObject({ state: 'draining', ready: false, warm: false });
});

it('a standby that could not take over says what it lacks', () => {
  const { detail } = new Readiness({ ...STANDBY, ...unsynced }, new VirtualTime(), STALE_AFTER_MILLIS).report();
  expect(detail).toContain('another replica holds the lease');
  expect(detail).toContain('list of pods');
});
