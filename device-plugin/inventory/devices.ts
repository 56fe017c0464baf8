// Slice ids, and the device lists of the two resources made of them. Pure.
// An id is a function of GPU and slot alone: kubelets remember ids across restarts, so another number of slots must never
// rename those that stay.

import type { Gpu } from '../../extender/core/model.ts';
import { listAndWatchBytes, LIST_LIMIT_BYTES, MAX_DEVICE_ID_LENGTH } from '../kubelet/device-list.ts';
import type { PluginDevice } from '../kubelet/device-list.ts';

/** Percent of one GPU: every GPU has this many devices of the compute resource. */
export const CORE_SLOTS_PER_GPU = 100;

export type SliceResource = 'memory' | 'core';

export type SliceId =
  | { readonly kind: 'slice'; readonly uuid: string; readonly resource: SliceResource; readonly slot: number }
  /** An id of gpushare's plugin (`<uuid>-_-<slot>`): it counts as one slice of that GPU's node, and names nothing for us. */
  | { readonly kind: 'gpushare'; readonly id: string }
  | { readonly kind: 'unknown'; readonly id: string };

/** `GPU-…::7` for memory, `GPU-…::c7` for compute. Throws a RangeError for what would not fit the kubelet's limit. */
export function sliceId(uuid: string, resource: SliceResource, slot: number): string {
  const id = `${uuid}::${resource === 'core' ? 'c' : ''}${slot}`;
  if (!Number.isInteger(slot) || slot < 0 || uuid === '' || uuid.includes('::')) {
    throw new RangeError(`${JSON.stringify(id)} is no slice id: it needs a GPU's UUID and a slot from 0`);
  }
  if (id.length > MAX_DEVICE_ID_LENGTH) {
    throw new RangeError(
      `slice id ${id} is longer than ${MAX_DEVICE_ID_LENGTH} characters; give the GPU a shorter UUID`,
    );
  }
  return id;
}

/** Reads an id back; every text has an answer. */
export function parseSliceId(id: string): SliceId {
  const match = /^(.+)::(c?)(0|[1-9]\d{0,6})$/.exec(id.length > MAX_DEVICE_ID_LENGTH ? '' : id);
  const [, uuid = '', core, slot] = match ?? [];
  if (slot !== undefined && !uuid.includes('::')) {
    return { kind: 'slice', uuid, resource: core === 'c' ? 'core' : 'memory', slot: Number(slot) };
  }
  return /^.+-_-\d+$/.test(id) ? { kind: 'gpushare', id } : { kind: 'unknown', id };
}

/** Devices of the memory resource: one per slice of each GPU. */
export function memoryDevices(gpus: readonly Gpu[]): readonly PluginDevice[] {
  return gpus.flatMap((gpu) => devicesOf(gpu, 'memory', gpu.slices));
}

/** Devices of the compute resource: one per percent of each GPU that has memory to share. */
export function coreDevices(gpus: readonly Gpu[]): readonly PluginDevice[] {
  return gpus.flatMap((gpu) => devicesOf(gpu, 'core', gpu.slices > 0 ? CORE_SLOTS_PER_GPU : 0));
}

function devicesOf({ uuid, health, numa }: Gpu, resource: SliceResource, slots: number): readonly PluginDevice[] {
  const shared = { healthy: health === 'healthy', ...(numa >= 0 ? { numaNode: numa } : {}) };
  return Array.from({ length: slots }, (_, slot) => ({ id: sliceId(uuid, resource, slot), ...shared }));
}

/**
 * A larger unit, `unitMiB` doubled as often as it takes, when the memory devices of GPUs of these sizes would make too
 * long a list for the kubelet; `undefined` when they fit.
 */
export function largerUnit(
  gpus: readonly { readonly uuid: string; readonly memoryMiB: number }[],
  unitMiB: number,
  limitBytes: number = LIST_LIMIT_BYTES,
): number | undefined {
  let unit = unitMiB;
  while (estimatedBytes(gpus, unit) > limitBytes && unit < 2 ** 30) unit *= 2;
  return unit === unitMiB ? undefined : unit;
}

/** From above: every device is taken for as long as the GPU's last one. */
function estimatedBytes(
  gpus: readonly { readonly uuid: string; readonly memoryMiB: number }[],
  unitMiB: number,
): number {
  return gpus.reduce((sum, { uuid, memoryMiB }) => {
    const slots = Math.floor(memoryMiB / unitMiB);
    const longest = { id: `${uuid}::${slots}`, healthy: false, numaNode: 1023 };
    return sum + slots * listAndWatchBytes([longest]);
  }, 0);
}
