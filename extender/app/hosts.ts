// Node names as bytes of the request that carries them, and the answers about them. A scheduler that works for
// thousands of nodes names each of them in every call: here nobody makes a string, or an object, for each.
// Everything here is of use until the next request is read.

import type { PodManifest } from '../core/manifest.ts';
import { FITS, isResolvable } from '../core/reasons.ts';
import type { Candidates } from './candidates.ts';
import type { ExtenderFilterResult, HostPriority } from './extender-api.ts';
import type { TextsOfShape } from './reason-texts.ts';

/** Names of printable ASCII without quotes or escapes, each between two quotes in `bytes`, a comma from the next. */
export class HostBytes {
  bytes: Uint8Array = new Uint8Array(0);
  count = 0;
  /** Name number n is `bytes[starts[n]]` up to, but not including, `bytes[ends[n]]`. */
  starts: Int32Array = new Int32Array(1024);
  ends: Int32Array = new Int32Array(1024);

  begin(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.count = 0;
  }

  add(start: number, end: number): void {
    if (this.count === this.starts.length) this.#grow();
    this.starts[this.count] = start;
    this.ends[this.count] = end;
    this.count++;
  }

  nameAt(each: number): string {
    return String.fromCharCode(...this.bytes.subarray(this.starts[each], this.ends[each]));
  }

  #grow(): void {
    const { starts, ends } = this;
    this.starts = new Int32Array(starts.length * 2);
    this.starts.set(starts);
    this.ends = new Int32Array(ends.length * 2);
    this.ends.set(ends);
  }
}

/** The extender's arguments with the names in bytes. */
export interface HostArgs {
  readonly Pod?: PodManifest | null;
  readonly Hosts: HostBytes;
}

/** What filter found for each candidate: `FITS` or a reason code. */
export class JudgedHosts {
  readonly candidates: Candidates;
  readonly outcomes: Uint8Array;
  readonly texts: TextsOfShape;

  constructor(candidates: Candidates, outcomes: Uint8Array, texts: TextsOfShape) {
    this.candidates = candidates;
    this.outcomes = outcomes;
    this.texts = texts;
  }

  /**
   * Every feasible node, and a reason for each of the others. Unresolvable ones are in both maps: kube-scheduler before
   * 1.21 reads FailedNodes only and would show the pod no reason at all; later ones let the other map win.
   */
  toResult(): ExtenderFilterResult {
    const { candidates, outcomes, texts } = this;
    const fitting: string[] = [];
    const failed = emptyMap();
    const unresolvable = emptyMap();
    for (let each = 0; each < candidates.count; each++) {
      const name = candidates.nameAt(each);
      const outcome = outcomes[each] ?? FITS;
      if (outcome === FITS) {
        fitting.push(name);
        continue;
      }
      const text = texts.of(outcome, name);
      failed[name] = text;
      if (!isResolvable(outcome)) unresolvable[name] = text;
    }
    return candidates.answer(fitting, failed, unresolvable);
  }
}

/** An integer score 0..10 for each candidate, by its number. */
export class ScoredHosts {
  readonly candidates: Candidates;
  readonly scores: Uint8Array;

  constructor(candidates: Candidates, scores: Uint8Array) {
    this.candidates = candidates;
    this.scores = scores;
  }

  toList(): readonly HostPriority[] {
    const { candidates, scores } = this;
    return Array.from({ length: candidates.count }, (_, each) => ({
      Host: candidates.nameAt(each),
      Score: scores[each] ?? 0,
    }));
  }
}

/** `constructor` is a legal node name, so result maps have no prototype. */
export function emptyMap(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}
