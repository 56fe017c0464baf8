// The search for weights: first a look over the whole space, then from the best place found one step along each axis,
// with steps that are halved where none of them helps. Weights are judged in batches, so that judging can be done on
// many threads; which ones are judged next depends on nothing but the judgements. No randomness, no clock.

import { neighbours, shownWeights, spread } from './space.ts';
import type { RoomWeights } from '../../extender/core/room-weights.ts';

/** How good each of the weights is, in their order; more is better. */
export type Judge = (batch: readonly RoomWeights[]) => Promise<readonly number[]>;

export interface Judged {
  readonly weights: RoomWeights;
  readonly value: number;
}

export interface SearchResult {
  /** The first among equals, so the start unless others are better. */
  readonly best: Judged;
  /** In the order in which they were judged, the start first. */
  readonly judged: readonly Judged[];
}

/** What part of the budget goes into the look over the whole space. */
const OVERVIEW_SHARE = 1 / 3;
const FIRST_STEP = 1 / 8;
const LAST_STEP = 1 / 64;

/** Judges at most `budget` different weights, `start` among them. */
export async function searchWeights(start: RoomWeights, budget: number, judge: Judge): Promise<SearchResult> {
  const search = new Search(budget, judge);
  const overview = Array.from({ length: Math.floor((budget - 1) * OVERVIEW_SHARE) }, (_, at) => spread(at + 1));
  await search.judge([start, ...overview]);
  for (let step = FIRST_STEP; step >= LAST_STEP && search.left > 0;) {
    const before = search.best;
    await search.judge(neighbours(before.weights, step));
    if (search.best === before) step /= 2;
  }
  return { best: search.best, judged: search.judged };
}

class Search {
  readonly judged: Judged[] = [];
  readonly #budget: number;
  readonly #judge: Judge;
  readonly #known = new Set<string>();

  constructor(budget: number, judge: Judge) {
    this.#budget = budget;
    this.#judge = judge;
  }

  get left(): number {
    return this.#budget - this.judged.length;
  }

  get best(): Judged {
    const [first, ...others] = this.judged;
    if (first === undefined) throw new RangeError('nothing has been judged yet; the budget must be 1 at least');
    return others.reduce((best, each) => (each.value > best.value ? each : best), first);
  }

  /** Those that are new, as far as the budget goes. */
  async judge(weights: readonly RoomWeights[]): Promise<void> {
    const batch = weights.filter((each) => {
      const key = shownWeights(each);
      if (this.#known.has(key) || this.#known.size >= this.#budget) return false;
      this.#known.add(key);
      return true;
    });
    if (batch.length === 0) return;
    const values = await this.#judge(batch);
    batch.forEach((each, at) => this.judged.push({ weights: each, value: values[at] ?? Number.NaN }));
  }
}
