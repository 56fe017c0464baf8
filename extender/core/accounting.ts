// Writes one node's columns: its inventory, and its usage recounted from the pods on it. Usage is never adjusted by
// differences, so it cannot leak, underflow or depend on the order of events. Called by the ledger only.

import type { GpuKey, Resident } from './resident.ts';
import { isolationRank, type NodeRecord, type PodRequest } from './model.ts';
import { NODE_CLOSED, NODE_OPEN, NODE_WITHOUT_GPUS, type ClusterState } from './state.ts';

const CORE_PERCENT = 100;
/** Columns hold 32 bits, and a pod may ask for more: past this a sum stays where it is, far beyond any capacity. */
const FAR_OUT: number = 2 ** 30;
const NO_RESIDENTS: ReadonlySet<Resident> = new Set();

/** Batch work of several GPUs or of a gang: one evicted member idles the others, so it is kept off online GPUs. */
export function staysApart(request: PodRequest): boolean {
  return request.class === 'batch' && (request.gpuCount > 1 || request.gang);
}

/** Positions of GPUs in a node's range, by UUID, or by index for GPUs named without one; -1 where it has none such. */
export function locateGpus(state: ClusterState, index: number, gpus: readonly GpuKey[]): readonly number[] {
  const start = state.gpuStart[index] ?? 0;
  const count = state.gpuCount[index] ?? 0;
  return gpus.map((key) => {
    for (let position = 0; position < count; position++) {
      const at = start + position;
      if (key.uuid === '' ? state.gpuIndex[at] === key.index : state.gpuUuid[at] === key.uuid) return position;
    }
    return -1;
  });
}

/** Writes the GPUs of a node as reported, less those whose index is marked unhealthy from outside. */
export function writeInventory(
  state: ClusterState,
  index: number,
  node: NodeRecord,
  markedUnhealthy: ReadonlySet<number>,
): void {
  const gpus = node.gpus.kind === 'inventory' ? node.gpus.inventory.gpus : [];
  state.resizeGpus(index, gpus.length);
  const start = state.gpuStart[index] ?? 0;
  gpus.forEach((gpu, position) => {
    const at = start + position;
    state.gpuCapacity[at] = gpu.slices;
    state.gpuModel[at] = state.models.modelId(gpu.model);
    state.gpuHealthy[at] = gpu.health === 'healthy' && !markedUnhealthy.has(gpu.index) ? 1 : 0;
    state.gpuNuma[at] = gpu.numa;
    state.gpuUuid[at] = gpu.uuid;
    state.gpuIndex[at] = gpu.index;
  });
  state.nodeIsolation[index] = isolationRank(node.gpus.kind === 'inventory' ? node.gpus.inventory.isolation : 'none');
  const links = node.gpus.kind === 'inventory' ? node.gpus.inventory.links : [];
  state.links[index] = links.length > 0 ? Int32Array.from(links.flat()) : undefined;
}

/** Recomputes every usage column of a node, decides whether it is open, and enters it in the journal. */
export function recountNode(
  state: ClusterState,
  index: number,
  node: NodeRecord,
  residents: ReadonlySet<Resident> = NO_RESIDENTS,
): void {
  clearUsage(state, index);
  let cpuMilli = node.allocatable.cpuMilli;
  let memoryMiB = node.allocatable.memoryMiB;
  let trouble = '';
  let hasUnplaced = false;
  for (const resident of residents) {
    cpuMilli -= resident.pod.host.cpuMilli;
    memoryMiB -= resident.pod.host.memoryMiB;
    if (resident.request === undefined) continue;
    if (resident.gpus.length === 0) hasUnplaced = true;
    trouble = charge(state, index, resident, resident.request) ?? trouble;
  }
  state.cpuFreeMilli[index] = cpuMilli;
  state.memoryFreeMiB[index] = memoryMiB;
  const overdrawn = saturate(state, index);
  // Shares held back on every GPU may exceed one GPU without any GPU being over its capacity.
  if (trouble === '' && overdrawn >= 0 && !hasUnplaced) {
    trouble = `GPU ${state.gpuUuid[overdrawn] ?? ''} is granted beyond its capacity`;
  }
  const why = node.gpus.kind === 'closed' ? node.gpus.why : trouble;
  state.closedWhy[index] = why;
  state.nodeKind[index] = why !== '' ? NODE_CLOSED : node.gpus.kind === 'none' ? NODE_WITHOUT_GPUS : NODE_OPEN;
  state.mark(index);
}

function clearUsage(state: ClusterState, index: number): void {
  const start = state.gpuStart[index] ?? 0;
  const end = start + (state.gpuCount[index] ?? 0);
  for (let at = start; at < end; at++) state.gpuFree[at] = state.gpuCapacity[at] ?? 0;
  state.gpuFreeCore.fill(CORE_PERCENT, start, end);
  state.gpuSharers.fill(0, start, end);
  state.gpuOnline.fill(0, start, end);
  state.gpuBatch.fill(0, start, end);
  state.gpuBatchSlices.fill(0, start, end);
  state.gpuBatchApart.fill(0, start, end);
}

/** Counts one pod on its GPUs; returns why the node must close, if it must. */
function charge(state: ClusterState, index: number, resident: Resident, request: PodRequest): string | undefined {
  const start = state.gpuStart[index] ?? 0;
  if (resident.gpus.length === 0) {
    // It runs on a GPU we do not know: its share is held back on every GPU until it is gone.
    const count = state.gpuCount[index] ?? 0;
    for (let at = start; at < start + count; at++) chargeGpu(state, at, request);
    return undefined;
  }
  let trouble: string | undefined;
  for (let each = 0; each < resident.positions.length; each++) {
    const position = resident.positions[each] ?? -1;
    if (position >= 0) chargeGpu(state, start + position, request);
    else {
      const { namespace, name } = resident.pod;
      trouble = `GPU ${resident.gpus[each]?.uuid ?? ''} vanished while pod ${namespace}/${name} holds it`;
    }
  }
  return trouble;
}

function chargeGpu(state: ClusterState, at: number, request: PodRequest): void {
  state.gpuFree[at] = Math.max(-FAR_OUT, (state.gpuFree[at] ?? 0) - request.slicesPerGpu);
  state.gpuFreeCore[at] = (state.gpuFreeCore[at] ?? 0) - request.corePerGpu;
  if (request.corePerGpu === 0) state.gpuSharers[at] = (state.gpuSharers[at] ?? 0) + 1;
  if (request.class === 'online') state.gpuOnline[at] = (state.gpuOnline[at] ?? 0) + 1;
  else {
    state.gpuBatch[at] = (state.gpuBatch[at] ?? 0) + 1;
    state.gpuBatchSlices[at] = Math.min(FAR_OUT, (state.gpuBatchSlices[at] ?? 0) + request.slicesPerGpu);
    if (staysApart(request)) state.gpuBatchApart[at] = (state.gpuBatchApart[at] ?? 0) + 1;
  }
}

/** Raises negative free amounts to zero; returns the slot of a GPU that had one, or -1. */
function saturate(state: ClusterState, index: number): number {
  const start = state.gpuStart[index] ?? 0;
  const end = start + (state.gpuCount[index] ?? 0);
  let overdrawn = -1;
  for (let at = start; at < end; at++) {
    const slices = state.gpuFree[at] ?? 0;
    const core = state.gpuFreeCore[at] ?? 0;
    if (slices >= 0 && core >= 0) continue;
    overdrawn = at;
    state.gpuFree[at] = Math.max(0, slices);
    state.gpuFreeCore[at] = Math.max(0, core);
  }
  return overdrawn;
}
