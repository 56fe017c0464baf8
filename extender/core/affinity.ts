// GPU-level affinity between pods. Keeps which anti-affinity terms live pods carry (they also repel newcomers, so
// the rule is symmetric) and how many live pods each asked-for term matches (the first pod of a group may start alone).

import type { Resident } from './resident.ts';
import type { StringMap } from './manifest.ts';
import { termMatches, type AffinityTerm } from './selector.ts';

const MAX_COUNTED_TERMS = 512;

interface Carried {
  readonly term: AffinityTerm;
  carriers: number;
}

interface Counted {
  readonly term: AffinityTerm;
  matching: number;
}

export class TermRegistry {
  readonly #carried = new Map<string, Carried>();
  readonly #counted = new Map<string, Counted>();

  /** No live pod repels any other. */
  get isIdle(): boolean {
    return this.#carried.size === 0;
  }

  /** Call when a GPU pod takes its place. */
  arrived(resident: Resident): void {
    const forbidden = resident.request?.affinities.forbidden;
    if (forbidden !== undefined) {
      const known = this.#carried.get(forbidden.id);
      if (known === undefined) this.#carried.set(forbidden.id, { term: forbidden, carriers: 1 });
      else known.carriers++;
    }
    this.#count(resident, 1);
  }

  /** Call when a GPU pod leaves its place. */
  left(resident: Resident): void {
    const forbidden = resident.request?.affinities.forbidden;
    const known = forbidden === undefined ? undefined : this.#carried.get(forbidden.id);
    if (known !== undefined && --known.carriers === 0) this.#carried.delete(known.term.id);
    this.#count(resident, -1);
  }

  /** Ids of the anti-affinity terms of live pods that select a pod with these labels, sorted. */
  repelling(namespace: string, labels: StringMap): readonly string[] {
    if (this.#carried.size === 0) return [];
    const ids: string[] = [];
    for (const { term } of this.#carried.values()) if (termMatches(term, namespace, labels)) ids.push(term.id);
    return ids.sort();
  }

  /** How many live GPU pods the term matches. Counted from `residents` once, then kept up to date. */
  matching(term: AffinityTerm, residents: () => Iterable<Resident>): number {
    const known = this.#counted.get(term.id);
    if (known !== undefined) return known.matching;
    let matching = 0;
    for (const { pod, request } of residents()) {
      if (request !== undefined && termMatches(term, pod.namespace, pod.labels)) matching++;
    }
    if (this.#counted.size >= MAX_COUNTED_TERMS) this.#dropOldest();
    this.#counted.set(term.id, { term, matching });
    return matching;
  }

  #count(resident: Resident, by: number): void {
    for (const counted of this.#counted.values()) {
      if (termMatches(counted.term, resident.pod.namespace, resident.pod.labels)) counted.matching += by;
    }
  }

  #dropOldest(): void {
    for (const id of this.#counted.keys()) {
      this.#counted.delete(id);
      return;
    }
  }
}
