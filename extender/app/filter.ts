// filter: which of the candidate nodes can host the pod. Reads the ledger and never writes it: kube-scheduler may call
// it any number of times for a pod that is never bound. Synchronous.

import type { Engine } from '../core/engine.ts';
import type { PodRecord } from '../core/model.ts';
import { BestNodes, keptNodes, type Ranking } from '../core/ranking.ts';
import { FITS, isResolvable, REASON, REASON_COUNT } from '../core/reasons.ts';
import type { Shape } from '../core/shape.ts';
import type { ShapeVerdicts } from '../core/verdicts.ts';
import { Candidates } from './candidates.ts';
import type { ExtenderArgs, ExtenderFilterResult } from './extender-api.ts';
import type { ReasonTexts } from './reason-texts.ts';

export interface FilterDeps {
  readonly engine: Engine;
  readonly readPod: (args: ExtenderArgs) => PodRecord | undefined;
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

export function createFilter(deps: FilterDeps): (args: ExtenderArgs) => ExtenderFilterResult {
  const candidates = new Candidates();
  const kept = keptNodes(deps.narrow, deps.ranking);
  const best = new BestNodes(Math.max(1, kept));
  const failures = new Int32Array(REASON_COUNT);
  return (args) => {
    const refusal = deps.refusal();
    if (refusal !== undefined) return failure(refusal);
    const pod = deps.readPod(args);
    if (pod === undefined) return failure('arg or pod is nil');
    if (!candidates.read(args, deps.engine.ledger.state)) return failure('cannot get node names');
    if (pod.demand.kind === 'none') return answer(candidates, allOf(candidates), {}, {});
    if (pod.demand.kind === 'invalid') {
      deps.onInvalid(pod, pod.demand.why);
      return refuseEverywhere(candidates, pod.demand.why);
    }
    const { request } = pod.demand;
    const shape = deps.engine.shapeOf(request, pod.namespace, pod.labels);
    const verdicts = deps.engine.verdicts(shape);
    const feasible = countFailures(candidates, verdicts, failures);
    deps.onAnswer(pod, shape, failures, feasible);
    if (kept > 0 && feasible > kept && !request.hasSoftPreferences) {
      return answer(candidates, narrowed(deps.engine, candidates, verdicts, best), {}, {});
    }
    return listed(deps, candidates, shape, verdicts);
  };
}

function countFailures(candidates: Candidates, verdicts: ShapeVerdicts, failures: Int32Array): number {
  failures.fill(0);
  for (let each = 0; each < candidates.count; each++) {
    const node = candidates.indices[each] ?? -1;
    const reason = node < 0 ? REASON.nodeUnknown : (verdicts.reasons[node] ?? FITS);
    failures[reason] = (failures[reason] ?? 0) + 1;
  }
  const feasible = failures[FITS] ?? 0;
  failures[FITS] = 0;
  return feasible;
}

/** The best K in the pod's own ranking. Nodes left out need no entry: the pod has where to go. */
function narrowed(engine: Engine, candidates: Candidates, verdicts: ShapeVerdicts, best: BestNodes): string[] {
  const { state } = engine.ledger;
  best.begin(verdicts, state);
  for (let each = 0; each < candidates.count; each++) {
    const node = candidates.indices[each] ?? -1;
    if (node >= 0 && verdicts.reasons[node] === FITS) best.offer(node);
  }
  return best.ranked().map((node) => state.nodeNames[node] ?? '');
}

/**
 * Every feasible node, and a reason for each of the others. Unresolvable ones are in both maps: kube-scheduler before
 * 1.21 reads FailedNodes only and would show the pod no reason at all; later ones let the other map win.
 */
function listed(deps: FilterDeps, candidates: Candidates, shape: Shape, verdicts: ShapeVerdicts): ExtenderFilterResult {
  const fitting: string[] = [];
  const failed = emptyMap();
  const unresolvable = emptyMap();
  const textOf = deps.texts.forShape(shape);
  for (let each = 0; each < candidates.count; each++) {
    const node = candidates.indices[each] ?? -1;
    const name = candidates.names[each] ?? '';
    const reason = node < 0 ? REASON.nodeUnknown : (verdicts.reasons[node] ?? FITS);
    if (reason === FITS) {
      fitting.push(name);
      continue;
    }
    const text = textOf(reason, name);
    failed[name] = text;
    if (!isResolvable(reason)) unresolvable[name] = text;
  }
  return answer(candidates, fitting, failed, unresolvable);
}

function refuseEverywhere(candidates: Candidates, why: string): ExtenderFilterResult {
  const unresolvable = emptyMap();
  for (const name of candidates.names) unresolvable[name] = why;
  return answer(candidates, [], unresolvable, unresolvable);
}

/** In the form of the question: names for names, full nodes for full nodes. */
function answer(
  candidates: Candidates,
  fitting: readonly string[],
  failed: Readonly<Record<string, string>>,
  unresolvable: Readonly<Record<string, string>>,
): ExtenderFilterResult {
  const { nodes } = candidates;
  if (nodes === undefined) return result(fitting, null, failed, unresolvable);
  const kept = new Set(fitting);
  const items = nodes.filter((node) => kept.has(node.metadata?.name ?? ''));
  return result(fitting, { items }, failed, unresolvable);
}

function result(
  NodeNames: readonly string[] | null,
  Nodes: ExtenderFilterResult['Nodes'],
  FailedNodes: Readonly<Record<string, string>>,
  FailedAndUnresolvableNodes: Readonly<Record<string, string>>,
  error = '',
): ExtenderFilterResult {
  return { Nodes, NodeNames, FailedNodes, FailedAndUnresolvableNodes, Error: error };
}

function failure(why: string): ExtenderFilterResult {
  return result(null, null, {}, {}, why);
}

function allOf(candidates: Candidates): readonly string[] {
  return candidates.names;
}

/** `constructor` is a legal node name, so result maps have no prototype. */
function emptyMap(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}
