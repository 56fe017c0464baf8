// Leader election among simulated processes on one virtual clock: requests that are slow, lost before or after they
// were committed, and processes that freeze. Exact repetition by seed; the lease store below does the server's
// compare-and-swap and nothing else.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { KubeUnreachable, stringAt } from '../../extender/kube/kube-api.ts';
import type { HttpMethod, KubeAnswer, KubeApi, KubeRequest } from '../../extender/kube/kube-api.ts';
import { startLeaderElection } from '../../extender/kube/lease.ts';
import type { LeaderElection } from '../../extender/kube/lease.ts';
import { settled, VirtualTime } from '../support/virtual-time.ts';

class LeaseStore {
  object: unknown;
  writes: string[] = [];
  #version = 0;

  handle(method: HttpMethod, body: unknown): KubeAnswer {
    if (method === 'GET') return this.object === undefined ? answer(404) : answer(200, this.object);
    if (method === 'POST') return this.object === undefined ? this.#commit(201, body) : answer(409);
    if (this.object === undefined) return answer(404);
    const current = stringAt(this.object, 'metadata', 'resourceVersion');
    return stringAt(body, 'metadata', 'resourceVersion') === current ? this.#commit(200, body) : answer(409);
  }

  #commit(status: number, body: unknown): KubeAnswer {
    const spec = structuredClone((body as { spec: unknown }).spec);
    this.#version += 1;
    this.writes.push(stringAt(spec, 'holderIdentity') ?? '');
    this.object = { metadata: { name: 'gpuloom', resourceVersion: String(this.#version) }, spec };
    return answer(status, this.object);
  }
}

function answer(status: number, body: unknown = { kind: 'Status' }): KubeAnswer {
  return { status, headers: {}, body: structuredClone(body) };
}

type Fate = { readonly kind: 'served' | 'lost-before' | 'lost-after'; readonly there: number; readonly back: number };

const PROMPT: Fate = { kind: 'served', there: 5, back: 5 };

/** One process: its view of time stops taking effect while it is frozen, though the clock goes on. */
class Process implements KubeApi {
  readonly election: LeaderElection;
  readonly acquired: number[] = [];
  readonly lost: number[] = [];
  readonly problems: string[] = [];
  readonly #time: VirtualTime;
  readonly #store: LeaseStore;
  readonly #fates: (() => Fate)[];
  #frozenUntil = 0;

  constructor(identity: string, time: VirtualTime, store: LeaseStore, nextFate: () => Fate = () => PROMPT) {
    this.#time = time;
    this.#store = store;
    this.#fates = [nextFate];
    this.election = startLeaderElection({
      api: this,
      clock: time,
      delays: { sleep: (millis, signal) => this.#awake(time.sleep(millis, signal)), random: () => 0.5 },
      namespace: 'gpuloom',
      name: 'gpuloom',
      identity,
      onAcquired: (epoch) => this.acquired.push(epoch),
      onLost: (epoch) => this.lost.push(epoch),
      report: (message) => this.problems.push(message),
    });
  }

  setFate(fate: Fate): void {
    this.#fates[0] = () => fate;
  }

  freeze(millis: number): void {
    this.#frozenUntil = Math.max(this.#frozenUntil, this.#time.monotonicMillis() + millis);
  }

  request(method: HttpMethod, _path: string, { body, timeoutMillis }: KubeRequest): Promise<KubeAnswer> {
    const fate = this.#fates[0]?.() ?? PROMPT;
    // The network and the server go on while the process is frozen; only what it notices waits.
    const reply = this.#serve(fate, method, structuredClone(body));
    const timeout = this.#time.sleep(timeoutMillis).then((): KubeAnswer => {
      throw new KubeUnreachable('timed out', 'maybe');
    });
    return this.#awake(Promise.race([reply, timeout]));
  }

  stream(): Promise<never> {
    return Promise.reject(new Error('a lease is not watched'));
  }

  async #serve(fate: Fate, method: HttpMethod, body: unknown): Promise<KubeAnswer> {
    await this.#time.sleep(fate.there);
    if (fate.kind === 'lost-before') return await new Promise<never>(() => undefined);
    const reply = this.#store.handle(method, body);
    if (fate.kind === 'lost-after') return await new Promise<never>(() => undefined);
    await this.#time.sleep(fate.back);
    return reply;
  }

  async #awake<T>(work: Promise<T>): Promise<T> {
    const outcome = await work.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    while (this.#time.monotonicMillis() < this.#frozenUntil) {
      await this.#time.sleep(this.#frozenUntil - this.#time.monotonicMillis());
    }
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }
}

/** Moves from one due sleep to the next, so that nothing happens late, and checks after each. */
async function pass(time: VirtualTime, millis: number, check: () => void = () => undefined): Promise<void> {
  const end = time.monotonicMillis() + millis;
  for (let left = millis; left > 0; left = end - time.monotonicMillis()) {
    time.advance(Math.min(left, time.sleeps()[0] ?? left));
    await settled(1);
    check();
  }
}

const leaders = (processes: readonly Process[]): number => processes.filter((one) => one.election.isLeader()).length;

describe('two candidates', () => {
  it('elect the first, who keeps the lease by renewing it every two seconds', async () => {
    const time = new VirtualTime();
    const store = new LeaseStore();
    const [a, b] = [new Process('a', time, store), new Process('b', time, store)];
    await pass(time, 60_000);
    expect([a.election.isLeader(), b.election.isLeader()]).toEqual([true, false]);
    expect([a.acquired, a.lost, b.acquired]).toEqual([[1], [], []]);
    expect(b.election.holder()).toBe('a');
    expect(store.writes.length).toBeGreaterThan(28);
    expect(store.writes.length).toBeLessThan(32);
  });

  it('hand over at the next try when the leader stops, with a higher epoch', async () => {
    const time = new VirtualTime();
    const store = new LeaseStore();
    const [a, b] = [new Process('a', time, store), new Process('b', time, store)];
    await pass(time, 5_000);
    const stopped = a.election.stop();
    expect(a.election.isLeader()).toBe(false);
    await pass(time, 2_500);
    await stopped;
    expect(b.election.isLeader()).toBe(true);
    expect([a.lost, b.acquired]).toEqual([[1], [2]]);
    expect(b.election.epoch()).toBe(2);
  });

  it('hand over after the lease duration when the leader dies without a word', async () => {
    const time = new VirtualTime();
    const store = new LeaseStore();
    const [a, b] = [new Process('a', time, store), new Process('b', time, store)];
    await pass(time, 5_000);
    a.freeze(1_000_000);
    await pass(time, 11_000);
    expect(leaders([a, b])).toBe(0);
    await pass(time, 8_000);
    expect(b.election.isLeader()).toBe(true);
    // Frozen, it cannot have noticed; asked, it says no all the same.
    expect(a.lost).toEqual([]);
    expect(a.election.isLeader()).toBe(false);
  });

  it('do not shorten the term of the leader by deleting the object', async () => {
    const time = new VirtualTime();
    const store = new LeaseStore();
    const [a, b] = [new Process('a', time, store), new Process('b', time, store)];
    await pass(time, 5_000);
    a.freeze(9_000);
    store.object = undefined;
    await pass(time, 30_000, () => expect(leaders([a, b])).toBeLessThan(2));
    expect(leaders([a, b])).toBe(1);
    expect([...a.acquired, ...b.acquired].sort((one, other) => one - other)).toEqual([1, 2]);
  });
});

describe('a leader', () => {
  it('that cannot renew gives up after ten seconds, five before anyone else may take over', async () => {
    const time = new VirtualTime();
    const a = new Process('a', time, new LeaseStore());
    await pass(time, 4_000);
    a.setFate({ kind: 'lost-before', there: 5, back: 5 });
    await pass(time, 8_000);
    expect(a.election.isLeader()).toBe(true);
    await pass(time, 2_100);
    expect(a.election.isLeader()).toBe(false);
    await pass(time, 3_000);
    expect(a.lost).toEqual([1]);
    expect(a.problems.length).toBeGreaterThan(0);
    a.setFate(PROMPT);
    await pass(time, 3_000);
    expect(a.acquired).toEqual([1, 2]);
  });

  it('counts its term from when it sent a renewal, not from when it noticed the reply', async () => {
    const time = new VirtualTime();
    const store = new LeaseStore();
    const a = new Process('a', time, store);
    await pass(time, 4_000);
    a.setFate({ kind: 'served', there: 5, back: 2_900 });
    const before = store.writes.length;
    while (store.writes.length === before) await pass(time, 5);
    a.setFate({ kind: 'lost-before', there: 5, back: 5 });
    a.freeze(8_000);
    await pass(time, 9_900);
    expect(a.election.isLeader()).toBe(true);
    await pass(time, 200);
    expect(a.election.isLeader()).toBe(false);
  });

  it('keeps its term when another client edits the lease object', async () => {
    const time = new VirtualTime();
    const store = new LeaseStore();
    const a = new Process('a', time, store);
    await pass(time, 4_000);
    const edited = store.object as { metadata: Record<string, unknown> };
    edited.metadata['resourceVersion'] = '999';
    await pass(time, 6_000);
    expect([a.election.isLeader(), a.acquired, a.lost]).toEqual([true, [1], []]);
  });

  it('takes a lease it wrote without hearing back for its own, and never counts it from the reply', async () => {
    const time = new VirtualTime();
    const store = new LeaseStore();
    const a = new Process('a', time, store, () => ({ kind: 'lost-after', there: 5, back: 5 }));
    await pass(time, 8_000);
    expect(a.election.isLeader()).toBe(false);
    a.setFate(PROMPT);
    await pass(time, 6_000);
    expect(a.election.isLeader()).toBe(true);
  });

  it('whose callbacks throw goes on, and the failure is reported', async () => {
    const time = new VirtualTime();
    const problems: string[] = [];
    const store = new LeaseStore();
    const election = startLeaderElection({
      api: { request: (method, _path, { body }) => Promise.resolve(store.handle(method, body)), stream: neverStreams },
      clock: time,
      delays: time,
      namespace: 'gpuloom',
      name: 'gpuloom',
      identity: 'a',
      onAcquired: () => {
        throw new Error('not ready');
      },
      report: (message) => problems.push(message),
    });
    await pass(time, 6_000);
    expect(election.isLeader()).toBe(true);
    expect(problems).toEqual(['a leadership callback threw: not ready']);
  });
});

const neverStreams = (): Promise<never> => Promise.reject(new Error('a lease is not watched'));

it('refuses times that would let two leaders overlap', () => {
  const time = new VirtualTime();
  const api = { request: () => Promise.resolve(answer(500)), stream: neverStreams };
  const options = { api, clock: time, delays: time, namespace: 'gpuloom', name: 'gpuloom', identity: 'a' };
  expect(() => startLeaderElection({ ...options, times: { renewDeadlineMillis: 12_000 } })).toThrow(/two thirds/);
});

it('never shows two leaders at one moment, whatever is slow, lost or frozen, and elects one in the end', async () => {
  const delay = fc.constantFrom(1, 300, 1_400, 2_900);
  const fate: fc.Arbitrary<Fate> = fc.oneof(
    { weight: 6, arbitrary: fc.constant(PROMPT) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('served'), there: delay, back: delay }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'served', there: 20_000, back: 1 }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constantFrom('lost-before', 'lost-after'), there: delay, back: delay }),
    },
  );
  const turn = fc.record({
    millis: fc.integer({ min: 1, max: 12_000 }),
    freeze: fc.option(fc.record({ who: fc.nat({ max: 2 }), millis: fc.integer({ min: 1, max: 30_000 }) }), { freq: 2 }),
    fates: fc.array(fate, { minLength: 3, maxLength: 3 }),
    stop: fc.oneof({ weight: 40, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat({ max: 2 }) }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(turn, { minLength: 5, maxLength: 30, size: 'max' }), async (turns) => {
      const time = new VirtualTime();
      const store = new LeaseStore();
      const processes = ['a', 'b', 'c'].map((identity) => new Process(identity, time, store));
      const epochs = new Set<number>();
      const check = (): void => {
        expect(leaders(processes)).toBeLessThan(2);
      };
      for (const { millis, freeze, fates, stop } of turns) {
        processes.forEach((process, index) => process.setFate(fates[index] ?? PROMPT));
        if (freeze !== null) processes[freeze.who]?.freeze(freeze.millis);
        // The first one is never stopped, so that somebody can be elected in the end.
        if (stop !== null && stop > 0) void processes[stop]?.election.stop();
        await pass(time, millis, check);
      }
      for (const process of processes) process.setFate(PROMPT);
      await pass(time, 90_000, check);
      expect(leaders(processes)).toBe(1);
      for (const epoch of processes.flatMap((process) => process.acquired)) {
        expect(epochs.has(epoch)).toBe(false);
        epochs.add(epoch);
      }
      await Promise.all(processes.map(async (process) => [void process.election.stop(), await settled(1)]));
    }),
    { numRuns: 150, seed: 20_300_101 },
  );
});
