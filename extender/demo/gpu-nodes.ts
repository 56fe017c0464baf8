// Nodes of the demo's cluster as manifests: what the kubelet and the node agent of each would have written.
// Pure; the same seed and count give the same nodes.

import { encodeInventory } from '../core/inventory-codec.ts';
import type { NodeManifest } from '../core/manifest.ts';
import type { Gpu } from '../core/model.ts';
import { INVENTORY_ANNOTATION, PROFILES } from '../core/resources.ts';
import { seededRandom } from '../random.ts';

export interface GpuType {
  readonly model: string;
  readonly memoryMiB: number;
  readonly slices: number;
}

export interface NodeShape {
  readonly gpus: readonly GpuType[];
  readonly cpuMilli: number;
  readonly memoryMiB: number;
  /** Most pods the kubelet takes. */
  readonly pods: number;
  /** Memory per slice. */
  readonly unitMiB: number;
  /** GPUs bridged in pairs (0-1, 2-3, …), as PCIe cards are. */
  readonly bridged: boolean;
}

const GIB = 1024;
const KUBELET_DEFAULT_PODS = 110;
const BRIDGE_WEIGHT = 400;

/** A manifest with inventory annotation, capacity and address. */
export function gpuNode(name: string, shape: NodeShape): NodeManifest {
  const gpus = shape.gpus.map((type, index): Gpu => ({
    uuid: `GPU-${name}-${index}`,
    index,
    minor: index,
    ...type,
    numa: index * 2 < shape.gpus.length ? 0 : 1,
    health: 'healthy',
  }));
  const links = shape.bridged ? pairs(gpus.length) : [];
  const resources = {
    cpu: `${shape.cpuMilli}m`,
    memory: `${shape.memoryMiB}Mi`,
    pods: String(shape.pods),
    [PROFILES.gpuloom.memoryResource]: String(gpus.reduce((sum, { slices }) => sum + slices, 0)),
    [PROFILES.gpuloom.coreResource]: String(gpus.length * 100),
  };
  const annotations = {
    [INVENTORY_ANNOTATION]: encodeInventory({ unitMiB: shape.unitMiB, isolation: 'none', gpus, links }),
  };
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name }, annotations },
    status: { capacity: resources, allocatable: resources },
  };
}

function pairs(count: number): number[][] {
  return Array.from({ length: count }, (_, a) =>
    Array.from({ length: count }, (_, b) => (a !== b && a >> 1 === b >> 1 ? BRIDGE_WEIGHT : 0)),
  );
}

function gpuType(model: string, gib: number): GpuType {
  return { model, memoryMiB: gib * GIB, slices: gib };
}

const T4 = gpuType('T4', 16);
const A10 = gpuType('A10', 24);
const A100_40 = gpuType('A100-40GB', 40);
const A100_80 = gpuType('A100-80GB', 80);
const H100_80 = gpuType('H100-80GB', 80);

interface Family extends NodeShape {
  readonly name: string;
  readonly weight: number;
}

function family(name: string, weight: number, gpus: readonly GpuType[], cores: number, gib: number): Family {
  const bridged = gpus.includes(A100_40);
  const host = { cpuMilli: cores * 1000, memoryMiB: gib * GIB, pods: KUBELET_DEFAULT_PODS };
  return { name, weight, gpus, ...host, unitMiB: GIB, bridged };
}

function times(count: number, type: GpuType): GpuType[] {
  return Array.from({ length: count }, () => type);
}

/** The first nodes of a cluster are one of each in this order, so that even a small one has unequal nodes. */
const FAMILIES: readonly Family[] = [
  family('a100', 2, times(8, A100_40), 96, 768),
  family('mixed', 1, [...times(2, A10), ...times(2, T4)], 48, 192),
  family('h100', 1, times(8, H100_80), 192, 1536),
  family('t4', 3, times(4, T4), 48, 192),
  family('a10', 3, times(4, A10), 64, 256),
  family('a100x', 1, times(4, A100_80), 96, 1024),
];

/** Nodes of several shapes, in name order. */
export function seededNodes(seed: number, count: number): NodeManifest[] {
  const random = seededRandom(seed, 'nodes');
  const perFamily = new Map<string, number>();
  const nodes = Array.from({ length: count }, (_, at) => {
    const shape = FAMILIES[at] ?? random.weighted(FAMILIES);
    const number = (perFamily.get(shape.name) ?? 0) + 1;
    perFamily.set(shape.name, number);
    return gpuNode(`gpu-${shape.name}-${String(number).padStart(2, '0')}`, shape);
  });
  return nodes.sort((a, b) => ((a.metadata?.name ?? '') < (b.metadata?.name ?? '') ? -1 : 1));
}
