// What a Binding writes on the pod: our allocation, and in the gpushare profile gpushare's annotations beside it.

import { encodeAllocation, encodeGpushareAllocation } from '../core/allocation-codec.ts';
import type { Engine } from '../core/engine.ts';
import type { GpuKey } from '../core/resident.ts';
import type { StringMap } from '../core/manifest.ts';
import type { Allocation, PodRequest } from '../core/model.ts';
import { ALLOCATION_ANNOTATION, type Profile } from '../core/resources.ts';
import type { Clock } from './ports.ts';

const NANOS_PER_MILLI = 1_000_000n;

export function allocationAnnotations(
  { engine, profile, clock }: { readonly engine: Engine; readonly profile: Profile; readonly clock: Clock },
  nodeName: string,
  {
    allocation,
    gpus,
    request,
  }: { readonly allocation: Allocation; readonly gpus: readonly GpuKey[]; readonly request: PodRequest },
): StringMap {
  const ours = { [ALLOCATION_ANNOTATION]: encodeAllocation(allocation) };
  if (profile.name === 'gpuloom') return ours;
  const { state } = engine.ledger;
  const node = state.indexOf(nodeName) ?? -1;
  const start = state.gpuStart[node] ?? 0;
  const count = state.gpuCount[node] ?? 0;
  let gpuSlices = 0;
  for (let at = start; at < start + count; at++) {
    if (state.gpuIndex[at] === gpus[0]?.index) gpuSlices = state.gpuCapacity[at] ?? 0;
  }
  const gpushare = encodeGpushareAllocation(allocation, {
    podSlices: request.slicesPerGpu * request.gpuCount,
    gpuSlices,
    assumeTimeNanos: BigInt(Math.trunc(clock.wallMillis())) * NANOS_PER_MILLI,
  });
  return { ...gpushare, ...ours };
}
