// Whatever is done to the objects, the connections and the history: once the server is left alone, what the reflector
// has delivered equals what the server has. Random schedules over real HTTP; the seed makes a failure repeatable.

import * as fc from 'fast-check';
import { expect, it, vi } from 'vitest';

import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { connectKube } from '../../extender/kube/client.ts';
import { systemDelays } from '../../extender/kube/delays.ts';
import { startReflector } from '../../extender/kube/reflector.ts';
import { RecordingFeed, slimObject } from '../support/recording-feed.ts';
import { settled } from '../support/virtual-time.ts';

type Step =
  | { readonly kind: 'create' | 'delete' | 'change' | 'finish'; readonly pod: number }
  | { readonly kind: 'cut' | 'end' | 'freeze' | 'compact' | 'relist' | 'let-through' }
  | { readonly kind: 'refuse'; readonly status: number; readonly verb: 'list' | 'watch' }
  | { readonly kind: 'drop'; readonly verb: 'list' | 'watch' };

const pod = fc.integer({ min: 0, max: 6 });
const verb = fc.constantFrom('list' as const, 'watch' as const);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('create', 'delete', 'change', 'finish'), pod }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('cut', 'end', 'freeze', 'compact', 'relist') }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('let-through') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('refuse'),
      status: fc.constantFrom(400, 410, 429, 500, 503, 504),
      verb,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop'), verb }) },
) as fc.Arbitrary<Step>;

function disturb(server: EmbeddedApiServer, one: Step): void {
  const { cluster, faults } = server;
  const name = 'pod' in one ? `pod-${one.pod}` : '';
  const exists = cluster.get('pods', 'default', name) !== undefined;
  switch (one.kind) {
    case 'create':
      if (!exists)
        cluster.create('pods', { metadata: { name }, spec: { containers: [{ name: 'main', image: 'none' }] } });
      return;
    case 'delete':
      if (exists) cluster.delete('pods', 'default', name, { gracePeriodSeconds: 0 });
      return;
    case 'change':
      if (exists) cluster.patch('pods', 'default', name, { metadata: { labels: { at: String(Math.random()) } } });
      return;
    case 'finish':
      if (exists) cluster.setPodPhase('default', name, 'Succeeded');
      return;
    case 'cut':
    case 'end':
      faults.closeWatches('pods', one.kind);
      return;
    case 'freeze':
      faults.freezeWatches('pods');
      return;
    case 'compact':
      faults.compactHistory();
      return;
    case 'refuse':
      faults.inject({ verb: one.verb }, { kind: 'answer', status: one.status }, 1);
      return;
    case 'drop':
      faults.inject({ verb: one.verb }, { kind: 'drop-after' }, 1);
      return;
    case 'relist':
    case 'let-through':
      return;
  }
}

const livePods = (server: EmbeddedApiServer): readonly string[] =>
  server.cluster
    .list('pods', 'default')
    .filter((object) => !JSON.stringify(object).includes('"phase":"Succeeded"'))
    .map((object) => `${object.metadata.uid}@${object.metadata.resourceVersion}`)
    .sort();

async function follow(steps: readonly Step[], pageSize: number): Promise<void> {
  const server = new EmbeddedApiServer({ bookmarkMillis: 5, historySize: 20 });
  const client = await connectKube({ kind: 'loopback', server: await server.listen() }, { version: 'test' });
  const feed = new RecordingFeed();
  const threw: string[] = [];
  const reflector = startReflector({
    api: client,
    path: '/api/v1/pods',
    query: { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' },
    project: slimObject,
    feed,
    clock: { wallMillis: () => 0, monotonicMillis: () => performance.now() },
    delays: systemDelays(),
    limits: { pageSize, inactivityMillis: 40, stableMillis: 5, backoff: { baseMillis: 1, capMillis: 4 } },
    report: ({ kind, message }) => {
      if (kind === 'feed-threw') threw.push(message);
    },
  });
  const delivered = (): readonly string[] =>
    [...feed.state.values()].map((item) => `${item.uid}@${item.version}`).sort();
  // Or not, when a fault is in the way: then the next step comes upon a reflector that is behind.
  const caughtUp = async (): Promise<void> => {
    const isBehind = (): boolean => server.openWatches === 0 || delivered().join() !== livePods(server).join();
    for (let round = 0; round < 200 && isBehind(); round++) await settled(1);
  };
  try {
    for (const one of steps) {
      disturb(server, one);
      if (one.kind === 'relist') void reflector.relist();
      if (one.kind === 'let-through') await caughtUp();
    }
    server.faults.clear();
    await vi.waitFor(
      () => {
        expect(delivered()).toEqual(livePods(server));
      },
      { interval: 1, timeout: 5_000 },
    );
    // The feed itself throws when something is removed that it was never given.
    expect(threw).toEqual([]);
  } finally {
    await reflector.stop();
    await client.close();
    await server.close();
  }
}

it('the delivered state equals the state of the server after any operations, disconnects and compactions', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), fc.integer({ min: 1, max: 4 }), follow),
    {
      numRuns: 80,
      seed: 20_300_101,
    },
  );
});
