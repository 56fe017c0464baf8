// Why a node cannot host a request. Reasons are values: a code per node in a typed array, text made once per shape.
// The order of codes is the order in which the rules are applied; the first that leaves too few GPUs is the reason.

import type { PodRequest } from './model.ts';
import { POD_ANNOTATIONS } from './resources.ts';

export const FITS = 0;

/** Stable names, used as metrics labels and in JSON. */
export type ReasonName =
  | 'Fits'
  | 'NodeUnknown'
  | 'NotAGpuNode'
  | 'NodeClosed'
  | 'HostResources'
  | 'TooFewGpus'
  | 'Isolation'
  | 'GpuModel'
  | 'GpuUuid'
  | 'GpuUnhealthy'
  | 'GpuTooSmall'
  | 'GpuAffinity'
  | 'GpuMemory'
  | 'GpuCore'
  | 'GpuTenants'
  | 'CoLocation'
  | 'GpuAntiAffinity';

interface Rule {
  readonly name: ReasonName;
  /** Whether preempting pods on the node could ever help. */
  readonly resolvable: boolean;
  readonly text: (request: PodRequest) => string;
}

/** "no GPU has 8 free slices", or "fewer than 2 GPUs have 8 free slices" for a pod of two. */
function gpusThat(
  singular: string,
  plural: string,
  rest: (request: PodRequest) => string,
): (request: PodRequest) => string {
  return (request) =>
    request.gpuCount > 1
      ? `fewer than ${request.gpuCount} GPUs ${plural} ${rest(request)}`
      : `no GPU ${singular} ${rest(request)}`;
}

const RULES: readonly Rule[] = [
  { name: 'Fits', resolvable: true, text: () => 'fits' },
  { name: 'NodeUnknown', resolvable: true, text: () => 'node not known to gpuloom yet' },
  { name: 'NotAGpuNode', resolvable: false, text: () => 'node reports no GPUs' },
  { name: 'NodeClosed', resolvable: false, text: () => 'node closed: its GPU inventory needs attention' },
  { name: 'HostResources', resolvable: true, text: () => 'insufficient CPU or memory' },
  { name: 'TooFewGpus', resolvable: false, text: ({ gpuCount }) => `fewer than ${gpuCount} GPUs` },
  {
    name: 'Isolation',
    resolvable: false,
    text: ({ isolation }) =>
      `node without isolation ${isolation}: set isolation: ${isolation} for its agent and see that its MPS daemon runs, or drop ${POD_ANNOTATIONS.isolation}`,
  },
  { name: 'GpuModel', resolvable: false, text: gpusThat('is', 'are', () => 'of an admitted model') },
  { name: 'GpuUuid', resolvable: false, text: gpusThat('is', 'are', () => 'among the named UUIDs') },
  { name: 'GpuUnhealthy', resolvable: false, text: gpusThat('is', 'are', () => 'healthy') },
  {
    name: 'GpuTooSmall',
    resolvable: false,
    text: gpusThat('is', 'are', ({ slicesPerGpu }) => `large enough for ${slicesPerGpu} slices`),
  },
  {
    name: 'GpuAffinity',
    resolvable: false,
    text: gpusThat('has', 'have', () => 'a pod that the GPU affinity asks for'),
  },
  {
    name: 'GpuMemory',
    resolvable: true,
    text: gpusThat('has', 'have', ({ slicesPerGpu }) => `${slicesPerGpu} free slices`),
  },
  {
    name: 'GpuCore',
    resolvable: true,
    text: gpusThat('has', 'have', ({ corePerGpu }) => `${Math.max(1, corePerGpu)} percent of free compute`),
  },
  { name: 'GpuTenants', resolvable: true, text: gpusThat('has', 'have', () => 'room for another pod') },
  { name: 'CoLocation', resolvable: true, text: gpusThat('is', 'are', () => 'open to another pod of this class') },
  {
    name: 'GpuAntiAffinity',
    resolvable: true,
    text: gpusThat('is', 'are', () => 'free of pods that GPU anti-affinity keeps apart'),
  },
];

export const REASON = {
  nodeUnknown: 1,
  notAGpuNode: 2,
  nodeClosed: 3,
  hostResources: 4,
  tooFewGpus: 5,
  isolation: 6,
  gpuModel: 7,
  gpuUuid: 8,
  gpuUnhealthy: 9,
  gpuTooSmall: 10,
  gpuAffinity: 11,
  gpuMemory: 12,
  gpuCore: 13,
  gpuTenants: 14,
  coLocation: 15,
  gpuAntiAffinity: 16,
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
  return RULES[code]?.text(request) ?? reasonName(code);
}
