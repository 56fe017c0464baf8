// Whatever happens to the cluster, the history and the connections, a client that lists and watches ends up
// with exactly the selected objects of the store.

import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { ApiConnection, at, listAt } from '../support/api-connection.ts';
import type { WatchReader } from '../support/api-connection.ts';

const PODS = '/api/v1/pods';
/** Unbound pods: a Binding makes an object leave the selection. */
const SELECTED = 'fieldSelector=spec.nodeName%3D';
const LAST = 'zz-last';

interface PodStep {
  readonly kind: 'create' | 'label' | 'bind' | 'remove';
  readonly pod: number;
  readonly value: number;
}

interface ServerStep {
  /** `outage`: the connection is lost, and what is missed meanwhile is compacted away. */
  readonly kind: 'compact' | 'cut' | 'end' | 'outage' | 'breathe';
}

type Step = PodStep | ServerStep;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('create', 'create', 'label', 'label', 'bind', 'remove'),
      pod: fc.nat({ max: 7 }),
      value: fc.nat({ max: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('compact', 'cut', 'end', 'outage') }) },
  { weight: 6, arbitrary: fc.constant({ kind: 'breathe' }) },
);

let server: EmbeddedApiServer;
let api: ApiConnection;
let round = 0;

beforeAll(async () => {
  server = new EmbeddedApiServer({ historySize: 12 });
  api = new ApiConnection(await server.listen(), fetch);
});

afterAll(async () => {
  await server.close();
});

/** Object versions by key, maintained by list and watch until the object called LAST shows up. */
class Follower {
  readonly view = new Map<string, string>();
  #version = '';

  async run(): Promise<void> {
    while (!this.#complete()) {
      await this.#list();
      let fresh = true;
      while (fresh && !this.#complete()) fresh = await this.#watch();
    }
  }

  #complete(): boolean {
    return [...this.view.keys()].some((key) => key.endsWith(`/${LAST}`));
  }

  async #list(): Promise<void> {
    this.view.clear();
    let token = '';
    do {
      const { status, body } = await api.get(`${PODS}?${SELECTED}&limit=1&continue=${token}`);
      if (status === 410) {
        this.view.clear();
        token = '';
        continue;
      }
      for (const item of listAt(body, 'items')) this.#set(item);
      this.#version = String(at(body, 'metadata.resourceVersion'));
      const next = at(body, 'metadata.continue');
      token = typeof next === 'string' ? next : '';
    } while (token !== '' || this.#version === '');
  }

  /** False when a new list is needed. */
  async #watch(): Promise<boolean> {
    const reader = await api.watch(`${PODS}?watch=true&${SELECTED}&resourceVersion=${this.#version}`);
    try {
      return await this.#consume(reader);
    } catch (error) {
      if (!(error instanceof TypeError && error.message === 'terminated')) throw error;
      return true;
    } finally {
      reader.close();
    }
  }

  async #consume(reader: WatchReader): Promise<boolean> {
    while (!this.#complete()) {
      const event = await reader.next();
      if (event === undefined) return true;
      if (event.type === 'ERROR') return false;
      this.#version = String(at(event.object, 'metadata.resourceVersion'));
      const known = this.view.has(keyOf(event.object));
      expect({ type: event.type, known }).toEqual({ type: event.type, known: event.type !== 'ADDED' });
      if (event.type === 'DELETED') this.view.delete(keyOf(event.object));
      else this.#set(event.object);
    }
    return true;
  }

  #set(object: unknown): void {
    this.view.set(keyOf(object), String(at(object, 'metadata.resourceVersion')));
  }
}

function keyOf(object: unknown): string {
  return `${String(at(object, 'metadata.namespace'))}/${String(at(object, 'metadata.name'))}`;
}

async function disturb({ kind }: ServerStep): Promise<void> {
  if (kind === 'breathe') await api.get('/healthz');
  if (kind === 'cut' || kind === 'outage') server.faults.closeWatches('pods', 'cut');
  if (kind === 'end') server.faults.closeWatches('pods', 'end');
  if (kind === 'outage') server.cluster.create('configmaps', { metadata: { generateName: 'missed-' } });
  if (kind === 'compact' || kind === 'outage') server.faults.compactHistory();
}

function change(namespace: string, { kind, pod: index, value }: PodStep): void {
  const { cluster } = server;
  const name = `p${index}`;
  const pod = cluster.get('pods', namespace, name);
  if (pod === undefined) {
    if (kind === 'create') cluster.create('pods', { metadata: { name, namespace }, spec: {} });
  } else if (kind === 'remove') {
    cluster.delete('pods', namespace, name, { gracePeriodSeconds: 0 });
  } else if (kind === 'label') {
    cluster.patch('pods', namespace, name, { metadata: { labels: { value: String(value) } } });
  } else if (kind === 'bind' && pod.spec?.['nodeName'] === undefined) {
    cluster.pods.bind(namespace, name, { metadata: { name }, target: { name: `n${value}` } });
  }
}

test('a view built from list and watch equals the store after any history', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 120 }), async (steps) => {
      const namespace = `round-${round++}`;
      const follower = new Follower();
      const following = follower.run();
      for (const step of steps) {
        if ('pod' in step) change(namespace, step);
        else await disturb(step);
      }
      server.cluster.create('pods', { metadata: { name: LAST, namespace }, spec: {} });
      await following;
      const unbound = server.cluster.list('pods').filter((pod) => pod.spec?.['nodeName'] === undefined);
      const expected = unbound.map((pod) => [keyOf(pod), pod.metadata.resourceVersion] as const);
      expect(Object.fromEntries(follower.view)).toEqual(Object.fromEntries(expected));
      for (const pod of server.cluster.list('pods')) {
        server.cluster.delete('pods', namespace, pod.metadata.name, { gracePeriodSeconds: 0 });
      }
    }),
    { seed: 20_301, numRuns: 80 },
  );
});
