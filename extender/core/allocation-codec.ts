// The pod's allocation annotation, version 1, and gpushare's annotations of the same meaning.
// A claim read back says only which GPUs; amounts come from the pod's spec, so an edited annotation cannot shrink usage.

import { ownValue, type StringMap } from './manifest.ts';
import type { Allocation, AllocationClaim } from './model.ts';
import { gpuKey } from './resident.ts';
import { ALLOCATION_ANNOTATION, GPUSHARE_ANNOTATIONS } from './resources.ts';

export const ALLOCATION_VERSION: number = 1;
export const MAX_ALLOCATION_CHARACTERS: number = 64 * 1024;
const MAX_CLAIMED_GPUS = 64;

/** The annotation text for an allocation. */
export function encodeAllocation(allocation: Allocation): string {
  return JSON.stringify({ v: ALLOCATION_VERSION, containers: allocation.containers });
}

/** gpushare's five annotations and the container-level JSON its newer readers understand. */
export function encodeGpushareAllocation(
  allocation: Allocation,
  totals: { readonly podSlices: number; readonly gpuSlices: number; readonly assumeTimeNanos: bigint },
): StringMap {
  const byContainer = Object.fromEntries(
    allocation.containers.map(({ gpus }, at) => [
      String(at),
      Object.fromEntries(gpus.map(({ index, slices }) => [String(index), slices])),
    ]),
  );
  return {
    [GPUSHARE_ANNOTATIONS.index]: String(allocation.containers[0]?.gpus[0]?.index ?? 0),
    [GPUSHARE_ANNOTATIONS.device]: String(totals.gpuSlices),
    [GPUSHARE_ANNOTATIONS.pod]: String(totals.podSlices),
    [GPUSHARE_ANNOTATIONS.assigned]: 'false',
    [GPUSHARE_ANNOTATIONS.assumeTime]: String(totals.assumeTimeNanos),
    [GPUSHARE_ANNOTATIONS.allocation]: JSON.stringify(byContainer),
  };
}

/** Which GPUs a pod's annotations name, ours first, then gpushare's JSON, then its single index. */
export function decodeClaim(annotations: StringMap): AllocationClaim {
  const ours = ownValue(annotations, ALLOCATION_ANNOTATION);
  if (ours !== undefined) return guarded(ours, parseOurs);
  const container = ownValue(annotations, GPUSHARE_ANNOTATIONS.allocation);
  if (container !== undefined) return guarded(container, parseGpushareJson);
  const index = ownValue(annotations, GPUSHARE_ANNOTATIONS.index);
  if (index === undefined) return { kind: 'none' };
  if (!/^\d{1,4}$/.test(index)) return { kind: 'invalid', why: `${GPUSHARE_ANNOTATIONS.index} is no GPU index` };
  return { kind: 'gpus', gpus: [byIndex(Number(index))] };
}

type Claimed = { readonly uuid: string; readonly index: number };

/** gpushare knows a GPU by its position only; an empty uuid says so. */
function byIndex(index: number): Claimed {
  return { uuid: '', index };
}

function guarded(text: string, parse: (value: unknown) => Claimed[] | undefined): AllocationClaim {
  if (text.length > MAX_ALLOCATION_CHARACTERS) return { kind: 'invalid', why: 'allocation annotation is too long' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'invalid', why: 'allocation annotation is not JSON' };
  }
  const gpus = parse(value);
  if (gpus === undefined || gpus.length === 0 || gpus.length > MAX_CLAIMED_GPUS) {
    return { kind: 'invalid', why: `allocation annotation is not of version ${ALLOCATION_VERSION}` };
  }
  return { kind: 'gpus', gpus };
}

function parseOurs(value: unknown): Claimed[] | undefined {
  if (!isRecord(value) || value['v'] !== ALLOCATION_VERSION || !Array.isArray(value['containers'])) return undefined;
  const claimed = new Map<string, Claimed>();
  for (const container of value['containers'] as readonly unknown[]) {
    const gpus = isRecord(container) ? container['gpus'] : undefined;
    if (!Array.isArray(gpus)) return undefined;
    for (const gpu of gpus as readonly unknown[]) {
      if (!isRecord(gpu) || typeof gpu['uuid'] !== 'string' || !Number.isInteger(gpu['index'])) return undefined;
      claimed.set(`${gpu['uuid']}#${String(gpu['index'])}`, gpuKey(gpu['uuid'], Number(gpu['index'])));
    }
  }
  return [...claimed.values()];
}

function parseGpushareJson(value: unknown): Claimed[] | undefined {
  if (!isRecord(value)) return undefined;
  const indices = new Set<number>();
  for (const perGpu of Object.values(value)) {
    if (!isRecord(perGpu)) return undefined;
    for (const index of Object.keys(perGpu)) {
      if (!/^\d{1,4}$/.test(index)) return undefined;
      indices.add(Number(index));
    }
  }
  return [...indices].sort((a, b) => a - b).map(byIndex);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
