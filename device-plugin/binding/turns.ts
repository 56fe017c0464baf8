// Which containers wait for their slices, in the order in which their pods came to this node. The kubelet admits one
// container at a time and writes down what it gave before it admits the next, so whoever is in its checkpoint has had its
// turn. What Allocate answered counts where the checkpoint says nothing.

import type { Inventory, PodRecord } from '../../extender/core/model.ts';
import type { KubeletWitness, NodePods } from '../ports.ts';
import { claimOf, claimsOf, type ContainerClaim } from './claims.ts';
import type { Environment } from './container-env.ts';
import type { NodeJudge } from './judge.ts';
import { keyOf } from './owner.ts';

export interface TurnsDeps {
  readonly witness: Pick<KubeletWitness, 'checkpoint'>;
  readonly pods: NodePods;
  readonly judge: Pick<NodeJudge, 'isGranted'>;
  readonly inventory: () => Inventory;
}

/** What Allocate said for a set of ids, and for whom it was meant. */
export interface Answer {
  readonly ids: ReadonlySet<string>;
  readonly claim: ContainerClaim;
  readonly environment: Environment;
}

const LOOK_MILLIS = 500;

export class Turns {
  readonly #deps: TurnsDeps;
  readonly #answers = new Map<string, Answer>();
  /** Pods that the API server has shown before the watch did, by UID. */
  #ahead = new Map<string, PodRecord>();

  constructor(deps: TurnsDeps) {
    this.#deps = deps;
  }

  /** Claims of containers that ask for this many ids and have none yet. */
  async waiting(size: number): Promise<readonly ContainerClaim[]> {
    const hasHadTurn = await this.#turnsTaken();
    const inventory = this.#deps.inventory();
    return [...this.#pods()]
      .flatMap((pod) => claimsOf(pod, inventory))
      .filter(({ sliceIds, pod, container }) => sliceIds === size && !hasHadTurn(pod, container));
  }

  /** Why a container that asks for this many ids will get none; undefined where there is no such container. */
  async refusalOf(size: number): Promise<string | undefined> {
    const hasHadTurn = await this.#turnsTaken();
    const inventory = this.#deps.inventory();
    for (const pod of this.#pods()) {
      if (pod.demand.kind !== 'request') continue;
      const { containers, gpuCount } = pod.demand.request;
      for (const { name, slicesPerGpu } of containers) {
        if (slicesPerGpu * gpuCount !== size || hasHadTurn(pod, name)) continue;
        const reading = claimOf(pod, name, inventory);
        if (reading.kind === 'refused') return reading.why;
      }
    }
    return undefined;
  }

  /** Takes in the pods of this node that the watch has yet to show. Never rejects: the watch may still catch up. */
  async lookAhead(): Promise<void> {
    const listed = await this.#deps.pods.readAll(LOOK_MILLIS).catch(() => []);
    this.#ahead = new Map(listed.map((pod) => [pod.uid, pod]));
  }

  answered(ids: readonly string[], claim: ContainerClaim, environment: Environment): void {
    this.#answers.set(keyOf(ids), { ids: new Set(ids), claim, environment });
  }

  answerOf(ids: readonly string[]): Answer | undefined {
    return this.#answers.get(keyOf(ids));
  }

  /** Whether these ids were part of an answer to the same pod: app containers get ids of init containers again. */
  isReuse(ids: readonly string[], { pod }: ContainerClaim): boolean {
    return [...this.#answers.values()].some(
      (answer) => answer.claim.pod.uid === pod.uid && ids.every((id) => answer.ids.has(id)),
    );
  }

  /** Forgets pods that are gone. */
  collect(): void {
    this.#ahead.clear();
    for (const [key, { claim }] of this.#answers)
      if (this.#deps.pods.byUid(claim.pod.uid) === undefined) this.#answers.delete(key);
  }

  async #turnsTaken(): Promise<(pod: PodRecord, container: string) => boolean> {
    const checkpoint = await this.#deps.witness.checkpoint();
    const taken = new Set(checkpoint.map(({ podUid, container }) => turnOf(podUid, container)));
    // No entry at all may also mean that the file is missing.
    if (checkpoint.length === 0)
      for (const { claim } of this.#answers.values()) taken.add(turnOf(claim.pod.uid, claim.container));
    return ({ uid }, container) => taken.has(turnOf(uid, container)) || this.#deps.judge.isGranted(uid);
  }

  *#pods(): Iterable<PodRecord> {
    const { pods } = this.#deps;
    yield* pods.all();
    for (const [uid, pod] of this.#ahead) {
      if (pods.byUid(uid) === undefined) yield pod;
      else this.#ahead.delete(uid);
    }
  }
}

function turnOf(podUid: string, container: string): string {
  return `${podUid} ${container}`;
}
