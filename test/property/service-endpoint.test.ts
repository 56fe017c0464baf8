// Two replicas that publish themselves, under leads that move at any time, foreign writes, and requests that are slow or
// lost before or after they were committed. One virtual clock; exact repetition by seed.

import * as fc from 'fast-check';
import { expect, it } from 'vitest';

import { ApiError } from '../../extender/embedded/api-error.ts';
import { EmbeddedCluster } from '../../extender/embedded/cluster.ts';
import { KubeUnreachable } from '../../extender/kube/kube-api.ts';
import type { HttpMethod, KubeAnswer, KubeApi, KubeRequest } from '../../extender/kube/kube-api.ts';
import { startServiceEndpoint } from '../../extender/kube/service-endpoint.ts';
import type { ServiceEndpoint } from '../../extender/kube/service-endpoint.ts';
import { at, listAt } from '../support/api-connection.ts';
import { settled, VirtualTime } from '../support/virtual-time.ts';

const REF = { resource: 'endpoints', namespace: 'gpuloom-system', name: 'gpuloom-extender' } as const;
const CHECK_MILLIS = 10_000;
const TIMEOUT_MILLIS = 3_000;

type Ip = '10.0.0.1' | '10.0.0.2';
const REPLICAS: readonly Ip[] = ['10.0.0.1', '10.0.0.2'];

type Fate = { readonly kind: 'served' | 'lost-before' | 'lost-after'; readonly there: number; readonly back: number };
const PROMPT: Fate = { kind: 'served', there: 5, back: 5 };

type Step =
  | { readonly kind: 'lead'; readonly who: Ip | undefined }
  | { readonly kind: 'foreign'; readonly ips: readonly string[] }
  | { readonly kind: 'delete' }
  | { readonly kind: 'pass'; readonly millis: number };

class World {
  readonly time = new VirtualTime();
  readonly cluster = new EmbeddedCluster();
  readonly faults: string[] = [];
  readonly endpoints: ReadonlyMap<Ip, ServiceEndpoint>;
  leader: Ip | undefined;
  #fates: Fate[];

  constructor(fates: readonly Fate[]) {
    this.#fates = [...fates];
    this.endpoints = new Map(REPLICAS.map((ip) => [ip, this.#start(ip)]));
  }

  addresses(): readonly unknown[] {
    const object = this.cluster.get(REF.resource, REF.namespace, REF.name);
    return listAt(object, 'subsets').flatMap((subset) => listAt(subset, 'addresses').map((one) => at(one, 'ip')));
  }

  take(step: Step): void {
    const { namespace, name } = REF;
    const exists = this.cluster.get(REF.resource, namespace, name) !== undefined;
    if (step.kind === 'lead') {
      this.leader = step.who;
      if (step.who !== undefined) this.endpoints.get(step.who)?.wake();
    } else if (step.kind === 'foreign') {
      const subsets = [{ addresses: step.ips.map((ip) => ({ ip })), ports: [{ name: 'verbs', port: 1 }] }];
      this.cluster.update(REF.resource, { metadata: { namespace, name }, subsets });
    } else if (step.kind === 'delete' && exists) this.cluster.delete(REF.resource, namespace, name);
  }

  /** Moves from one due sleep to the next, so that nothing happens late. */
  async pass(millis: number): Promise<void> {
    const end = this.time.monotonicMillis() + millis;
    await settled(1);
    for (let left = millis; left > 0; left = end - this.time.monotonicMillis()) {
      this.time.advance(Math.min(left, this.time.sleeps()[0] ?? left));
      await settled(1);
    }
  }

  calm(): void {
    this.#fates = [];
  }

  #start(ip: Ip): ServiceEndpoint {
    const api: KubeApi = {
      request: (method, _path, request) => this.#exchange(ip, method, request),
      stream: () => Promise.reject(new Error('an endpoint is not watched')),
    };
    return startServiceEndpoint({
      api,
      delays: this.time,
      namespace: REF.namespace,
      service: REF.name,
      address: { ip, port: 12_345 },
      mayPublish: () => this.leader === ip,
    });
  }

  #exchange(ip: Ip, method: HttpMethod, { body, timeoutMillis }: KubeRequest): Promise<KubeAnswer> {
    const fate = this.#fates.shift() ?? PROMPT;
    const timeout = this.time.sleep(timeoutMillis).then((): KubeAnswer => {
      throw new KubeUnreachable('timed out', 'maybe');
    });
    return Promise.race([this.#serve(ip, fate, method, structuredClone(body)), timeout]);
  }

  async #serve(ip: Ip, fate: Fate, method: HttpMethod, body: unknown): Promise<KubeAnswer> {
    await this.time.sleep(fate.there);
    if (fate.kind === 'lost-before') return await new Promise<never>(() => undefined);
    const answer = this.#commit(ip, method, body);
    if (fate.kind === 'lost-after') return await new Promise<never>(() => undefined);
    await this.time.sleep(fate.back);
    return answer;
  }

  #commit(ip: Ip, method: HttpMethod, body: unknown): KubeAnswer {
    const before = this.addresses();
    const { registry } = this.cluster;
    try {
      if (method === 'GET') return { status: 200, headers: {}, body: registry.get(REF).object };
      const stored =
        method === 'POST'
          ? registry.create(REF.resource, REF.namespace, body, 'client')
          : registry.update(REF, 'main', body).stored;
      const undone = ip !== this.leader && this.leader !== undefined && before.includes(this.leader);
      if (undone) this.faults.push(`${ip} replaced the leader ${before.join()} by ${this.addresses().join()}`);
      return { status: 200, headers: {}, body: stored.object };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { status: error.status.code, headers: {}, body: error.status };
    }
  }
}

const ip = fc.constantFrom<Ip>(...REPLICAS);
const step = fc.oneof<fc.Arbitrary<Step>[]>(
  fc.record({ kind: fc.constant('lead'), who: fc.option(ip, { nil: undefined, freq: 4 }) }),
  fc.record({ kind: fc.constant('foreign'), ips: fc.array(fc.constantFrom('10.0.0.9', '10.0.0.8'), { maxLength: 2 }) }),
  fc.record({ kind: fc.constant('delete') }),
  fc.record({ kind: fc.constant('pass'), millis: fc.constantFrom(8, 200, 400, 4_000, 12_000) }),
);
const fate = fc.record({
  kind: fc.constantFrom('served', 'served', 'served', 'lost-before', 'lost-after'),
  there: fc.constantFrom(1, 5, 300, 2_000, 6_000),
  back: fc.constantFrom(1, 5, 300, 6_000),
});

it('no replica undoes the leader, and one check after calm the leader is the only endpoint until it ends', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 30, size: 'max' }),
      fc.array(fate, { maxLength: 30, size: 'max' }),
      ip,
      async (steps, fates, last) => {
        const world = new World(fates);
        for (const one of steps) {
          world.take(one);
          await world.pass(one.kind === 'pass' ? one.millis : 1);
        }
        world.take({ kind: 'lead', who: last });
        world.calm();
        // A request that is under way may still take its full time, and a retry its longest wait.
        await world.pass(2 * CHECK_MILLIS + 2 * TIMEOUT_MILLIS);
        expect(world.addresses()).toEqual([last]);
        world.take({ kind: 'foreign', ips: ['10.0.0.9'] });
        await world.pass(CHECK_MILLIS + 50);
        expect(world.addresses()).toEqual([last]);
        const stopped = Promise.all([...world.endpoints.values()].map((endpoint) => endpoint.stop()));
        await world.pass(1_000);
        await stopped;
        expect(world.addresses()).toEqual([]);
        expect(world.faults).toEqual([]);
      },
    ),
    { seed: 20_250_117, numRuns: 300 },
  );
});
