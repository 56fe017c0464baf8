// A reading and the health of its GPUs as the inventory that the node publishes. Pure.
// A GPU that was known and cannot be read now stays listed, unhealthy and with its last identity: pods may still hold it.

import { MAX_GPUS_PER_NODE, MAX_SLICES_PER_GPU } from '../../extender/core/inventory-codec.ts';
import type { Gpu, Inventory, IsolationLevel } from '../../extender/core/model.ts';
import type { HealthVerdict } from '../health/state.ts';
import type { GpuLink, InventoryReading, ReadableGpu } from './source.ts';

export const DEFAULT_UNIT_MIB = 1024;

/** Memory of each GPU that is not shared out: the larger of the two. */
export interface ReservePolicy {
  readonly perGpuMiB: number;
  readonly percent: number;
}

export const NO_RESERVE: ReservePolicy = { perGpuMiB: 0, percent: 0 };

export interface InventoryOptions {
  readonly unitMiB: number;
  readonly isolation: IsolationLevel;
  readonly reserve: ReservePolicy;
}

/** Why a GPU is not as the hardware says it could be. */
export interface InventoryNote {
  readonly gpu: string;
  readonly why: string;
}

export interface NodeInventory {
  readonly inventory: Inventory;
  readonly notes: readonly InventoryNote[];
}

export type VerdictLookup = (uuid: string) => HealthVerdict | undefined;

const UNREADABLE = 'it cannot be read';
const MIG = 'MIG is enabled on it, and MIG devices are not shared; disable MIG to share it';

/**
 * `known` is the inventory published before: its GPUs stay listed until the caller starts without it, which is right
 * after a reboot. A GPU without a verdict is unhealthy: nobody has looked at it.
 */
export function toInventory(
  reading: InventoryReading,
  options: InventoryOptions,
  verdictOf: VerdictLookup,
  known: Inventory | undefined,
): NodeInventory {
  const notes: InventoryNote[] = [];
  const readable = reading.gpus.flatMap((gpu) => (gpu.kind === 'readable' ? [gpu] : []));
  const present = new Set(readable.map(({ uuid }) => uuid));
  const gpus = [
    ...readable.map((gpu) => listed(gpu, options, verdictOf, gpu.mig === 'enabled', notes)),
    ...(known?.gpus ?? [])
      .filter(({ uuid }) => !present.has(uuid))
      .map((gpu) => remembered(gpu, reading, options, verdictOf, notes)),
  ].sort(byIndex);
  noteStrangers(reading, known, notes);
  for (const { uuid } of gpus.slice(MAX_GPUS_PER_NODE)) {
    notes.push({ gpu: uuid, why: `it is not listed: a node has at most ${MAX_GPUS_PER_NODE} GPUs` });
  }
  const kept = gpus.slice(0, MAX_GPUS_PER_NODE);
  const { unitMiB, isolation } = options;
  return { inventory: { unitMiB, isolation, gpus: kept, links: linkMatrix(kept, reading.links, known) }, notes };
}

/** Slices of `unitMiB` that a GPU of this size has to give. */
export function slicesOf(
  memoryMiB: number,
  { unitMiB, reserve }: Pick<InventoryOptions, 'unitMiB' | 'reserve'>,
): number {
  const reservedMiB = Math.max(reserve.perGpuMiB, Math.ceil((memoryMiB * reserve.percent) / 100));
  return Math.min(MAX_SLICES_PER_GPU, Math.max(0, Math.floor((memoryMiB - reservedMiB) / unitMiB)));
}

function listed(
  { uuid, index, minor, model, memoryMiB, numa }: ReadableGpu | Gpu,
  options: InventoryOptions,
  verdictOf: VerdictLookup,
  isMig: boolean,
  notes: InventoryNote[],
): Gpu {
  const verdict = verdictOf(uuid);
  const why = isMig ? MIG : verdict === undefined ? 'its health is not known yet' : unhealthyReason(verdict);
  const slices = slicesOf(memoryMiB, options);
  if (why !== undefined) notes.push({ gpu: uuid, why });
  else if (slices === 0) {
    notes.push({
      gpu: uuid,
      why: `its ${memoryMiB} MiB make no slice of ${options.unitMiB} MiB; choose a smaller unit`,
    });
  }
  const health = why === undefined ? 'healthy' : 'unhealthy';
  return { uuid, index, minor, model, memoryMiB, slices, numa, health };
}

function unhealthyReason({ health, reason }: HealthVerdict): string | undefined {
  return health === 'healthy' ? undefined : reason;
}

/** A known GPU that this reading does not show; only an operator can call it healthy. */
function remembered(
  gpu: Gpu,
  reading: InventoryReading,
  options: InventoryOptions,
  verdictOf: VerdictLookup,
  notes: InventoryNote[],
): Gpu {
  const unreadable = reading.gpus.find(({ uuid }) => uuid === gpu.uuid);
  const why = unreadable?.kind === 'unreadable' ? `${UNREADABLE}: ${unreadable.why}` : 'the driver no longer lists it';
  const verdict = verdictOf(gpu.uuid);
  const told: HealthVerdict =
    verdict?.overridden === true ? verdict : { health: 'unhealthy', reason: why, overridden: false };
  return listed(gpu, options, () => told, false, notes);
}

function noteStrangers(reading: InventoryReading, known: Inventory | undefined, notes: InventoryNote[]): void {
  const uuids = new Set(known?.gpus.map(({ uuid }) => uuid));
  for (const gpu of reading.gpus) {
    if (gpu.kind === 'readable' || (gpu.uuid !== undefined && uuids.has(gpu.uuid))) continue;
    notes.push({ gpu: gpu.uuid ?? `index ${gpu.index}`, why: `it is not listed: ${UNREADABLE}: ${gpu.why}` });
  }
}

function byIndex(left: Gpu, right: Gpu): number {
  return left.index - right.index || (left.uuid < right.uuid ? -1 : 1);
}

/** Weights by position; those of GPUs that cannot be read now are kept. Empty when nothing is known. */
function linkMatrix(
  gpus: readonly Gpu[],
  links: readonly GpuLink[],
  known: Inventory | undefined,
): readonly (readonly number[])[] {
  const weights = new Map<string, number>();
  for (const [row, from] of (known?.gpus ?? []).entries()) {
    for (const [column, to] of (known?.gpus ?? []).entries()) {
      const weight = known?.links[row]?.[column];
      if (weight !== undefined) weights.set(`${from.uuid} ${to.uuid}`, weight);
    }
  }
  for (const { between, weight } of links) {
    const [left, right] = between;
    weights.set(`${left} ${right}`, weight);
    weights.set(`${right} ${left}`, weight);
  }
  const matrix = gpus.map((from) =>
    gpus.map((to) => (from.uuid === to.uuid ? 0 : (weights.get(`${from.uuid} ${to.uuid}`) ?? 0))),
  );
  return matrix.some((row) => row.some((weight) => weight > 0)) ? matrix : [];
}
