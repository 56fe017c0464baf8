// How long the extender took to answer, by verb: the latest calls of each, for percentiles. Owns its samples only.

import type { VerbName } from './extender-calls.ts';

const KEPT = 4096;

export class Latencies {
  readonly #samples = new Map<VerbName, { readonly latest: number[]; calls: number }>();

  add(verb: VerbName, millis: number): void {
    const known = this.#samples.get(verb) ?? { latest: [], calls: 0 };
    known.latest[known.calls % KEPT] = millis;
    known.calls++;
    this.#samples.set(verb, known);
  }

  /** `filter 1.2/3.4  …`: median and 99th percentile of the latest calls, in milliseconds. */
  text(): string {
    const verbs: readonly VerbName[] = ['filter', 'prioritize', 'bind'];
    return verbs
      .flatMap((verb) => {
        const known = this.#samples.get(verb);
        if (known === undefined) return [];
        const sorted = known.latest.toSorted((a, b) => a - b);
        return [`${verb} ${at(sorted, 0.5)}/${at(sorted, 0.99)}`];
      })
      .join('  ');
  }
}

function at(sorted: readonly number[], quantile: number): string {
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? 0).toFixed(1);
}
