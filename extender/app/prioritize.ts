// prioritize: one integer score 0..10 for each candidate. Reads the ledger and never writes it. Synchronous.

import type { Engine } from '../core/engine.ts';
import type { PodRecord } from '../core/model.ts';
import { type Ranking, scaleScores } from '../core/ranking.ts';
import { Candidates } from './candidates.ts';
import type { ExtenderArgs, HostPriority } from './extender-api.ts';

export interface PrioritizeDeps {
  readonly engine: Engine;
  readonly readPod: (args: ExtenderArgs) => PodRecord | undefined;
  readonly refusal: () => string | undefined;
  readonly ranking: Ranking;
}

/** The verb cannot be answered now. kube-scheduler ignores a failed prioritize, so it must be an error, not zeros. */
export class NotAnswering extends Error {}

export function createPrioritize(deps: PrioritizeDeps): (args: ExtenderArgs) => readonly HostPriority[] {
  const candidates = new Candidates();
  let scores = new Uint8Array(1024);
  return (args) => {
    const refusal = deps.refusal();
    if (refusal !== undefined) throw new NotAnswering(refusal);
    const { state } = deps.engine.ledger;
    const pod = deps.readPod(args);
    if (pod === undefined || !candidates.read(args, state))
      throw new NotAnswering('the request names no pod or no nodes');
    if (scores.length < candidates.count) scores = new Uint8Array(candidates.indices.length);
    if (pod.demand.kind === 'request') {
      const shape = deps.engine.shapeOf(pod.demand.request, pod.namespace, pod.labels);
      scaleScores(deps.engine.verdicts(shape), state, deps.ranking, candidates.indices, candidates.count, scores);
    } else scores.fill(0);
    return candidates.names.map((Host, each) => ({ Host, Score: scores[each] ?? 0 }));
  };
}
