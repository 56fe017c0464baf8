// Why a pod was refused, for the whole cluster in one word: why most of the GPU capacity that was idle was of no use to it.
// The engine's reasons are per node and name the first rule that failed, which says little about a cluster.

import type { Engine } from '../../extender/core/engine.ts';
import type { PodRequest } from '../../extender/core/model.ts';
import { FITS, isResolvable } from '../../extender/core/reasons.ts';

export const REFUSAL_REASONS = ['unseen', 'memory', 'cpu', 'split', 'full', 'never'] as const;
export type RefusalReason =
  /** A node could host it, but the scheduler did not look at that node. */
  | 'unseen'
  /** Most idle capacity is on nodes that have the GPUs and the CPU, but not the memory. */
  | 'memory'
  /** … on nodes that have the GPUs, but not the CPU. */
  | 'cpu'
  /** … on GPUs with less free than the pod asks of one, or on nodes with fewer such GPUs than it asks for. */
  | 'split'
  /** Less is idle on all admissible nodes together than the pod asks for. */
  | 'full'
  /** No node has so many GPUs of an admissible model, free or not. */
  | 'never';

export type RefusalCounts = Readonly<Record<RefusalReason, number>>;

const NO_LABELS = {};
/** Node changes after which a request is judged anew: a small part of the cluster, and far fewer judgements. */
const HOLDS_FOR_PART_OF_NODES = 0.1;
const HOLDS_FOR_CHANGES = 16;

/** Judges refusals against the state of one engine. An answer holds until some nodes have changed. */
export class RefusalJudge {
  readonly #engine: Engine;
  readonly #known = new Map<PodRequest, { readonly generation: number; readonly reason: RefusalReason }>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** For a pod that fits on no node. */
  reason(request: PodRequest): RefusalReason {
    const { generation, nodeSlots } = this.#engine.ledger.state;
    const holdsFor = Math.max(HOLDS_FOR_CHANGES, nodeSlots * HOLDS_FOR_PART_OF_NODES);
    const known = this.#known.get(request);
    if (known !== undefined && generation - known.generation < holdsFor) return known.reason;
    const reason = request.gpuCount === 0 ? this.#hostReason(request) : this.#gpuReason(request);
    this.#known.set(request, { generation, reason });
    return reason;
  }

  /** Of a CPU-only pod, to which GPUs do not matter: by the number of nodes. */
  #hostReason({ host }: PodRequest): RefusalReason {
    const { nodeSlots, cpuFreeMilli } = this.#engine.ledger.state;
    let shortOfCpu = 0;
    for (let node = 0; node < nodeSlots; node++) if ((cpuFreeMilli[node] ?? 0) < host.cpuMilli) shortOfCpu++;
    return shortOfCpu * 2 >= nodeSlots ? 'cpu' : 'memory';
  }

  #gpuReason(request: PodRequest): RefusalReason {
    const { isAnywhere, split, cpu, memory } = this.#idleBy(request);
    if (!isAnywhere) return 'never';
    if (split + cpu + memory < request.gpuCount * request.slicesPerGpu) return 'full';
    if (split > cpu + memory) return 'split';
    return memory > cpu ? 'memory' : 'cpu';
  }

  /** Idle milli of the nodes that could host the pod if they were empty, by what each of them lacks. */
  #idleBy(request: PodRequest): { isAnywhere: boolean; split: number; cpu: number; memory: number } {
    const { state } = this.#engine.ledger;
    const { gpuCount, slicesPerGpu, host } = request;
    const { reasons } = this.#engine.verdicts(this.#engine.shapeOf(request, '', NO_LABELS));
    const constraint = state.models.constraintId(request.models);
    // Plain locals: this runs over every GPU for many refusals.
    const { nodeSlots, gpuStart, gpuCount: gpusOf, gpuFree, gpuModel, cpuFreeMilli, models } = state;
    const idle = { isAnywhere: false, split: 0, cpu: 0, memory: 0 };
    for (let node = 0; node < nodeSlots; node++) {
      const start = gpuStart[node] ?? 0;
      const end = start + (gpusOf[node] ?? 0);
      // All GPUs of a simulated node are of one model. A node that lacks CPU may also be of the wrong kind.
      if (end - start < gpuCount || !isResolvable(reasons[node] ?? FITS)) continue;
      if (!models.admits(constraint, gpuModel[start] ?? -1)) continue;
      idle.isAnywhere = true;
      let free = 0;
      let fitting = 0;
      for (let gpu = start; gpu < end; gpu++) {
        const room = gpuFree[gpu] ?? 0;
        free += room;
        if (room >= slicesPerGpu) fitting++;
      }
      if (fitting < gpuCount) idle.split += free;
      else if ((cpuFreeMilli[node] ?? 0) < host.cpuMilli) idle.cpu += free;
      else idle.memory += free;
    }
    return idle;
  }
}
