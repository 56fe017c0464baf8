// prioritize: one integer score 0..10 for each candidate. Reads the ledger and never writes it. Synchronous.

import type { Engine } from '../core/engine.ts';
import type { PodRecord } from '../core/model.ts';
import { type Ranking, scaleScores } from '../core/ranking.ts';
import { Candidates } from './candidates.ts';
import type { ExtenderArgs, HostPriority } from './extender-api.ts';
import type { HostArgs } from './host-bytes.ts';
import { ScoredHosts } from './judged-hosts.ts';

export interface PrioritizeDeps {
  readonly engine: Engine;
  readonly readPod: (args: Pick<ExtenderArgs, 'Pod'>) => PodRecord | undefined;
  readonly refusal: () => string | undefined;
  readonly ranking: Ranking;
}

/** The verb cannot be answered now. kube-scheduler ignores a failed prioritize, so it must be an error, not zeros. */
export class NotAnswering extends Error {}

export interface PrioritizeVerb {
  readonly prioritize: (args: ExtenderArgs) => readonly HostPriority[];
  /** The same for names in bytes. The hosts are valid until the next call. */
  readonly prioritizeHosts: (args: HostArgs) => ScoredHosts;
}

export function createPrioritize(deps: PrioritizeDeps): PrioritizeVerb {
  const candidates = new Candidates();
  let scores = new Uint8Array(1024);
  const score = (args: ExtenderArgs | HostArgs): ScoredHosts => {
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
    return new ScoredHosts(candidates, scores);
  };
  return { prioritize: (args) => score(args).toList(), prioritizeHosts: score };
}
