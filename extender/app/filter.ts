// filter: which of the candidate nodes can host the pod. Reads the ledger and never writes it: kube-scheduler may call
// it any number of times for a pod that is never bound. Synchronous.

import type { Engine } from '../core/engine.ts';
import type { PodRecord } from '../core/model.ts';
import { BestNodes, keptNodes, type Ranking } from '../core/ranking.ts';
import { FITS, REASON, REASON_COUNT } from '../core/reasons.ts';
import type { Shape } from '../core/shape.ts';
import type { ShapeVerdicts } from '../core/verdicts.ts';
import { Candidates } from './candidates.ts';
import type { ExtenderArgs, ExtenderFilterResult } from './extender-api.ts';
import type { HostArgs } from './host-bytes.ts';
import { emptyMap, JudgedHosts } from './judged-hosts.ts';
import type { ReasonTexts } from './reason-texts.ts';

export interface FilterDeps {
  readonly engine: Engine;
  readonly readPod: (args: Pick<ExtenderArgs, 'Pod'>) => PodRecord | undefined;
  /** Why verbs are refused at the moment, if they are. */
  readonly refusal: () => string | undefined;
  readonly texts: ReasonTexts;
  /** How many nodes to hand back at most; 0 = every feasible one. */
  readonly narrow: number;
  readonly ranking: Ranking;
  /** Told about every answer: how many candidates failed for which reason code. */
  readonly onAnswer: (pod: PodRecord, shape: Shape, failures: Int32Array, feasible: number) => void;
  /** Told about a pod whose request contradicts itself. */
  readonly onInvalid: (pod: PodRecord, why: string) => void;
}

export interface FilterVerb {
  readonly filter: (args: ExtenderArgs) => ExtenderFilterResult;
  /** The same for names in bytes. The hosts are valid until the next call. */
  readonly filterHosts: (args: HostArgs) => ExtenderFilterResult | JudgedHosts;
}

export function createFilter(deps: FilterDeps): FilterVerb {
  const candidates = new Candidates();
  const kept = keptNodes(deps.narrow, deps.ranking);
  const best = new BestNodes(Math.max(1, kept));
  const failures = new Int32Array(REASON_COUNT);
  let outcomes = new Uint8Array(1024);
  const decide = (args: ExtenderArgs | HostArgs): ExtenderFilterResult | JudgedHosts => {
    const refusal = deps.refusal();
    if (refusal !== undefined) return failure(refusal);
    const pod = deps.readPod(args);
    if (pod === undefined) return failure('arg or pod is nil');
    if (!candidates.read(args, deps.engine.ledger.state)) return failure('cannot get node names');
    if (pod.demand.kind === 'none') return candidates.answer(candidates.names(), {}, {});
    if (pod.demand.kind === 'invalid') {
      deps.onInvalid(pod, pod.demand.why);
      return refuseEverywhere(candidates, pod.demand.why);
    }
    const { request } = pod.demand;
    const shape = deps.engine.shapeOf(request, pod.namespace, pod.labels);
    const verdicts = deps.engine.verdicts(shape);
    if (outcomes.length < candidates.count) outcomes = new Uint8Array(candidates.indices.length);
    const feasible = judge(candidates, verdicts, outcomes, failures);
    deps.onAnswer(pod, shape, failures, feasible);
    if (kept > 0 && feasible > kept && !request.hasSoftPreferences) {
      return candidates.answer(narrowed(deps.engine, candidates, verdicts, outcomes, best), {}, {});
    }
    return new JudgedHosts(candidates, outcomes, deps.texts.forShape(shape));
  };
  return {
    filter: (args) => {
      const decided = decide(args);
      return decided instanceof JudgedHosts ? decided.toResult() : decided;
    },
    filterHosts: decide,
  };
}

/** Writes `FITS` or a reason code for each candidate, counts the reasons, and returns how many fit. */
function judge(candidates: Candidates, verdicts: ShapeVerdicts, outcomes: Uint8Array, failures: Int32Array): number {
  failures.fill(0);
  for (let each = 0; each < candidates.count; each++) {
    const node = candidates.indices[each] ?? -1;
    const reason = node < 0 ? REASON.nodeUnknown : (verdicts.reasons[node] ?? FITS);
    outcomes[each] = reason;
    failures[reason] = (failures[reason] ?? 0) + 1;
  }
  const feasible = failures[FITS] ?? 0;
  failures[FITS] = 0;
  return feasible;
}

/** The best K in the pod's own ranking. Nodes left out need no entry: the pod has where to go. */
function narrowed(
  engine: Engine,
  candidates: Candidates,
  verdicts: ShapeVerdicts,
  outcomes: Uint8Array,
  best: BestNodes,
): string[] {
  const { state } = engine.ledger;
  best.begin(verdicts, state);
  for (let each = 0; each < candidates.count; each++) {
    if (outcomes[each] === FITS) best.offer(candidates.indices[each] ?? -1);
  }
  return best.ranked().map((node) => state.nodeNames[node] ?? '');
}

function refuseEverywhere(candidates: Candidates, why: string): ExtenderFilterResult {
  const unresolvable = emptyMap();
  for (const name of candidates.names()) unresolvable[name] = why;
  return candidates.answer([], unresolvable, unresolvable);
}

function failure(why: string): ExtenderFilterResult {
  return { Nodes: null, NodeNames: null, FailedNodes: {}, FailedAndUnresolvableNodes: {}, Error: why };
}
