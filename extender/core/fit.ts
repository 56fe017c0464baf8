// Whether a node can host a shape, GPU by GPU, and which GPUs are candidates. Pure reads; no allocation.
// The rules are in the order of the reason codes: the first that leaves too few GPUs is the node's reason.

import type { Ledger } from './ledger.ts';
import { staysApart } from './accounting.ts';
import type { GpuLimits } from './limits.ts';
import { MAX_GPUS_PER_NODE } from './inventory-codec.ts';
import type { PodRequest } from './model.ts';
import { FITS, REASON, REASON_COUNT } from './reasons.ts';
import { termMatches } from './selector.ts';
import type { Shape } from './shape.ts';
import { NODE_ABSENT, NODE_CLOSED, NODE_WITHOUT_GPUS, type ClusterState } from './state.ts';

export interface FitRules {
  readonly limits: GpuLimits;
  /** Check CPU and memory too. kube-scheduler does that itself; the simulator has no one else to do it. */
  readonly checksHost: boolean;
}

/** Work space of one evaluation, allocated once. Positions are relative to the node's first GPU. */
export class FitScratch {
  readonly candidates: Int32Array = new Int32Array(MAX_GPUS_PER_NODE);
  candidateCount = 0;
  /** How well the candidates meet the pod's soft affinity: pods sought minus pods avoided. */
  preference = 0;
  readonly reasonOf: Uint8Array = new Uint8Array(MAX_GPUS_PER_NODE);
  readonly preferenceOf: Int32Array = new Int32Array(MAX_GPUS_PER_NODE);
  readonly failures: Int32Array = new Int32Array(REASON_COUNT);
}

/** Fills `scratch` with the GPUs of the node that can take the shape; returns `FITS` or the reason code. */
export function fit(ledger: Ledger, rules: FitRules, node: number, shape: Shape, scratch: FitScratch): number {
  const { state } = ledger;
  const { request } = shape;
  scratch.candidateCount = 0;
  scratch.preference = 0;
  const kind = state.nodeKind[node];
  if (kind === NODE_ABSENT) return REASON.nodeUnknown;
  if (kind === NODE_CLOSED) return REASON.nodeClosed;
  if (rules.checksHost && !hostFits(state, node, request)) return REASON.hostResources;
  if (request.gpuCount === 0) return FITS;
  const count = state.gpuCount[node] ?? 0;
  if (kind === NODE_WITHOUT_GPUS || count === 0) return REASON.notAGpuNode;
  if (count < request.gpuCount) return REASON.tooFewGpus;
  if ((state.nodeIsolation[node] ?? 0) < shape.isolationRank) return REASON.isolation;
  scratch.failures.fill(0);
  for (let position = 0; position < count; position++) {
    const reason = gpuReason(ledger, rules.limits, node, position, shape, scratch);
    scratch.reasonOf[position] = reason;
    if (reason === FITS) scratch.candidates[scratch.candidateCount++] = position;
    else scratch.failures[reason] = (scratch.failures[reason] ?? 0) + 1;
  }
  if (scratch.candidateCount < request.gpuCount) return firstFailure(scratch, count, request.gpuCount);
  if (shape.readsPods) keepPreferred(scratch, request.gpuCount);
  return FITS;
}

function hostFits(state: ClusterState, node: number, request: PodRequest): boolean {
  return (
    (state.cpuFreeMilli[node] ?? 0) >= request.host.cpuMilli &&
    (state.memoryFreeMiB[node] ?? 0) >= request.host.memoryMiB
  );
}

function gpuReason(
  ledger: Ledger,
  limits: GpuLimits,
  node: number,
  position: number,
  shape: Shape,
  scratch: FitScratch,
): number {
  const { state } = ledger;
  const { request } = shape;
  const at = (state.gpuStart[node] ?? 0) + position;
  if (!state.models.admits(shape.constraintId, state.gpuModel[at] ?? 0)) return REASON.gpuModel;
  if (request.uuids.length > 0 && !request.uuids.includes(state.gpuUuid[at] ?? '')) return REASON.gpuUuid;
  if (state.gpuHealthy[at] !== 1) return REASON.gpuUnhealthy;
  if ((state.gpuCapacity[at] ?? 0) < request.slicesPerGpu) return REASON.gpuTooSmall;
  const neighbours = shape.readsPods ? readNeighbours(ledger, node, position, shape, scratch) : FITS;
  if (neighbours === REASON.gpuAffinity) return neighbours;
  if ((state.gpuFree[at] ?? 0) < request.slicesPerGpu) return REASON.gpuMemory;
  if (!coreFits(state, at, request.corePerGpu)) return REASON.gpuCore;
  const tenants = (state.gpuOnline[at] ?? 0) + (state.gpuBatch[at] ?? 0);
  if (tenants >= limits.podsPerGpu) return REASON.gpuTenants;
  if (!classFits(state, limits, at, request)) return REASON.coLocation;
  return neighbours;
}

/** A pod without a core request lives on what is left, so one percent is always left to such pods. */
function coreFits(state: ClusterState, at: number, core: number): boolean {
  const free = state.gpuFreeCore[at] ?? 0;
  return core === 0 ? free >= 1 : free - ((state.gpuSharers[at] ?? 0) > 0 ? 1 : 0) >= core;
}

/** The class rules hold whichever class comes first, so they are checked as the GPU would be with the pod on it. */
function classFits(state: ClusterState, limits: GpuLimits, at: number, request: PodRequest): boolean {
  const isBatch = request.class === 'batch';
  const online = (state.gpuOnline[at] ?? 0) + (isBatch ? 0 : 1);
  const batch = (state.gpuBatch[at] ?? 0) + (isBatch ? 1 : 0);
  if (batch === 0) return true;
  if (online === 0) return batch <= limits.batchPerGpu;
  const apart = (state.gpuBatchApart[at] ?? 0) + (staysApart(request) ? 1 : 0);
  const batchSlices = (state.gpuBatchSlices[at] ?? 0) + (isBatch ? request.slicesPerGpu : 0);
  return (
    apart === 0 &&
    batch <= limits.batchBesideOnline &&
    batchSlices * 100 <= (state.gpuCapacity[at] ?? 0) * limits.batchShareBesideOnlinePercent
  );
}

/** Affinity and anti-affinity against the pods on one GPU, in both directions; records the soft preference. */
function readNeighbours(ledger: Ledger, node: number, position: number, shape: Shape, scratch: FitScratch): number {
  const { required, forbidden, preferred, avoided } = shape.request.affinities;
  let isWanted = required === undefined || shape.startsGroup;
  let isRepelled = false;
  let preference = 0;
  for (const { pod, request, positions } of ledger.residentsOf(ledger.state.nodeNames[node] ?? '')) {
    if (request === undefined || !(positions.length === 0 || positions.includes(position))) continue;
    const { namespace, labels } = pod;
    if (!isWanted && required !== undefined && termMatches(required, namespace, labels)) isWanted = true;
    if (forbidden !== undefined && termMatches(forbidden, namespace, labels)) isRepelled = true;
    const carried = request.affinities.forbidden;
    if (carried !== undefined && shape.repelledBy.includes(carried.id)) isRepelled = true;
    if (preferred !== undefined && termMatches(preferred, namespace, labels)) preference++;
    if (avoided !== undefined && termMatches(avoided, namespace, labels)) preference--;
  }
  scratch.preferenceOf[position] = preference;
  if (!isWanted) return REASON.gpuAffinity;
  return isRepelled ? REASON.gpuAntiAffinity : FITS;
}

function firstFailure(scratch: FitScratch, gpus: number, needed: number): number {
  let left = gpus;
  for (let reason = 1; reason < REASON_COUNT; reason++) {
    left -= scratch.failures[reason] ?? 0;
    if (left < needed) return reason;
  }
  return REASON.gpuMemory;
}

/** Leaves only the candidates at or above the preference that the `needed`-th best GPU has. */
function keepPreferred(scratch: FitScratch, needed: number): void {
  const { candidates, preferenceOf } = scratch;
  const ranked = Array.from(candidates.subarray(0, scratch.candidateCount), (position) => preferenceOf[position] ?? 0);
  ranked.sort((a, b) => b - a);
  const threshold = ranked[needed - 1] ?? 0;
  let kept = 0;
  for (let each = 0; each < scratch.candidateCount; each++) {
    const position = candidates[each] ?? 0;
    if ((preferenceOf[position] ?? 0) >= threshold) candidates[kept++] = position;
  }
  scratch.candidateCount = kept;
  scratch.preference = ranked.slice(0, needed).reduce((sum, each) => sum + each, 0);
}
