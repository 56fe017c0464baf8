import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeClaim } from '../../extender/core/allocation-codec.ts';
import { drift } from '../../extender/core/drift.ts';
import { podRecord } from '../../extender/core/records.ts';
import { TestCluster } from '../support/application.ts';
import type { ApiModel, Fate } from '../support/api-model.ts';
import { gpusOf, type NodeSketch } from '../support/builders.ts';

const SLICES = 16;
const NODES: readonly NodeSketch[] = ['n', 'm'].map((name) => ({ name, gpus: gpusOf(2, SLICES) }));
const PODS = ['a', 'b', 'c', 'd', 'e'];

const fate = fc.constantFrom<Fate>('ok', 'ok', 'ok', 'lost reply', 'lost request', 'late', 'forbidden');
const podName = fc.constantFrom(...PODS);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('bind' as const), pod: podName, node: fc.constantFrom('n', 'm') }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), pod: podName }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('watch' as const), pod: podName }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('commit late' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait and sweep' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose node' as const), node: fc.constantFrom('n', 'm') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Slices on each GPU by what the API server holds: specs for amounts, annotations for places. */
function usage(api: ApiModel): Map<string, number> {
  const used = new Map<string, number>();
  for (const manifest of api.pods()) {
    if (manifest.spec?.nodeName === undefined) continue;
    const claim = decodeClaim(manifest.metadata?.annotations ?? {});
    const slices = Number(manifest.spec.containers?.[0]?.resources?.limits?.['gpuloom.io/gpu-mem'] ?? 0);
    for (const { uuid } of claim.kind === 'gpus' ? claim.gpus : []) used.set(uuid, (used.get(uuid) ?? 0) + slices);
  }
  return used;
}

class Run {
  cluster = new TestCluster(NODES);
  readonly #scheduler: fc.Scheduler;
  readonly #fates: readonly Fate[];
  #serial = 0;
  #fateAt = 0;
  readonly answers: Promise<string>[] = [];

  constructor(scheduler: fc.Scheduler, fates: readonly Fate[]) {
    this.#scheduler = scheduler;
    this.#fates = fates;
    this.#wire();
    PODS.forEach((name, at) => this.#create(name, at));
  }

  #wire(): void {
    this.cluster.api.nextFate = () => this.#fates[this.#fateAt++ % this.#fates.length] ?? 'ok';
    this.cluster.api.turn = (label) => this.#scheduler.schedule(Promise.resolve(), label);
  }

  #create(name: string, at: number): void {
    this.#serial++;
    this.cluster.create({ name, uid: `${name}-${this.#serial}`, slices: 5 + at * 2 });
  }

  step(each: Step): void {
    const { cluster } = this;
    switch (each.do) {
      case 'bind': {
        const uid = cluster.api.pod('default', each.pod)?.metadata?.uid ?? '';
        this.answers.push(cluster.bind(each.pod, each.node, uid));
        return;
      }
      case 'delete':
        cluster.delete('default', each.pod);
        this.#create(each.pod, PODS.indexOf(each.pod));
        return;
      case 'watch':
        cluster.show('default', each.pod);
        return;
      case 'commit late':
        cluster.api.commitLate();
        return;
      case 'wait and sweep':
        // The API server's own request limit is shorter than the hold: nothing commits after it.
        cluster.api.commitLate();
        cluster.nowMillis += 100_000;
        this.answers.push(cluster.app.sweep().then(String));
        return;
      case 'lose node': {
        const lost = cluster.app.engine.ledger.node(each.node);
        cluster.app.feeds.nodes.replace([]);
        if (lost !== undefined) cluster.app.feeds.nodes.upsert(lost);
        for (const { name } of NODES) this.#restoreNode(name);
        return;
      }
      case 'restart':
        this.#restart();
    }
  }

  #restoreNode(name: string): void {
    const fresh = new TestCluster(NODES).app.engine.ledger.node(name);
    if (fresh !== undefined) this.cluster.app.feeds.nodes.upsert(fresh);
  }

  /** A new process over the same API server: its first list shows everything that the old one had committed. */
  #restart(): void {
    const { api, nowMillis } = this.cluster;
    api.commitLate();
    this.cluster.refusal = 'gpuloom is draining';
    const next = new TestCluster(NODES, {}, api);
    next.nowMillis = nowMillis;
    this.cluster = next;
    this.#list();
  }

  #list(): void {
    const { app, api, profile } = this.cluster;
    app.feeds.pods.replace(api.pods().flatMap((manifest) => podRecord(manifest, profile) ?? []));
  }

  async settle(): Promise<void> {
    await this.#scheduler.waitIdle();
    await Promise.all(this.answers);
    this.cluster.api.commitLate();
    this.#list();
    this.cluster.nowMillis += 100_000;
    const swept = this.cluster.app.sweep();
    await this.#scheduler.waitIdle();
    await swept;
  }
}

describe('binds in any order, with lost requests, lost replies, late commits, deletions and restarts', () => {
  it('never put a GPU over its capacity, never bind a pod twice, and leave books that equal a rebuild', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(step, { minLength: 3, maxLength: 30 }),
        fc.array(fate, { minLength: 1, maxLength: 12 }),
        async (scheduler, steps, fates) => {
          const run = new Run(scheduler, fates);
          for (const each of steps) {
            run.step(each);
            if (each.do === 'restart' || scheduler.count() > 4) await scheduler.waitIdle();
            for (const [gpu, slices] of usage(run.cluster.api))
              expect(`${gpu} ${slices <= SLICES}`).toBe(`${gpu} true`);
          }
          await run.settle();
          const { ledger } = run.cluster.app.engine;
          for (const [gpu, slices] of usage(run.cluster.api)) expect(`${gpu} ${slices <= SLICES}`).toBe(`${gpu} true`);
          const uids = run.cluster.api.committed.map(({ uid }) => uid);
          expect(new Set(uids).size).toBe(uids.length);
          expect(drift(ledger)).toEqual([]);
          expect([...ledger.unconfirmed()]).toEqual([]);
          const bound = run.cluster.api.pods().filter((manifest) => manifest.spec?.nodeName !== undefined);
          expect(new Set([...ledger.residents()].map(({ pod }) => pod.uid))).toEqual(
            new Set(bound.map(({ metadata }) => metadata?.uid)),
          );
        },
      ),
      { numRuns: 400, seed: 6 },
    );
  });
});
