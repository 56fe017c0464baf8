// Why a node cannot host a request. Reasons are values: a code per node in a typed array, text made once per shape.
// The order of codes is the order in which the rules are applied; the first that leaves too few GPUs is the reason.

import type { PodRequest } from './model.ts';

export const FITS = 0;

/** Code, stable name (metrics label), and whether preempting pods on the node could ever help. */
const RULES = [
  { name: 'Fits', resolvable: true },
  { name: 'NodeUnknown', resolvable: true },
  { name: 'NotAGpuNode', resolvable: false },
  { name: 'NodeClosed', resolvable: false },
  { name: 'HostResources', resolvable: true },
  { name: 'TooFewGpus', resolvable: false },
  { name: 'GpuModel', resolvable: false },
  { name: 'GpuUuid', resolvable: false },
  { name: 'GpuUnhealthy', resolvable: false },
  { name: 'GpuTooSmall', resolvable: false },
  { name: 'GpuAffinity', resolvable: false },
  { name: 'GpuMemory', resolvable: true },
  { name: 'GpuCore', resolvable: true },
  { name: 'GpuTenants', resolvable: true },
  { name: 'CoLocation', resolvable: true },
  { name: 'GpuAntiAffinity', resolvable: true },
] as const;

export type ReasonName = (typeof RULES)[number]['name'];

export const REASON = {
  nodeUnknown: 1,
  notAGpuNode: 2,
  nodeClosed: 3,
  hostResources: 4,
  tooFewGpus: 5,
  gpuModel: 6,
  gpuUuid: 7,
  gpuUnhealthy: 8,
  gpuTooSmall: 9,
  gpuAffinity: 10,
  gpuMemory: 11,
  gpuCore: 12,
  gpuTenants: 13,
  coLocation: 14,
  gpuAntiAffinity: 15,
} as const;

export const REASON_COUNT: number = RULES.length;

/** The stable name of a reason code, for metrics, Events and JSON. */
export function reasonName(code: number): ReasonName {
  return RULES[code]?.name ?? 'NodeUnknown';
}

/** False where no preemption on that node could make the pod fit. */
export function isResolvable(code: number): boolean {
  return RULES[code]?.resolvable ?? true;
}

/**
 * The short text of a reason for a request. The same for every node, so that kube-scheduler's
 * aggregate ("3 no GPU has 8 free slices, …") stays short and stable.
 */
export function reasonText(code: number, request: PodRequest): string {
  const { gpuCount, slicesPerGpu, corePerGpu } = request;
  const tooFew = (what: string): string =>
    gpuCount > 1
      ? `fewer than ${gpuCount} GPUs ${what}`
      : `no GPU ${what.replace(/^have /, 'has ').replace(/^are /, 'is ')}`;
  switch (reasonName(code)) {
    case 'Fits':
      return 'fits';
    case 'NodeUnknown':
      return 'node not known to gpuloom yet';
    case 'NotAGpuNode':
      return 'node reports no GPUs';
    case 'NodeClosed':
      return 'node closed: its GPU inventory needs attention';
    case 'HostResources':
      return 'insufficient CPU or memory';
    case 'TooFewGpus':
      return `fewer than ${gpuCount} GPUs`;
    case 'GpuModel':
      return tooFew('are of an admitted model');
    case 'GpuUuid':
      return tooFew('are among the named UUIDs');
    case 'GpuUnhealthy':
      return tooFew('are healthy');
    case 'GpuTooSmall':
      return tooFew(`are large enough for ${slicesPerGpu} slices`);
    case 'GpuAffinity':
      return tooFew('have a pod that the GPU affinity asks for');
    case 'GpuMemory':
      return tooFew(`have ${slicesPerGpu} free slices`);
    case 'GpuCore':
      return corePerGpu > 0 ? tooFew(`have ${corePerGpu} percent of free compute`) : tooFew('have any free compute');
    case 'GpuTenants':
      return tooFew('have room for another pod');
    case 'CoLocation':
      return tooFew('are open to another pod of this class');
    case 'GpuAntiAffinity':
      return tooFew('are free of pods that GPU anti-affinity keeps apart');
  }
}
