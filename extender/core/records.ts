// Manifests to the slim records that the ledger keeps. Everything else of a Pod or Node is dropped here.

import { decodeClaim } from './allocation-codec.ts';
import { decodeInventory, MAX_GPUS_PER_NODE } from './inventory-codec.ts';
import type { NodeManifest, PodManifest, StringMap } from './manifest.ts';
import type { Gpu, GpuDemand, NodeGpus, NodeRecord, PodRecord } from './model.ts';
import { cpuMilli, memoryMiB, parseCount } from './quantity.ts';
import { gpuDemand, hostRequest } from './request.ts';
import type { RequestPool } from './request-pool.ts';
import { nameByIndex } from './resident.ts';
import { GPUSHARE_NODE_RESOURCES, INVENTORY_ANNOTATION, type Profile } from './resources.ts';

const NO_LABELS: StringMap = {};

/** A pod as the ledger keeps it, or undefined where the object has no identity. A `pool` shares equal requests. */
export function podRecord(pod: PodManifest, profile: Profile, pool?: RequestPool): PodRecord | undefined {
  const { uid, name, namespace, labels, annotations, creationTimestamp, deletionTimestamp } = pod.metadata ?? {};
  if (uid === undefined || uid === '' || name === undefined) return undefined;
  const demand = pooled(gpuDemand(pod, profile), pool);
  const phase = pod.status?.phase;
  return {
    uid,
    name,
    namespace: namespace ?? 'default',
    nodeName: pod.spec?.nodeName ?? '',
    createdSeconds: secondsOf(creationTimestamp),
    terminal: phase === 'Succeeded' || phase === 'Failed',
    deleting: deletionTimestamp !== undefined,
    labels: demand.kind === 'none' || labels === undefined ? NO_LABELS : (pool?.labels(labels) ?? labels),
    host: demand.kind === 'request' ? demand.request.host : hostRequest(pod),
    demand,
    claim: demand.kind === 'none' ? { kind: 'none' } : decodeClaim(annotations ?? NO_LABELS),
  };
}

/** Unix time in seconds of an API timestamp; 0 where there is none or it cannot be read. */
function secondsOf(timestamp: string | undefined): number {
  const millis = timestamp === undefined || timestamp.length > 40 ? Number.NaN : Date.parse(timestamp);
  return Number.isFinite(millis) && millis > 0 ? Math.floor(millis / 1000) : 0;
}

function pooled(demand: GpuDemand, pool: RequestPool | undefined): GpuDemand {
  return demand.kind === 'request' && pool !== undefined
    ? { kind: 'request', request: pool.request(demand.request) }
    : demand;
}

/** A node as the ledger keeps it, or undefined where the object has no identity. */
export function nodeRecord(node: NodeManifest): NodeRecord | undefined {
  const { uid, name, annotations } = node.metadata ?? {};
  if (name === undefined || name === '') return undefined;
  const allocatable = node.status?.allocatable ?? node.status?.capacity;
  const addresses = node.status?.addresses ?? [];
  const internal = addresses.find(({ type }) => type === 'InternalIP');
  return {
    name,
    uid: uid ?? '',
    allocatable: { cpuMilli: cpuMilli(allocatable?.['cpu']), memoryMiB: memoryMiB(allocatable?.['memory']) },
    gpus: nodeGpus(node, annotations ?? NO_LABELS),
    address: internal?.address ?? (addresses.length > 0 ? '' : 'unknown'),
  };
}

function nodeGpus(node: NodeManifest, annotations: StringMap): NodeGpus {
  const annotation = Object.hasOwn(annotations, INVENTORY_ANNOTATION) ? annotations[INVENTORY_ANNOTATION] : undefined;
  if (annotation !== undefined) return decodeInventory(annotation);
  return gpushareGpus(node);
}

/**
 * A node that only gpushare's device plugin describes: capacity `aliyun.com/gpu-mem` split evenly, rounding down,
 * over `aliyun.com/gpu-count` GPUs, as gpushare's extender does (`pkg/cache/nodeinfo.go`). GPUs are known by index.
 */
function gpushareGpus(node: NodeManifest): NodeGpus {
  const capacity = node.status?.capacity;
  const total = parseCount(capacity?.[GPUSHARE_NODE_RESOURCES.memory]) ?? 0;
  const count = parseCount(capacity?.[GPUSHARE_NODE_RESOURCES.count]) ?? 0;
  if (total <= 0) return { kind: 'none' };
  if (count <= 0 || count > MAX_GPUS_PER_NODE) {
    return { kind: 'closed', why: `${GPUSHARE_NODE_RESOURCES.count} is ${count}; expected 1 to ${MAX_GPUS_PER_NODE}` };
  }
  const slices = Math.floor(total / count);
  const gpus = Array.from({ length: count }, (_, index): Gpu => ({
    uuid: nameByIndex(index),
    index,
    minor: index,
    model: 'unknown',
    memoryMiB: 0,
    slices,
    numa: -1,
    health: 'healthy',
  }));
  return { kind: 'inventory', source: 'gpushare', inventory: { unitMiB: 0, isolation: 'none', gpus, links: [] } };
}
