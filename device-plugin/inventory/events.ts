// What changed between two readings, as events, and the list of those who want to hear of it.
// Every source reports through GpuEvents, so a change is told once, whichever read() finds it.

import { sysfsBusId } from './gpu-identity.ts';
import type { GpuEvent, GpuEventListener, GpuReading, InventoryReading, ReadableGpu } from './source.ts';

/** Events that explain how `after` came from `before`. Pure. */
export function changesBetween(before: InventoryReading, after: InventoryReading): readonly GpuEvent[] {
  const earlier = byUuid(before);
  const events: GpuEvent[] = [];
  for (const gpu of after.gpus) {
    if (gpu.uuid === undefined) continue;
    const previous = earlier.get(gpu.uuid);
    if (previous !== undefined) events.push(...changesOf(gpu.uuid, previous, gpu));
    else if (gpu.kind === 'unreadable') events.push({ kind: 'lost', uuid: gpu.uuid, why: gpu.why });
  }
  const present = byUuid(after);
  for (const uuid of earlier.keys()) {
    if (!present.has(uuid)) events.push({ kind: 'lost', uuid, why: 'the driver no longer lists it' });
  }
  if (identities(before) !== identities(after)) events.push({ kind: 'inventoryChanged' });
  return events;
}

function changesOf(uuid: string, before: GpuReading, after: GpuReading): readonly GpuEvent[] {
  if (after.kind === 'unreadable') return before.kind === 'readable' ? [{ kind: 'lost', uuid, why: after.why }] : [];
  if (before.kind === 'unreadable') return [{ kind: 'recovered', uuid }];
  const more = (after.ecc?.uncorrected ?? 0) > (before.ecc?.uncorrected ?? Number.POSITIVE_INFINITY);
  return more ? [{ kind: 'doubleBitEcc', uuid }] : [];
}

function byUuid(reading: InventoryReading): ReadonlyMap<string, GpuReading> {
  return new Map(reading.gpus.flatMap((gpu) => (gpu.uuid === undefined ? [] : [[gpu.uuid, gpu] as const])));
}

/** What an inventory says of its GPUs besides load: a change of it is worth publishing. */
function identities(reading: InventoryReading): string {
  const gpus = reading.gpus.map((gpu) => (gpu.kind === 'readable' ? identityOf(gpu) : [gpu.index, gpu.uuid ?? null]));
  return JSON.stringify([gpus, reading.links]);
}

function identityOf({ uuid, index, minor, model, memoryMiB, numa, mig }: ReadableGpu): readonly unknown[] {
  return [uuid, index, minor, model, memoryMiB, numa, mig];
}

export class GpuEvents {
  readonly #listeners = new Set<GpuEventListener>();
  #last: InventoryReading | undefined;

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  subscribe(listener: GpuEventListener): () => void {
    const own: GpuEventListener = (event) => {
      listener(event);
    };
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  publish(event: GpuEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** Tells what changed since the reading observed before. */
  observe(reading: InventoryReading): void {
    const before = this.#last;
    this.#last = reading;
    if (before === undefined) return;
    for (const event of changesBetween(before, reading)) this.publish(event);
  }

  /** The GPU last seen with that UUID, or else at that place: names a GPU that cannot tell its own name any more. */
  lastSeen({ uuid, pciBusId, index }: Pick<GpuReading, 'uuid' | 'pciBusId' | 'index'>): GpuReading | undefined {
    const gpus = this.#last?.gpus ?? [];
    if (uuid !== undefined) return gpus.find((gpu) => gpu.uuid === uuid);
    if (pciBusId !== '') return gpus.find((gpu) => sysfsBusId(gpu.pciBusId) === sysfsBusId(pciBusId));
    return gpus.find((gpu) => gpu.index === index);
  }

  clear(): void {
    this.#listeners.clear();
  }
}
