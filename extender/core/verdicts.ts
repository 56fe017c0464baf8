// Verdict and score of every node for one shape, kept up to date from the journal: a call recomputes the nodes that
// changed since the shape was last asked, and no others. Reads the ledger, never writes it.

import { BestNode, Seats } from './best-node.ts';
import { fit, type FitRules, FitScratch } from './fit.ts';
import type { Ledger } from './ledger.ts';
import { Choice, type PlacementPolicy } from './policy/policy.ts';
import { FITS } from './reasons.ts';
import type { Shape } from './shape.ts';
import { Twins } from './twins.ts';

/** One step of soft affinity outweighs any policy score (policies stay below 2^30). */
const PREFERENCE_STEP: number = 2 ** 31;

/** Work space shared by all evaluations of an engine. */
export class Workbench {
  readonly fitted: FitScratch = new FitScratch();
  readonly choice: Choice = new Choice();
  readonly twins: Twins = new Twins();
  readonly seats: Seats = new Seats();
}

/** Everything an evaluation needs besides the node. */
export interface Evaluation {
  readonly ledger: Ledger;
  readonly rules: FitRules;
  readonly policy: PlacementPolicy;
  readonly shape: Shape;
  readonly bench: Workbench;
}

export interface Verdict {
  /** `FITS` or a reason code. */
  reason: number;
  /** Full-precision score; meaningful only where the node fits. */
  score: number;
}

/** Judges one node from scratch. The chosen GPUs are left in `bench.choice`. */
export function evaluate(evaluation: Evaluation, node: number, verdict: Verdict): void {
  const { ledger, rules, policy, shape, bench } = evaluation;
  verdict.reason = fit(ledger, rules, node, shape, bench.fitted);
  verdict.score = 0;
  if (verdict.reason !== FITS) return;
  const score = policy.place(ledger.state, node, shape, bench.fitted, bench.choice);
  verdict.score = bench.fitted.preference * PREFERENCE_STEP + score;
}

/** The kept verdicts of one shape, by node index. */
export class ShapeVerdicts {
  reasons: Uint8Array = new Uint8Array(0);
  scores: Float64Array = new Float64Array(0);
  /** Judgements since creation, for tests: nodes whose verdict was taken from a twin are not counted. */
  judged = 0;
  readonly #evaluation: Evaluation;
  readonly #verdict: Verdict = { reason: FITS, score: 0 };
  #generation = -1;
  #policyVersion = -1;
  /** Kept only for shapes whose best node has been asked for. */
  #best: BestNode | undefined;

  constructor(evaluation: Evaluation) {
    this.#evaluation = evaluation;
  }

  get shape(): Shape {
    return this.#evaluation.shape;
  }

  /** Brings the verdicts up to the present generation. */
  refresh(): this {
    const { ledger, policy } = this.#evaluation;
    const { state } = ledger;
    const version = policy.version();
    if (this.#generation === state.generation && this.#policyVersion === version) return this;
    this.#fitLength(state.nodeSlots);
    if (this.#policyVersion === version && this.#generation >= 0) this.#judgeChanged(this.#generation);
    else {
      this.#judgeAll();
      this.#best?.rebuild(state);
    }
    this.#generation = state.generation;
    this.#policyVersion = version;
    return this;
  }

  /** The best node of all that fit, or -1: highest score, then first by name. Call `refresh` first. */
  bestNode(): number {
    const { ledger, bench } = this.#evaluation;
    const { state } = ledger;
    this.#best ??= new BestNode(this, bench.seats);
    if (this.#best.isStale(state)) this.#best.rebuild(state);
    return this.#best.node;
  }

  /** Goes by the journal, or by the nodes where those are fewer or the journal no longer reaches back. */
  #judgeChanged(since: number): void {
    const { state } = this.#evaluation.ledger;
    const { nodeSlots, generation, changedAt } = state;
    if (generation - since > nodeSlots || state.journalEntry(since) === undefined) {
      for (let node = 0; node < nodeSlots; node++) if ((changedAt[node] ?? 0) > since) this.#judgeAgain(node);
      return;
    }
    for (let at = since; at < generation; at++) {
      const node = state.journalEntry(at) ?? -1;
      // A node that changed again later is judged once, at its last entry.
      if (changedAt[node] === at + 1) this.#judgeAgain(node);
    }
  }

  #judgeAgain(node: number): void {
    this.#judge(node);
    this.#best?.update(node);
  }

  #judgeAll(): void {
    const { ledger, policy, shape, bench } = this.#evaluation;
    const { state } = ledger;
    const looksAtColumnsOnly = policy.scoresTwinsAlike === true && !shape.readsPods && shape.request.uuids.length === 0;
    const firsts = looksAtColumnsOnly ? bench.twins.firsts(state) : undefined;
    for (let node = 0; node < state.nodeSlots; node++) {
      const first = firsts?.[node] ?? node;
      if (first === node) this.#judge(node);
      else {
        this.reasons[node] = this.reasons[first] ?? 0;
        this.scores[node] = this.scores[first] ?? 0;
      }
    }
  }

  #judge(node: number): void {
    evaluate(this.#evaluation, node, this.#verdict);
    this.reasons[node] = this.#verdict.reason;
    this.scores[node] = this.#verdict.score;
    this.judged++;
  }

  #fitLength(nodeSlots: number): void {
    if (nodeSlots <= this.reasons.length) return;
    const length = Math.max(64, nodeSlots, this.reasons.length * 2);
    const reasons = new Uint8Array(length);
    reasons.set(this.reasons);
    this.reasons = reasons;
    const scores = new Float64Array(length);
    scores.set(this.scores);
    this.scores = scores;
  }
}
