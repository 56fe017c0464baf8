// Leader election and the feeds against the embedded API server: the parts that only a server can judge.

import { afterEach, beforeEach, expect, it, vi } from 'vitest';

import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { connectKube } from '../../extender/kube/client.ts';
import type { KubeClient } from '../../extender/kube/client.ts';
import { startConfigMapFeed, startNodeFeed, startPodFeed } from '../../extender/kube/feeds.ts';
import { startLeaderElection } from '../../extender/kube/lease.ts';
import type { LeaderElection } from '../../extender/kube/lease.ts';
import { VirtualTime } from '../support/virtual-time.ts';

let server: EmbeddedApiServer;
let client: KubeClient;
let time: VirtualTime;

beforeEach(async () => {
  server = new EmbeddedApiServer();
  client = await connectKube({ kind: 'loopback', server: await server.listen() }, { version: 'test' });
  time = new VirtualTime();
});

afterEach(async () => {
  await client.close();
  await server.close();
});

it('the lease is created, renewed and given back in a form that the server accepts', async () => {
  const problems: string[] = [];
  const elect = (identity: string): LeaderElection =>
    startLeaderElection({
      api: client,
      clock: time,
      delays: time,
      namespace: 'gpuloom',
      name: 'gpuloom-extender',
      identity,
      report: (message) => problems.push(message),
    });
  const spec = (): unknown => server.cluster.get('leases', 'gpuloom', 'gpuloom-extender')?.['spec'];
  const sleeping = (count: number) => vi.waitFor(() => expect(time.sleeps()).toHaveLength(count), { interval: 2 });
  const first = elect('first');
  await sleeping(1);
  expect(first.isLeader()).toBe(true);
  expect(spec()).toEqual({
    holderIdentity: 'first',
    leaseDurationSeconds: 15,
    acquireTime: '2030-01-01T00:16:40.000000Z',
    renewTime: '2030-01-01T00:16:40.000000Z',
    leaseTransitions: 1,
  });
  time.advance(2_000);
  await sleeping(1);
  expect(spec()).toMatchObject({ renewTime: '2030-01-01T00:16:42.000000Z', leaseTransitions: 1 });
  const second = elect('second');
  await sleeping(2);
  expect([second.isLeader(), second.holder()]).toEqual([false, 'first']);
  await first.stop();
  expect(spec()).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 });
  time.advance(2_200);
  await sleeping(1);
  expect(second.isLeader()).toBe(true);
  expect(spec()).toMatchObject({ holderIdentity: 'second', leaseDurationSeconds: 15, leaseTransitions: 2 });
  await second.stop();
  expect(problems).toEqual([]);
});

it('the feeds follow running pods, all nodes, and the ConfigMaps with the wanted prefix only', async () => {
  const seen = { pods: new Set<string>(), nodes: new Set<string>(), maps: new Set<string>() };
  const into = (set: Set<string>) => ({
    replace: (items: readonly string[]) => {
      set.clear();
      for (const item of items) set.add(item);
    },
    upsert: (item: string) => void set.add(item),
    remove: (item: string) => void set.delete(item),
  });
  const project = (manifest: { readonly metadata?: { readonly name?: string } }): string =>
    manifest.metadata?.name ?? '';
  const shared = { api: client, clock: time, delays: time, project };
  const { cluster } = server;
  for (const name of ['runs', 'ends']) {
    cluster.create('pods', { metadata: { name }, spec: { containers: [{ name: 'main', image: 'none' }] } });
  }
  cluster.create('nodes', { metadata: { name: 'node-1' } });
  for (const name of ['unhealthy-gpu-node-1', 'other']) {
    cluster.create('configmaps', { metadata: { name, namespace: 'kube-system' }, data: {} });
  }
  const reflectors = [
    startPodFeed({ ...shared, feed: into(seen.pods) }),
    startNodeFeed({ ...shared, feed: into(seen.nodes) }),
    startConfigMapFeed({ ...shared, feed: into(seen.maps), namespace: 'kube-system', namePrefix: 'unhealthy-gpu-' }),
  ];
  await vi.waitFor(() => expect(server.openWatches).toBe(3), { interval: 2 });
  cluster.setPodPhase('default', 'ends', 'Failed');
  cluster.create('nodes', { metadata: { name: 'node-2' } });
  await vi.waitFor(
    () =>
      expect([[...seen.pods], [...seen.nodes], [...seen.maps]]).toEqual([
        ['runs'],
        ['node-1', 'node-2'],
        ['unhealthy-gpu-node-1'],
      ]),
    { interval: 2 },
  );
  await Promise.all(reflectors.map((reflector) => reflector.stop()));
});
