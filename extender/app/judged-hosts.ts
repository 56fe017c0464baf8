// Answers about hosts, by the number of the candidate: without a string or an object for each, unless somebody asks.
// They are of use until the next request is read.

import { FITS, isResolvable } from '../core/reasons.ts';
import type { Candidates } from './candidates.ts';
import type { ExtenderFilterResult, HostPriority } from './extender-api.ts';
import type { TextsOfShape } from './reason-texts.ts';

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
