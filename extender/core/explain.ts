// Why a pod would go where it goes, and why not elsewhere: per node the first failing rule with the numbers behind it,
// or the score by term. For people and for JSON; never on the path of a verb.

import type { Engine } from './engine.ts';
import { fit, FitScratch } from './fit.ts';
import { ISOLATION_LEVELS, type IsolationLevel } from './model.ts';
import { isBetter } from './ranking.ts';
import { FITS, isResolvable, REASON_COUNT, reasonName, reasonText, type ReasonName } from './reasons.ts';
import type { Shape } from './shape.ts';

export interface GpuExplanation {
  readonly index: number;
  readonly uuid: string;
  readonly model: string;
  readonly reason: ReasonName;
  readonly freeSlices: number;
  readonly slices: number;
  readonly freeCorePercent: number;
  readonly onlinePods: number;
  readonly batchPods: number;
}

export interface NodeExplanation {
  readonly node: string;
  readonly reason: ReasonName;
  readonly text: string;
  readonly preemptionCanHelp: boolean;
  readonly isolation: IsolationLevel;
  readonly gpus: readonly GpuExplanation[];
  /** Only where the node fits. */
  readonly score?: number;
  readonly terms?: Readonly<Record<string, number>>;
  readonly chosenGpus?: readonly number[];
}

export interface Explanation {
  readonly policy: string;
  readonly asks: {
    readonly gpuCount: number;
    readonly slicesPerGpu: number;
    readonly corePerGpu: number;
    readonly class: string;
    readonly isolation: IsolationLevel;
  };
  readonly summary: string;
  /** Nodes that fit, best first, then the others by name. */
  readonly nodes: readonly NodeExplanation[];
}

/** Explains a shape over the named nodes, or over every node where none are named. */
export function explain(engine: Engine, shape: Shape, nodeNames?: readonly string[]): Explanation {
  const { state } = engine.ledger;
  const verdicts = engine.verdicts(shape);
  const ranks = state.nameRanks();
  const indices =
    nodeNames === undefined
      ? [...state.nodeIndices()]
      : nodeNames.map((name) => state.indexOf(name) ?? -1).filter((node) => node >= 0);
  indices.sort((a, b) => {
    const fitsA = verdicts.reasons[a] === FITS;
    if (fitsA !== (verdicts.reasons[b] === FITS)) return fitsA ? -1 : 1;
    return fitsA ? (isBetter(verdicts, ranks, a, b) ? -1 : 1) : (ranks[a] ?? 0) - (ranks[b] ?? 0);
  });
  const nodesByReason = new Int32Array(REASON_COUNT);
  for (const node of indices) {
    const reason = verdicts.reasons[node] ?? FITS;
    nodesByReason[reason] = (nodesByReason[reason] ?? 0) + 1;
  }
  const scratch = new FitScratch();
  const { gpuCount, slicesPerGpu, corePerGpu, isolation } = shape.request;
  return {
    policy: shape.policy,
    asks: { gpuCount, slicesPerGpu, corePerGpu, class: shape.request.class, isolation },
    summary: summarize(nodesByReason, shape),
    nodes: indices.map((node) => explainNode(engine, shape, node, scratch)),
  };
}

/** "3/10 nodes fit; 5 no GPU has 8 free slices, 2 node reports no GPUs": most frequent first, then by text. */
export function summarize(nodesByReason: Int32Array, shape: Shape): string {
  const fitting = nodesByReason[FITS] ?? 0;
  const total = nodesByReason.reduce((sum, nodes) => sum + nodes, 0);
  const parts = Array.from(nodesByReason, (count, reason) => ({ count, text: reasonText(reason, shape.request) }))
    .filter(({ count }, reason) => reason !== FITS && count > 0)
    .sort((a, b) => b.count - a.count || (a.text < b.text ? -1 : 1))
    .map(({ count, text }) => `${count} ${text}`);
  const head = `${fitting}/${total} nodes fit`;
  return parts.length === 0 ? head : `${head}; ${parts.join(', ')}`;
}

function explainNode(engine: Engine, shape: Shape, node: number, scratch: FitScratch): NodeExplanation {
  const { ledger, rules } = engine;
  const { state } = ledger;
  const reason = fit(ledger, rules, node, shape, scratch);
  const start = state.gpuStart[node] ?? 0;
  const isJudged = scratch.candidateCount > 0 || scratch.failures.some((count) => count > 0);
  const gpus = Array.from({ length: state.gpuCount[node] ?? 0 }, (_, position): GpuExplanation => {
    const at = start + position;
    return {
      index: state.gpuIndex[at] ?? 0,
      uuid: state.gpuUuid[at] ?? '',
      model: state.models.modelName(state.gpuModel[at] ?? 0),
      reason: reasonName(isJudged ? (scratch.reasonOf[position] ?? FITS) : reason),
      freeSlices: state.gpuFree[at] ?? 0,
      slices: state.gpuCapacity[at] ?? 0,
      freeCorePercent: state.gpuFreeCore[at] ?? 0,
      onlinePods: state.gpuOnline[at] ?? 0,
      batchPods: state.gpuBatch[at] ?? 0,
    };
  });
  const why = state.closedWhy[node] ?? '';
  const head = {
    node: state.nodeNames[node] ?? '',
    reason: reasonName(reason),
    text: why === '' ? reasonText(reason, shape.request) : `${reasonText(reason, shape.request)} (${why})`,
    preemptionCanHelp: reason !== FITS && isResolvable(reason),
    isolation: ISOLATION_LEVELS[state.nodeIsolation[node] ?? 0] ?? 'none',
    gpus,
  };
  const placing = engine.place(shape, node);
  if (placing.kind === 'rejected') return head;
  return {
    ...head,
    score: placing.score,
    terms: engine.lastTerms(shape.policy),
    chosenGpus: placing.gpus.map(({ index }) => index),
  };
}

/** The explanation as a table for a terminal. */
export function renderExplanation({ policy, asks, summary, nodes }: Explanation): string {
  const lines = [
    `asks ${asks.gpuCount} x ${asks.slicesPerGpu} slices${asks.corePerGpu > 0 ? ` and ${asks.corePerGpu}% compute` : ''}, class ${asks.class}${asks.isolation === 'none' ? '' : `, isolation ${asks.isolation}`}, policy ${policy}`,
    summary,
    '',
  ];
  const width = Math.max(4, ...nodes.map(({ node }) => node.length));
  for (const { node, score, terms, chosenGpus, text, gpus } of nodes) {
    const verdict =
      score === undefined
        ? text
        : `score ${score} on GPU ${(chosenGpus ?? []).join(',')} (${Object.entries(terms ?? {})
            .map(([name, value]) => `${name} ${Number(value.toFixed(3))}`)
            .join(', ')})`;
    lines.push(`${node.padEnd(width)}  ${verdict}`);
    for (const gpu of gpus) {
      lines.push(
        `${''.padEnd(width)}    GPU ${gpu.index} ${gpu.model}: ${gpu.freeSlices}/${gpu.slices} slices free, ${gpu.freeCorePercent}% compute free, ${gpu.onlinePods} online, ${gpu.batchPods} batch: ${gpu.reason}`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}
