// How full a cluster is and how much of what is free can be used, in slices and GPUs.

import type { Engine } from '../../extender/core/engine.ts';
import { fit, FitScratch } from '../../extender/core/fit.ts';
import type { MixClass } from '../../extender/core/mix.ts';
import type { ModelCatalog } from '../../extender/core/model-catalog.ts';
import type { PodRequest, WorkloadClass } from '../../extender/core/model.ts';
import { FITS } from '../../extender/core/reasons.ts';
import { NODE_CLOSED, NODE_OPEN, type ClusterState } from '../../extender/core/state.ts';

export interface Occupancy {
  /** Nodes with GPUs; of those, the ones that take no pods until something is mended. */
  readonly gpuNodes: number;
  readonly closedNodes: number;
  readonly nodesWithoutGpus: number;
  readonly gpus: number;
  readonly unhealthyGpus: number;
  /** Healthy GPUs of open nodes with nothing on them. */
  readonly idleGpus: number;
  /** Of all GPUs, those out of service too. */
  readonly slices: number;
  /** Slices of GPUs that pods are known to hold. */
  readonly allocatedSlices: number;
  readonly allocationPercent: number;
  /** Free slices of healthy GPUs on open nodes. */
  readonly freeSlices: number;
  /**
   * Free slices that the average typical request cannot use, by all rules of the engine, whether it is online or batch.
   * Undefined, as the two below, where no request is typical.
   */
  readonly strandedSlices: number | undefined;
  /** The idle GPUs that the average typical request cannot use: F of FGD (USENIX ATC'23, section 4.1). */
  readonly fragmentationGpus: number | undefined;
  readonly fragmentationPercent: number | undefined;
}

const CLASSES: readonly WorkloadClass[] = ['online', 'batch'];
const ANY_AFFINITY = { required: undefined, forbidden: undefined, preferred: undefined, avoided: undefined };

/** Measured against the mix that the engine has in use. */
export function occupancyOf(engine: Engine): Occupancy {
  const { ledger } = engine;
  const { state } = ledger;
  const usableShare = usableShares(engine);
  const isMeasured = usableShare !== undefined;
  let fragmentedMilli = 0;
  const nodes = { open: 0, closed: 0, withoutGpus: 0 };
  const gpus = { all: 0, unhealthy: 0, idle: 0 };
  const slices = { all: 0, free: 0, stranded: 0 };
  for (const node of namedOrder(state)) {
    const kind = state.nodeKind[node];
    if (kind === NODE_CLOSED) nodes.closed++;
    else if ((state.gpuCount[node] ?? 0) > 0) nodes.open++;
    else nodes.withoutGpus++;
    fragmentedMilli += engine.fragmentedMilli(node);
    const start = state.gpuStart[node] ?? 0;
    for (let at = start; at < start + (state.gpuCount[node] ?? 0); at++) {
      const capacity = state.gpuCapacity[at] ?? 0;
      gpus.all++;
      slices.all += capacity;
      if (state.gpuHealthy[at] !== 1) gpus.unhealthy++;
      else if (kind === NODE_OPEN) {
        const free = state.gpuFree[at] ?? 0;
        slices.free += free;
        if ((state.gpuOnline[at] ?? 0) + (state.gpuBatch[at] ?? 0) === 0) gpus.idle++;
        slices.stranded += free * (1 - (usableShare?.[at] ?? 0));
      }
    }
  }
  const allocatedSlices = allocated(engine);
  return {
    gpuNodes: nodes.open + nodes.closed,
    closedNodes: nodes.closed,
    nodesWithoutGpus: nodes.withoutGpus,
    gpus: gpus.all,
    unhealthyGpus: gpus.unhealthy,
    idleGpus: gpus.idle,
    slices: slices.all,
    allocatedSlices,
    allocationPercent: percent(allocatedSlices, slices.all),
    freeSlices: slices.free,
    strandedSlices: isMeasured ? Math.round(slices.stranded * 10) / 10 : undefined,
    fragmentationGpus: isMeasured ? Math.round(fragmentedMilli) / 1000 : undefined,
    fragmentationPercent: isMeasured ? percent(fragmentedMilli, gpus.all * 1000) : undefined,
  };
}

/** Two digits after the point; 0 of nothing is 0. */
export function percent(part: number, all: number): number {
  return all === 0 ? 0 : Math.round((part / all) * 10_000) / 100;
}

/** Sums of fractions depend on their order, so it is never that of the input. */
function namedOrder(state: ClusterState): readonly number[] {
  const ranks = state.nameRanks();
  return [...state.nodeIndices()].sort((a, b) => (ranks[a] ?? 0) - (ranks[b] ?? 0));
}

function allocated({ ledger }: Engine): number {
  let slices = 0;
  for (const { request, positions } of ledger.residents()) {
    if (request !== undefined) slices += request.slicesPerGpu * positions.filter((at) => at >= 0).length;
  }
  return slices;
}

/** By GPU slot: the share of typical GPU requests that find it open to them, on a node that can take them. */
function usableShares(engine: Engine): Float64Array | undefined {
  const { mix } = engine;
  const { state } = engine.ledger;
  const rows = Array.from({ length: mix.length }, (_, at) => at).filter((at) => (mix.slices[at] ?? 0) > 0);
  const total = rows.reduce((sum, at) => sum + (mix.share[at] ?? 0), 0);
  if (total === 0) return undefined;
  const shares = new Float64Array(state.gpuSlots);
  const open = new Uint8Array(state.gpuSlots);
  const scratch = new FitScratch();
  for (const at of rows) {
    open.fill(0);
    for (const className of CLASSES)
      markOpen(engine, typicalRequest(mix.row(at), className, state.models), open, scratch);
    const share = (mix.share[at] ?? 0) / total;
    for (let slot = 0; slot < open.length; slot++) if (open[slot] === 1) shares[slot] = (shares[slot] ?? 0) + share;
  }
  return shares;
}

function markOpen(engine: Engine, request: PodRequest, open: Uint8Array, scratch: FitScratch): void {
  const { ledger, rules } = engine;
  const { state } = ledger;
  const shape = engine.shapeOf(request, '', {});
  for (const node of state.nodeIndices()) {
    if (fit(ledger, rules, node, shape, scratch) !== FITS) continue;
    const start = state.gpuStart[node] ?? 0;
    for (let position = 0; position < (state.gpuCount[node] ?? 0); position++) {
      if (scratch.reasonOf[position] === FITS) open[start + position] = 1;
    }
  }
}

function typicalRequest(row: MixClass, className: WorkloadClass, models: ModelCatalog): PodRequest {
  return {
    gpuCount: row.gpuCount,
    slicesPerGpu: row.slicesPerGpu,
    corePerGpu: row.corePerGpu,
    containers: [],
    class: className,
    gang: false,
    models: models.constraint(row.constraintId),
    uuids: [],
    affinities: ANY_AFFINITY,
    policy: undefined,
    isolation: 'none',
    host: { cpuMilli: row.cpuMilli, memoryMiB: 0 },
    hasSoftPreferences: false,
  };
}
