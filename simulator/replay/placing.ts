// Pods placed one after the other on the books of a what-if, as filter, prioritize and bind would, each on the node that
// the engine puts first. A pod that fits nowhere is refused with the engine's reasons at that moment.

import type { Engine } from '../../extender/core/engine.ts';
import { summarize } from '../../extender/core/explain.ts';
import type { PodRecord, PodRequest } from '../../extender/core/model.ts';
import { REASON_COUNT } from '../../extender/core/reasons.ts';
import { sameGpus, type GpuKey } from '../../extender/core/resident.ts';
import type { Shape } from '../../extender/core/shape.ts';
import { seededRandom, shuffled } from '../../extender/random.ts';
import { compareText, fullName, isGpuResident, type LiveCluster, type LiveResident } from './cluster.ts';

/** Why a pod is to be placed. */
export type Group =
  /** It runs, and is placed anew from empty. */
  | 'running'
  /** It runs on a node that is to be removed. */
  | 'drained'
  /** It waits. */
  | 'waiting'
  /** It is one of those to be added. */
  | 'added';

export interface Place {
  readonly nodeName: string;
  readonly gpus: readonly GpuKey[];
}

export interface Candidate {
  readonly pod: PodRecord;
  readonly request: PodRequest;
  readonly group: Group;
  /** Where it is at the moment; undefined where it has no place yet. */
  readonly today: Place | undefined;
}

export type Placed =
  | { readonly kind: 'placed'; readonly candidate: Candidate; readonly place: Place }
  | { readonly kind: 'refused'; readonly candidate: Candidate; readonly why: string };

export type Order =
  { readonly kind: 'creation' } | { readonly kind: 'size' } | { readonly kind: 'seed'; readonly seed: number };

/** Told now and then how many pods are done. */
export type Progress = (done: number, total: number) => void;

const PROGRESS_EVERY = 512;

export function orderName(order: Order): string {
  return order.kind === 'seed' ? `seed:${order.seed}` : order.kind;
}

/** Each pod that holds GPUs once, though a reservation of it may be set aside on another node. */
export function running(residents: readonly LiveResident[], group: Group): readonly Candidate[] {
  const byUid = new Map<string, Candidate>();
  for (const resident of residents) {
    if (!isGpuResident(resident)) continue;
    const { pod, request, nodeName, gpus } = resident;
    if (resident.uid === pod.uid || !byUid.has(pod.uid)) {
      byUid.set(pod.uid, { pod, request, group, today: { nodeName, gpus } });
    }
  }
  return [...byUid.values()];
}

/** Waiting pods with a valid request. */
export function waiting({ waiting: pods }: LiveCluster): readonly Candidate[] {
  return pods.flatMap((pod) =>
    pod.demand.kind === 'request'
      ? [{ pod, request: pod.demand.request, group: 'waiting' as const, today: undefined }]
      : [],
  );
}

/** Oldest first, or biggest first and then oldest, or shuffled by a seed. The order of the input leaves no trace. */
export function inOrder(candidates: readonly Candidate[], order: Order): readonly Candidate[] {
  const byAge = [...candidates].sort(
    (a, b) =>
      (a.pod.createdSeconds ?? 0) - (b.pod.createdSeconds ?? 0) ||
      compareText(fullName(a.pod), fullName(b.pod)) ||
      compareText(a.pod.uid, b.pod.uid),
  );
  switch (order.kind) {
    case 'creation':
      return byAge;
    case 'size':
      return byAge.sort(
        (a, b) =>
          b.request.gpuCount * b.request.slicesPerGpu - a.request.gpuCount * a.request.slicesPerGpu ||
          b.request.gpuCount - a.request.gpuCount ||
          b.request.corePerGpu - a.request.corePerGpu,
      );
    case 'seed':
      return shuffled(byAge, seededRandom(order.seed, 'replay'));
  }
}

/** Places the pods in the order given. */
export function placeAll(engine: Engine, candidates: readonly Candidate[], progress: Progress): readonly Placed[] {
  return candidates.map((candidate, at) => {
    if (at % PROGRESS_EVERY === 0) progress(at, candidates.length);
    return placeOne(engine, candidate);
  });
}

export function placeOne(engine: Engine, candidate: Candidate): Placed {
  const { ledger } = engine;
  const { pod, request } = candidate;
  const shape = engine.shapeOf(request, pod.namespace, pod.labels);
  const node = engine.bestNode(shape);
  const placing = node < 0 ? undefined : engine.place(shape, node);
  if (placing?.kind !== 'placed') return { kind: 'refused', candidate, why: whyRefused(engine, shape) };
  const nodeName = ledger.state.nodeNames[node] ?? '';
  ledger.assume(pod, request, nodeName, placing.gpus, 0);
  return { kind: 'placed', candidate, place: { nodeName, gpus: placing.gpus } };
}

/** The sentence that the extender puts into the pod's event. */
function whyRefused(engine: Engine, shape: Shape): string {
  const { reasons } = engine.verdicts(shape);
  const nodesByReason = new Int32Array(REASON_COUNT);
  for (const node of engine.ledger.state.nodeIndices()) {
    const reason = reasons[node] ?? 0;
    nodesByReason[reason] = (nodesByReason[reason] ?? 0) + 1;
  }
  return summarize(nodesByReason, shape);
}

/** Whether a pod would have to be stopped and started elsewhere. */
export function isMoved({ candidate, place }: Extract<Placed, { kind: 'placed' }>): boolean {
  const { today } = candidate;
  return today !== undefined && !samePlace(today, place);
}

function samePlace(a: Place, b: Place): boolean {
  return a.nodeName === b.nodeName && sameGpus(a.gpus, b.gpus);
}
