// A model of kube-scheduler as far as an extender can tell: watch, queue, one scheduling cycle at a time, binding cycles
// beside it, and its own assume cache. In-tree are NodeResourcesFit and nothing else: no in-tree scores, no preemption,
// and all nodes are looked at (percentageOfNodesToScore 100).
// Cycles are serial; up to `bindConcurrency` binds are in flight while the next pod is looked at.

import type { PodManifest } from '../core/manifest.ts';
import type { Change } from '../embedded/store.ts';
import { CallFailed, type ExtenderCalls } from './extender-calls.ts';
import { asNode, asPod, identityOf, isTerminal } from './manifests.ts';
import { asksFor, NodesView, podRequests } from './node-resources-fit.ts';
import type { Random } from '../random.ts';
import { Refusal } from './refusal.ts';
import type { QueuedPod, SchedulingQueue } from './scheduling-queue.ts';

export interface KubeSchedulerOptions {
  readonly calls: ExtenderCalls;
  /** Binds a pod that the extender has no part in. Throws CallFailed. */
  readonly bindDirectly: (pod: PodManifest, nodeName: string) => Promise<void>;
  readonly managedResources: ReadonlySet<string>;
  /** Weight of the extender's scores in kube-scheduler's configuration. */
  readonly weight: number;
  readonly bindConcurrency: number;
  readonly queue: SchedulingQueue;
  /** For the choice among nodes of equal score. */
  readonly random: Random;
  readonly onRefused: (pod: PodManifest, cause: string, message: string) => void;
}

/** An extender's score of 0..10 against kube-scheduler's node scores of 0..100. */
const SCORE_SCALE = 10;
const IDLE_MILLIS = 50;

export class KubeScheduler {
  readonly #options: KubeSchedulerOptions;
  readonly #nodes = new NodesView();
  readonly #binds = new Set<Promise<void>>();

  constructor(options: KubeSchedulerOptions) {
    this.#options = options;
  }

  /** Takes in a change from the watch. */
  observe({ resource, type, current }: Pick<Change, 'resource' | 'type' | 'current'>): void {
    if (resource === 'nodes') {
      if (type === 'DELETED') this.#nodes.removeNode(current.object.metadata.name);
      else this.#nodes.upsertNode(asNode(current.object));
      return;
    }
    if (resource !== 'pods') return;
    const pod = asPod(current.object);
    const { uid } = identityOf(pod);
    const { queue } = this.#options;
    if (type === 'DELETED') {
      queue.remove(uid);
      this.#nodes.forget(uid);
      if (pod.spec?.nodeName) queue.capacityFreed();
    } else if (pod.spec?.nodeName) {
      queue.remove(uid);
      this.#nodes.observe(pod);
      if (isTerminal(pod)) queue.capacityFreed();
    } else if (type === 'ADDED') queue.add(pod);
  }

  /** Schedules until no pod may be tried at the moment and all binds have ended. */
  async drain(signal: AbortSignal): Promise<void> {
    for (let next = this.#take(signal); next !== undefined; next = this.#take(signal)) await this.#schedule(next);
    await Promise.all(this.#binds);
  }

  /** Schedules whatever comes until `signal` aborts; then waits for the binds in flight. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.drain(signal);
      await this.#somethingToDo(signal);
    }
  }

  #take(signal: AbortSignal): QueuedPod | undefined {
    return signal.aborted ? undefined : this.#options.queue.take();
  }

  #somethingToDo(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    // Backoffs end without anybody saying so; a short idle wait looks for them.
    const timer = setTimeout(resolve, IDLE_MILLIS);
    this.#options.queue.onReady(resolve);
    const stop = (): void => resolve();
    signal.addEventListener('abort', stop);
    return promise.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    });
  }

  /** One scheduling cycle; the binding cycle goes on beside the next one where concurrency allows. */
  async #schedule(queued: QueuedPod): Promise<void> {
    const { pod } = queued;
    const { calls, queue, bindConcurrency, bindDirectly, managedResources, onRefused } = this.#options;
    const isManaged = asksFor(pod, managedResources);
    let nodeName: string | Refusal;
    try {
      nodeName = await this.#choose(pod, isManaged);
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      queue.putBack(queued, true);
      onRefused(pod, error.message, error.message);
      return;
    }
    if (nodeName instanceof Refusal) {
      queue.putBack(queued, false);
      onRefused(pod, nodeName.cause, nodeName.message(this.#nodes.nodeCount));
      return;
    }
    this.#nodes.assume(pod, nodeName);
    const bindByExtender = (bound: PodManifest, node: string): Promise<void> => calls.bind(bound, node);
    const binding = this.#bind(queued, nodeName, isManaged ? bindByExtender : bindDirectly);
    this.#binds.add(binding);
    const ended = (): boolean => this.#binds.delete(binding);
    binding.then(ended, ended);
    if (this.#binds.size >= bindConcurrency) await Promise.race(this.#binds);
  }

  async #bind(queued: QueuedPod, nodeName: string, bind: KubeSchedulerOptions['bindDirectly']): Promise<void> {
    const { queue, onRefused } = this.#options;
    try {
      await bind(queued.pod, nodeName);
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
      this.#nodes.forget(identityOf(queued.pod).uid);
      queue.putBack(queued, true);
      onRefused(queued.pod, error.message, error.message);
    }
  }

  async #choose(pod: PodManifest, isManaged: boolean): Promise<string | Refusal> {
    const refusal = new Refusal();
    let feasible = this.#nodes.filter(podRequests(pod), (node, reasons) => {
      for (const reason of reasons) refusal.add(node, 'in-tree', reason);
    });
    if (isManaged && feasible.length > 0) feasible = await this.#filterByExtender(pod, feasible, refusal);
    const [only, ...others] = feasible;
    if (only === undefined) return refusal;
    if (others.length === 0) return only;
    return this.#highest(feasible, isManaged ? await this.#extenderScores(pod, feasible) : new Map());
  }

  async #filterByExtender(pod: PodManifest, nodeNames: readonly string[], refusal: Refusal): Promise<string[]> {
    const answer = await this.#options.calls.filter(pod, nodeNames);
    for (const [node, reason] of Object.entries(answer.FailedAndUnresolvableNodes)) {
      refusal.add(node, 'unresolvable', reason);
    }
    for (const [node, reason] of Object.entries(answer.FailedNodes)) refusal.add(node, 'resolvable', reason);
    const offered = new Set(nodeNames);
    const stranger = (answer.NodeNames ?? []).find((name) => !offered.has(name));
    if (stranger !== undefined)
      throw new CallFailed(`filter: the extender named node ${stranger}, which was not asked`);
    return [...(answer.NodeNames ?? [])];
  }

  /** kube-scheduler ignores a failed prioritize: every node then scores 0. */
  async #extenderScores(pod: PodManifest, nodeNames: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const scores = new Map<string, number>();
    try {
      for (const { Host, Score } of await this.#options.calls.prioritize(pod, nodeNames)) {
        scores.set(Host, (scores.get(Host) ?? 0) + this.#options.weight * Score * SCORE_SCALE);
      }
    } catch (error) {
      if (!(error instanceof CallFailed)) throw error;
    }
    return scores;
  }

  #highest(nodeNames: readonly string[], scores: ReadonlyMap<string, number>): string {
    const top = Math.max(...nodeNames.map((name) => scores.get(name) ?? 0));
    const best = nodeNames.filter((name) => (scores.get(name) ?? 0) === top);
    return best[this.#options.random.between(0, best.length - 1)] ?? '';
  }
}
