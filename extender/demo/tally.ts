// What became of the pods, by UID: every pod that arrived is pending, running, finished or withdrawn at any time.
// Owns counts only; fed with the changes at the API server and the refusals of the scheduler. Synchronous.

import type { Change } from '../embedded/store.ts';
import { asPod, identityOf, isTerminal } from './manifests.ts';
import { ranked } from './refusal.ts';

export class Tally {
  #arrived = 0;
  #placed = 0;
  #finished = 0;
  #withdrawn = 0;
  readonly #pending = new Set<string>();
  /** Pods refused at least once. */
  readonly #refused = new Set<string>();
  /** The latest cause for each pending pod that was refused. */
  readonly #causes = new Map<string, string>();

  get arrived(): number {
    return this.#arrived;
  }

  get placed(): number {
    return this.#placed;
  }

  get finished(): number {
    return this.#finished;
  }

  /** Deleted by their owners while pending. */
  get withdrawn(): number {
    return this.#withdrawn;
  }

  get running(): number {
    return this.#placed - this.#finished;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** Pods that were refused at least once, whatever became of them. */
  get refusedOnce(): number {
    return this.#refused.size;
  }

  /** Pending pods whose latest attempt was refused. */
  get refusedNow(): number {
    return this.#causes.size;
  }

  /** Takes in a change at the API server. */
  observe({ resource, type, current, previous }: Pick<Change, 'resource' | 'type' | 'current' | 'previous'>): void {
    if (resource !== 'pods') return;
    const pod = asPod(current.object);
    const { uid } = identityOf(pod);
    if (type === 'ADDED') {
      this.#arrived++;
      this.#pending.add(uid);
    }
    if (type === 'DELETED') {
      if (this.#leave(uid)) this.#withdrawn++;
      return;
    }
    if (pod.spec?.nodeName && this.#leave(uid)) this.#placed++;
    const wasTerminal = previous !== undefined && isTerminal(asPod(previous.object));
    if (isTerminal(pod) && !wasTerminal) this.#finished++;
  }

  refuse(uid: string, cause: string): void {
    if (!this.#pending.has(uid)) return;
    this.#refused.add(uid);
    this.#causes.set(uid, cause);
  }

  /** Pending pods by the cause of their latest refusal, most frequent first. */
  causes(): { readonly reason: string; readonly count: number }[] {
    const counts = new Map<string, number>();
    for (const cause of this.#causes.values()) counts.set(cause, (counts.get(cause) ?? 0) + 1);
    return ranked(counts);
  }

  #leave(uid: string): boolean {
    this.#causes.delete(uid);
    return this.#pending.delete(uid);
  }
}
