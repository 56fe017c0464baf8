// What every GPU holds, counted from the pods and nodes at the API server and their annotations alone. It shares nothing
// with the ledger on purpose: it is the check on the ledger. Parsed objects are remembered by identity.

import { decodeInventory } from '../core/inventory-codec.ts';
import type { PodManifest } from '../core/manifest.ts';
import type { Gpu, WorkloadClass } from '../core/model.ts';
import { ALLOCATION_ANNOTATION, INVENTORY_ANNOTATION, POD_LABELS, PROFILES } from '../core/resources.ts';
import type { KubeObject } from '../embedded/objects.ts';
import { asNode, asPod, isTerminal } from './manifests.ts';
import { podRequests } from './node-resources-fit.ts';

export interface GpuOccupancy {
  readonly index: number;
  readonly model: string;
  readonly slices: number;
  onlineSlices: number;
  batchSlices: number;
  corePercent: number;
  onlinePods: number;
  batchPods: number;
}

export interface NodeOccupancy {
  readonly name: string;
  readonly gpus: readonly GpuOccupancy[];
}

export interface Occupancy {
  readonly nodes: readonly NodeOccupancy[];
  /** Bound GPU pods whose annotation is absent, unreadable, names a GPU the node lacks, or differs from the request. */
  readonly allocationsAmiss: readonly string[];
}

interface Grant {
  readonly uuid: string;
  readonly slices: number;
  readonly core: number;
}

/** What a bound pod holds by its own annotation. */
interface Holding {
  readonly nodeName: string;
  readonly class: WorkloadClass;
  /** Slices asked for in the pod's spec. */
  readonly asked: number;
  readonly grants: readonly Grant[];
}

const CORE_PERCENT = 100;

export function isOverCapacity({ slices, onlineSlices, batchSlices, corePercent }: GpuOccupancy): boolean {
  return onlineSlices + batchSlices > slices || corePercent > CORE_PERCENT;
}

export class OccupancyReader {
  readonly #inventories = new WeakMap<KubeObject, readonly Gpu[]>();
  readonly #holdings = new WeakMap<KubeObject, Holding | 'none'>();

  /** Counts anew. Succeeded and failed pods hold nothing. */
  read(nodes: readonly KubeObject[], pods: readonly KubeObject[]): Occupancy {
    const byUuid = new Map<string, Map<string, GpuOccupancy>>();
    const occupied = nodes.map((node): NodeOccupancy => {
      const gpus = this.#inventoryOf(node).map((gpu) => ({ uuid: gpu.uuid, occupancy: emptyGpu(gpu) }));
      byUuid.set(node.metadata.name, new Map(gpus.map(({ uuid, occupancy }) => [uuid, occupancy])));
      return { name: node.metadata.name, gpus: gpus.map(({ occupancy }) => occupancy) };
    });
    const allocationsAmiss: string[] = [];
    for (const pod of pods) {
      const holding = this.#holdingOf(pod);
      if (holding === 'none') continue;
      if (!charge(holding, byUuid.get(holding.nodeName))) {
        allocationsAmiss.push(`${pod.metadata.namespace ?? ''}/${pod.metadata.name}`);
      }
    }
    return { nodes: occupied, allocationsAmiss };
  }

  #inventoryOf(node: KubeObject): readonly Gpu[] {
    let gpus = this.#inventories.get(node);
    if (gpus === undefined) {
      const text = asNode(node).metadata?.annotations?.[INVENTORY_ANNOTATION];
      const decoded = text === undefined ? undefined : decodeInventory(text);
      gpus = decoded?.kind === 'inventory' ? decoded.inventory.gpus : [];
      this.#inventories.set(node, gpus);
    }
    return gpus;
  }

  #holdingOf(object: KubeObject): Holding | 'none' {
    let holding = this.#holdings.get(object);
    if (holding === undefined) {
      holding = readHolding(asPod(object));
      this.#holdings.set(object, holding);
    }
    return holding;
  }
}

function emptyGpu({ index, model, slices }: Gpu): GpuOccupancy {
  return { index, model, slices, onlineSlices: 0, batchSlices: 0, corePercent: 0, onlinePods: 0, batchPods: 0 };
}

/** False where the annotation does not say what the spec asks, on GPUs that the node has. */
function charge(holding: Holding, gpus: ReadonlyMap<string, GpuOccupancy> | undefined): boolean {
  let granted = 0;
  let isSound = true;
  const touched = new Set<GpuOccupancy>();
  for (const { uuid, slices, core } of holding.grants) {
    const gpu = gpus?.get(uuid);
    granted += slices;
    if (gpu === undefined) {
      isSound = false;
      continue;
    }
    if (holding.class === 'batch') gpu.batchSlices += slices;
    else gpu.onlineSlices += slices;
    gpu.corePercent += core;
    touched.add(gpu);
  }
  for (const gpu of touched) {
    if (holding.class === 'batch') gpu.batchPods++;
    else gpu.onlinePods++;
  }
  return isSound && granted === holding.asked;
}

function readHolding(pod: PodManifest): Holding | 'none' {
  const nodeName = pod.spec?.nodeName ?? '';
  if (nodeName === '' || isTerminal(pod)) return 'none';
  const asked = podRequests(pod).get(PROFILES.gpuloom.memoryResource) ?? 0;
  const text = pod.metadata?.annotations?.[ALLOCATION_ANNOTATION];
  if (asked === 0 && text === undefined) return 'none';
  const isBatch = pod.metadata?.labels?.[POD_LABELS.class] === 'batch';
  return { nodeName, asked, class: isBatch ? 'batch' : 'online', grants: text === undefined ? [] : readGrants(text) };
}

/** What cannot be read grants nothing, and then differs from the request. */
function readGrants(text: string): readonly Grant[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Counted as amiss by the caller, since nothing is granted.
    return [];
  }
  return listAt(value, 'containers').flatMap((container) =>
    listAt(container, 'gpus').map((gpu) => ({
      uuid: String(fieldOf(gpu, 'uuid')),
      slices: amount(fieldOf(gpu, 'slices')),
      core: amount(fieldOf(gpu, 'core')),
    })),
  );
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null
    ? new Map<string, unknown>(Object.entries(value)).get(field)
    : undefined;
}

function listAt(value: unknown, field: string): readonly unknown[] {
  const list = fieldOf(value, field);
  return Array.isArray(list) ? (list as readonly unknown[]) : [];
}

function amount(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
