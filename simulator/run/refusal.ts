// Why a pod was refused, for the whole cluster in one word: what was short on the node that came closest to hosting it.
// The engine's reasons are per node and name the first rule that failed; here the question is what the cluster lacked.

import type { Engine } from '../../extender/core/engine.ts';
import type { PodRequest } from '../../extender/core/model.ts';
import { FITS, isResolvable, REASON } from '../../extender/core/reasons.ts';
import type { ClusterState } from '../../extender/core/state.ts';

/** From the nearest miss to the farthest. */
export const REFUSAL_REASONS = ['unseen', 'memory', 'cpu', 'split', 'full', 'never'] as const;
export type RefusalReason =
  /** A node could host it, but the scheduler did not look at that node. */
  | 'unseen'
  /** A node has the GPUs and the CPU, but not the memory. */
  | 'memory'
  /** A node has the GPUs, but not the CPU. Of CPU-only pods: no node has the CPU. */
  | 'cpu'
  /** No node has such GPUs; one has as much free in all, spread over its GPUs. */
  | 'split'
  /** No node has as much free. */
  | 'full'
  /** No node has so many GPUs of an admissible model, free or not. */
  | 'never';

export type RefusalCounts = Readonly<Record<RefusalReason, number>>;

const NO_LABELS = {};

/** For a pod that fits on no node. Pure in the state of the engine. */
export function refusalReason(engine: Engine, request: PodRequest): Exclude<RefusalReason, 'unseen'> {
  const { state } = engine.ledger;
  const { reasons } = engine.verdicts(engine.shapeOf(request, '', NO_LABELS));
  const constraint = state.models.constraintId(request.models);
  let nearest: 'memory' | 'cpu' | 'split' | 'full' | 'never' = 'never';
  for (let node = 0; node < state.nodeSlots; node++) {
    const reason = reasons[node] ?? FITS;
    if (!isResolvable(reason)) continue;
    // CPU and memory are judged first, so a node that lacks them may also lack GPUs, or be of the wrong kind.
    const isShort = reason === REASON.hostResources;
    const room = gpuRoom(state, node, request, constraint);
    if (isShort && room === 'enough') {
      if ((state.cpuFreeMilli[node] ?? 0) >= request.host.cpuMilli) return 'memory';
      nearest = 'cpu';
    } else if (nearest !== 'cpu' && room === 'split') nearest = 'split';
    else if (nearest === 'never' && room === 'full') nearest = 'full';
  }
  return nearest;
}

/** What the node's GPUs have for the request, whatever its CPU; `none` where it never has. */
function gpuRoom(
  state: ClusterState,
  node: number,
  { gpuCount, slicesPerGpu }: PodRequest,
  constraint: number,
): 'enough' | 'split' | 'full' | 'none' {
  if (gpuCount === 0) return 'enough';
  const count = state.gpuCount[node] ?? 0;
  const start = state.gpuStart[node] ?? 0;
  // All GPUs of a simulated node are of one model.
  if (count < gpuCount || !state.models.admits(constraint, state.gpuModel[start] ?? -1)) return 'none';
  let fitting = 0;
  let free = 0;
  for (let gpu = start; gpu < start + count; gpu++) {
    const room = state.gpuFree[gpu] ?? 0;
    free += room;
    if (room >= slicesPerGpu && ++fitting >= gpuCount) return 'enough';
  }
  return free >= gpuCount * slicesPerGpu ? 'split' : 'full';
}
