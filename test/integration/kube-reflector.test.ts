// The reflector over real HTTP against the embedded API server with injected faults, on a virtual clock.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { connectKube } from '../../extender/kube/client.ts';
import type { KubeClient } from '../../extender/kube/client.ts';
import type { Reflector, ReflectorLimits, ReflectorProblem } from '../../extender/kube/reflector-options.ts';
import { startReflector } from '../../extender/kube/reflector.ts';
import { RecordingFeed, slimObject } from '../support/recording-feed.ts';
import type { SlimObject } from '../support/recording-feed.ts';
import { VirtualTime } from '../support/virtual-time.ts';

let server: EmbeddedApiServer;
let client: KubeClient;
let time: VirtualTime;
let feed: RecordingFeed;
let problems: ReflectorProblem[];
let drifts: number[];
let reflector: Reflector | undefined;

beforeEach(async () => {
  server = new EmbeddedApiServer({ bookmarkMillis: 3_600_000 });
  client = await connectKube({ kind: 'loopback', server: await server.listen() }, { version: 'test' });
  time = new VirtualTime();
  feed = new RecordingFeed();
  problems = [];
  drifts = [];
});

afterEach(async () => {
  await reflector?.stop();
  reflector = undefined;
  await client.close();
  await server.close();
});

function start(
  limits: Partial<ReflectorLimits> = {},
  project: (raw: unknown) => SlimObject | undefined = slimObject,
): Reflector {
  reflector = startReflector({
    api: client,
    path: '/api/v1/pods',
    query: { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' },
    project,
    feed,
    clock: time,
    delays: time,
    limits,
    report: (problem) => problems.push(problem),
    onDrift: (differences) => drifts.push(differences),
  });
  return reflector;
}

async function until(condition: () => boolean, what: string): Promise<void> {
  await vi.waitFor(
    () => {
      if (!condition())
        throw new Error(`${what}; problems: ${JSON.stringify(problems)}; sleeps: ${time.sleeps().join()}`);
    },
    { interval: 2, timeout: 5_000 },
  );
}

const watching = (): Promise<void> => until(() => server.openWatches === 1, 'no open watch');
/** Nothing is under way but a pause of this length; the guard of an open watch would be another sleep. */
const pausing = (millis: number): Promise<void> =>
  until(() => time.sleeps().join() === String(millis), `no pause of ${millis} ms`);
const kinds = (): readonly string[] => problems.map((problem) => problem.kind);
const requests = (verb: 'list' | 'watch'): number => server.requests.count(verb, 'pods');

function createPods(...names: readonly string[]): void {
  for (const name of names) server.cluster.create('pods', podNamed(name));
}

function podNamed(name: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: { containers: [{ name: 'main', image: 'none' }] },
  };
}

const label = (name: string, value: string): void => {
  server.cluster.patch('pods', 'default', name, { metadata: { labels: { value } } });
};

describe('a list', () => {
  it('is read in pages and delivered once, when it is complete', async () => {
    createPods(...Array.from({ length: 23 }, (_, index) => `pod-${index}`));
    start({ pageSize: 5 });
    await watching();
    expect(feed.calls).toEqual(['replace 23']);
    expect(requests('list')).toBe(5);
    expect(reflector?.status()).toMatchObject({ synced: true, objects: 23, relists: 0, restarts: 0 });
  });

  it('starts again when its continue token expires between two pages, and delivers nothing of the first try', async () => {
    createPods('a', 'b', 'c');
    let pages = 0;
    start({ pageSize: 1 }, (raw) => {
      pages += 1;
      // The snapshot that the pages are read from is compacted while the second page is being read.
      if (pages === 2) server.faults.inject({ verb: 'list' }, { kind: 'answer', status: 410, reason: 'Expired' }, 1);
      return slimObject(raw);
    });
    await watching();
    expect(feed.calls).toEqual(['replace 3']);
    expect(kinds()).toEqual(['expired']);
    // Two pages, one refusal, then a page large enough for all.
    expect(requests('list')).toBe(4);
  });

  it.each([
    { status: 429, retryAfterSeconds: 7, waits: 7_000 },
    { status: 503, retryAfterSeconds: 30, waits: 30_000 },
    { status: 500, retryAfterSeconds: undefined, waits: 125 },
  ])('answered with $status is repeated after $waits ms, no earlier', async ({ status, retryAfterSeconds, waits }) => {
    const after = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    server.faults.inject({ verb: 'list' }, { kind: 'answer', status, ...after }, 1);
    start();
    await until(() => time.sleeps().length === 1, 'no backoff');
    expect(time.sleeps()).toEqual([waits]);
    time.advance(waits - 1);
    expect(requests('list')).toBe(1);
    expect(reflector?.status().synced).toBe(false);
    time.advance(1);
    await watching();
    expect(reflector?.status()).toMatchObject({ synced: true });
    expect(problems[0]?.message).toContain(String(status));
  });

  it('backs off exponentially up to the cap while the server is down, and never gives up', async () => {
    server.faults.inject({ verb: 'list' }, { kind: 'drop-before' }, 12);
    start();
    const waits: number[] = [];
    for (let failure = 1; failure <= 12; failure++) {
      await until(() => time.sleeps().length === 1 && requests('list') === failure, 'no backoff');
      waits.push(time.sleeps()[0] ?? 0);
      time.advance(waits.at(-1) ?? 0);
    }
    await watching();
    expect(waits.slice(0, 4)).toEqual([125, 250, 500, 1_000]);
    expect(waits.slice(-3)).toEqual([15_000, 15_000, 15_000]);
  });
});

describe('a watch', () => {
  it('delivers changes in the order in which they happened', async () => {
    createPods('a');
    start();
    await watching();
    createPods('b');
    label('a', '1');
    server.cluster.delete('pods', 'default', 'b', { gracePeriodSeconds: 0 });
    label('a', '2');
    createPods('b');
    await until(() => feed.calls.length === 6, 'events missing');
    expect(feed.calls).toEqual(['replace 1', 'upsert b', 'upsert a', 'remove b', 'upsert a', 'upsert b']);
    expect(feed.names()).toEqual(['a', 'b']);
  });

  it('delivers a pod that ends as a removal', async () => {
    createPods('a', 'b');
    start();
    await watching();
    server.cluster.setPodPhase('default', 'a', 'Succeeded');
    await until(() => feed.names().join() === 'b', 'the pod is still there');
  });

  it('asks for bookmarks and for an end after 290 s, give or take a tenth', async () => {
    start();
    await watching();
    const stream = vi.fn(client.stream.bind(client));
    await reflector?.stop();
    reflector = startReflector({
      api: { ...client, stream },
      path: '/api/v1/pods',
      project: slimObject,
      feed,
      clock: time,
      delays: new VirtualTime(() => 0.999_999),
    });
    await until(() => stream.mock.calls.length === 1, 'no watch');
    expect(stream.mock.calls[0]?.[1]).toMatchObject({ watch: true, allowWatchBookmarks: true, timeoutSeconds: 319 });
  });

  it('goes on from the last version after an orderly end, without a new list and without a pause', async () => {
    createPods('a');
    start();
    await watching();
    time.advance(20_000);
    server.faults.closeWatches('pods', 'end');
    createPods('b');
    await until(() => feed.names().join() === 'a,b', 'b is missing');
    expect(feed.calls).toEqual(['replace 1', 'upsert b']);
    expect(reflector?.status()).toMatchObject({ relists: 0, restarts: 1 });
    expect(time.sleeps().every((left) => left > 100_000)).toBe(true);
  });

  it('that is cut again and again soon after it opened is reopened ever more slowly', async () => {
    start();
    for (const expected of [125, 250, 500, 1_000]) {
      await watching();
      server.faults.closeWatches('pods', 'cut');
      await pausing(expected);
      time.advance(expected);
    }
    await watching();
    time.advance(10_000);
    server.faults.closeWatches('pods', 'cut');
    await until(() => requests('watch') === 6, 'a stream that was stable is not reopened at once');
  });

  it.each(['error-event', 'http-status'] as const)(
    'from a forgotten version (told by %s) leads to a list that removes what vanished meanwhile',
    async (expiredWatch) => {
      await client.close();
      await server.close();
      server = new EmbeddedApiServer({ bookmarkMillis: 3_600_000, expiredWatch });
      client = await connectKube({ kind: 'loopback', server: await server.listen() }, { version: 'test' });
      createPods('stays', 'goes', 'returns');
      start();
      await watching();
      server.faults.closeWatches('pods', 'cut');
      await pausing(125);
      server.cluster.delete('pods', 'default', 'goes', { gracePeriodSeconds: 0 });
      server.cluster.delete('pods', 'default', 'returns', { gracePeriodSeconds: 0 });
      createPods('returns', 'new');
      server.faults.compactHistory();
      time.advance(125);
      await pausing(250);
      time.advance(250);
      await until(() => feed.names().join() === 'new,returns,stays', 'not relisted');
      expect(feed.calls).toEqual(['replace 3', 'replace 3']);
      expect(kinds()).toContain('expired');
      // One gone, one new, one that came back as another object.
      expect(drifts).toEqual([3]);
      expect(reflector?.status().relists).toBe(1);
    },
  );

  it('that falls silent is reopened from the last version after the inactivity limit, and the staleness shows', async () => {
    createPods('a');
    start();
    await watching();
    const contact = reflector?.status().lastContactMonotonicMillis ?? 0;
    server.faults.freezeWatches('pods');
    createPods('b');
    time.advance(134_999);
    expect(reflector?.status()).toMatchObject({ synced: true, lastContactMonotonicMillis: contact });
    expect(requests('watch')).toBe(1);
    time.advance(1);
    await until(() => feed.names().join() === 'a,b', 'b is missing');
    expect(kinds()).toEqual(['watch-silent']);
    expect(reflector?.status().lastContactMonotonicMillis).toBe(contact + 135_000);
    expect(requests('list')).toBe(1);
  });

  it('that stays silent twice is not believed any more: a list follows', async () => {
    start();
    await watching();
    server.faults.inject({ verb: 'watch' }, { kind: 'freeze' }, 1);
    server.faults.freezeWatches('pods');
    time.advance(135_000);
    await until(() => requests('watch') === 2 && server.openWatches === 1, 'not reopened');
    createPods('b');
    time.advance(135_000);
    await until(() => feed.names().join() === 'b', 'b is missing');
    expect(requests('list')).toBe(2);
  });

  it('refused for a reason that does not pass leads to a fresh list after five tries', async () => {
    server.faults.inject({ verb: 'watch' }, { kind: 'answer', status: 400, message: 'invalid version' }, 5);
    start();
    for (const expected of [125, 250, 500, 1_000, 2_000]) {
      await pausing(expected);
      expect(requests('list')).toBe(1);
      time.advance(expected);
    }
    await watching();
    expect(requests('list')).toBe(2);
  });
});

describe('what the feed and the projection do', () => {
  it('a feed that throws on one object is reported with its key and changes nothing for the others', async () => {
    start();
    await watching();
    feed.before = (call) => {
      if (call === 'upsert bad') throw new Error('ledger refused');
    };
    createPods('bad', 'good');
    await until(() => feed.names().join() === 'good', 'good is missing');
    expect(problems).toEqual([
      { kind: 'feed-threw', path: '/api/v1/pods', message: 'ledger refused', key: 'default/bad' },
    ]);
    expect(reflector?.status()).toMatchObject({ feedErrors: 1, synced: true });
  });

  it('a feed that cannot take the list is not synced, and is asked again after a pause', async () => {
    createPods('a');
    let refusals = 2;
    feed.before = () => {
      if (refusals-- > 0) throw new Error('not now');
    };
    start();
    for (const expected of [125, 250]) {
      await pausing(expected);
      expect(reflector?.status().synced).toBe(false);
      time.advance(expected);
    }
    await watching();
    expect(reflector?.status()).toMatchObject({ synced: true, feedErrors: 2 });
  });

  it('an object the projection no longer wants is removed', async () => {
    createPods('a');
    start({}, (raw) => (JSON.stringify(raw).includes('unwanted') ? undefined : slimObject(raw)));
    await watching();
    label('a', 'unwanted');
    await until(() => feed.calls.at(-1) === 'remove a', 'a is still there');
    label('a', 'wanted');
    await until(() => feed.calls.at(-1) === 'upsert a', 'a did not come back');
  });

  it('an object the projection cannot read keeps its last good record', async () => {
    createPods('a');
    start({}, (raw) => {
      if (JSON.stringify(raw).includes('poison')) throw new Error('cannot read');
      return slimObject(raw);
    });
    await watching();
    label('a', 'poison');
    createPods('b');
    await until(() => feed.names().join() === 'a,b', 'b is missing');
    expect(problems[0]).toMatchObject({ kind: 'projection-threw', key: 'default/a' });
    expect(await reflector?.relist()).toBe(true);
    expect(feed.names()).toEqual(['a', 'b']);
  });
});

describe('a relist on demand', () => {
  it('resolves when a list that began after the call has been delivered, and finds no drift at rest', async () => {
    createPods('a');
    start();
    await watching();
    createPods('b');
    await until(() => feed.names().join() === 'a,b', 'b is missing');
    expect(await reflector?.relist()).toBe(true);
    expect(feed.calls).toEqual(['replace 1', 'upsert b', 'replace 2']);
    expect(drifts).toEqual([0]);
    await watching();
  });

  it('asked for while a list is under way waits for the next one', async () => {
    let release: (value: unknown) => void = () => undefined;
    const held = new Promise((resolve) => (release = resolve));
    server.faults.inject({ verb: 'list' }, { kind: 'delay-after', until: held }, 1);
    start();
    await until(() => requests('list') === 1, 'no list');
    const relisted = reflector?.relist();
    release(undefined);
    expect(await relisted).toBe(true);
    expect(requests('list')).toBe(2);
  });

  it('survives failing lists, with pauses between them, and resolves false when the reflector is stopped', async () => {
    start();
    await watching();
    server.faults.inject({ verb: 'list' }, { kind: 'answer', status: 500 }, 2);
    const relisted = reflector?.relist();
    await pausing(125);
    time.advance(125);
    await pausing(250);
    time.advance(250);
    expect(await relisted).toBe(true);
    server.faults.inject({ verb: 'list' }, { kind: 'freeze' });
    const never = reflector?.relist();
    await until(() => requests('list') === 5, 'no list');
    await reflector?.stop();
    expect(await never).toBe(false);
    expect(await reflector?.relist()).toBe(false);
  });
});

it('counts no drift for changes that the watch announced, and all for changes it kept back', async () => {
  createPods('a', 'b');
  start();
  await watching();
  server.faults.freezeWatches('pods');
  label('a', 'changed');
  server.cluster.delete('pods', 'default', 'b', { gracePeriodSeconds: 0 });
  await reflector?.relist();
  await reflector?.relist();
  expect(drifts).toEqual([2, 0]);
});
