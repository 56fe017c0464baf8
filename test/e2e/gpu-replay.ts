// Replays a pod history against the GPUs of the nodes and says what was ever wrong: a GPU over its memory, compute,
// tenant or co-location limits at any moment, an allocation that does not match its pod, or one that changed.

import { DEFAULT_LIMITS } from '../../extender/core/limits.ts';
import type { StringMap } from '../../extender/core/manifest.ts';
import type { NodeSketch } from '../support/builders.ts';
import type { LivePod } from './cluster.ts';
import type { PodSighting } from './watch-history.ts';

/** How pods ask, and how they are told which GPUs they got. */
export interface Dialect {
  readonly memory: string;
  readonly core: string;
  readonly countLabel: string;
  /** Whether nodes name their GPUs; where they are only counted, an allocation has the index alone. */
  readonly namesGpus: boolean;
  /** Positions of the pod's GPUs in its node; undefined where it has no allocation. */
  readonly gpus: (pod: LivePod) => readonly number[] | undefined;
}

export const GPULOOM_DIALECT: Dialect = {
  memory: 'gpuloom.io/gpu-mem',
  core: 'gpuloom.io/gpu-core',
  countLabel: 'gpuloom.io/gpu-count',
  namesGpus: true,
  gpus: (pod) => allocatedGpus(pod)?.map(({ index }) => index),
};

/** A pod of one GPU, as gpushare's own readers see it. */
export const GPUSHARE_DIALECT: Dialect = {
  memory: 'aliyun.com/gpu-mem',
  core: 'aliyun.com/gpu-core.percentage',
  countLabel: 'aliyun.com/gpu-count',
  namesGpus: false,
  gpus: ({ metadata }) => {
    const index = metadata?.annotations?.['ALIYUN_COM_GPU_MEM_IDX'];
    return index === undefined ? undefined : [Number(index)];
  },
};

interface Tenant {
  readonly pod: string;
  readonly node: string;
  readonly gpus: readonly number[];
  readonly slicesPerGpu: number;
  readonly corePerGpu: number;
  readonly isBatch: boolean;
  /** What the pod was told, to be told the same for ever. */
  readonly told: string;
}

export interface AllocatedGpu {
  readonly uuid: string;
  readonly index: number;
  readonly slices: number;
  readonly core: number;
}

/** GPUs and amounts in a pod's allocation annotation, summed over its containers. */
export function allocatedGpus(pod: LivePod): readonly AllocatedGpu[] | undefined {
  const text = pod.metadata?.annotations?.['gpuloom.io/allocation'];
  if (text === undefined) return undefined;
  const { containers } = JSON.parse(text) as { containers: readonly { gpus: readonly AllocatedGpu[] }[] };
  const byIndex = new Map<number, AllocatedGpu>();
  for (const { uuid, index, slices, core } of containers.flatMap(({ gpus }) => gpus)) {
    const before = byIndex.get(index);
    byIndex.set(index, { uuid, index, slices: slices + (before?.slices ?? 0), core: core + (before?.core ?? 0) });
  }
  return [...byIndex.values()].sort((a, b) => a.index - b.index);
}

/** Every violation found, in words; empty when all was well at every moment. */
export function replayViolations(
  sightings: readonly PodSighting[],
  nodes: readonly NodeSketch[],
  dialect: Dialect = GPULOOM_DIALECT,
): readonly string[] {
  const sketches = new Map(nodes.map((node) => [node.name, node]));
  const tenants = new Map<string, Tenant>();
  const byNode = new Map<string, Set<Tenant>>(nodes.map(({ name }) => [name, new Set()]));
  const violations: string[] = [];
  for (const { kind, pod } of sightings) {
    const uid = pod.metadata?.uid ?? '';
    const before = tenants.get(uid);
    const isOver = kind === 'gone' || pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
    if (isOver) {
      tenants.delete(uid);
      if (before !== undefined) byNode.get(before.node)?.delete(before);
      continue;
    }
    if (pod.spec?.nodeName === undefined) continue;
    const tenant = tenantOf(pod, dialect);
    if (before !== undefined) {
      if (before.told !== tenant.told) violations.push(`${tenant.pod}: ${before.told} became ${tenant.told}`);
      continue;
    }
    tenants.set(uid, tenant);
    byNode.get(tenant.node)?.add(tenant);
    const sketch = sketches.get(tenant.node);
    if (sketch === undefined) violations.push(`${tenant.pod} is on unknown node ${tenant.node}`);
    else
      violations.push(
        ...allocationFaults(pod, tenant, sketch, dialect),
        ...nodeFaults(sketch, byNode.get(tenant.node)),
      );
  }
  return violations;
}

function tenantOf(pod: LivePod, dialect: Dialect): Tenant {
  const { name = '', labels, annotations } = pod.metadata ?? {};
  const limits = pod.spec?.containers?.[0]?.resources?.limits;
  const gpus = dialect.gpus(pod) ?? [];
  const count = Number(labels?.[dialect.countLabel] ?? 1);
  return {
    pod: name,
    node: pod.spec?.nodeName ?? '',
    gpus,
    slicesPerGpu: Number(limits?.[dialect.memory] ?? 0) / count,
    corePerGpu: Number(limits?.[dialect.core] ?? 0) / count,
    isBatch: labels?.['gpuloom.io/class'] === 'batch',
    told: JSON.stringify([pod.spec?.nodeName, gpus, allocationTexts(annotations)]),
  };
}

function allocationTexts(annotations: StringMap = {}): readonly string[] {
  return Object.entries(annotations)
    .filter(([key]) => key === 'gpuloom.io/allocation' || key.startsWith('ALIYUN_COM_'))
    .map(([key, value]) => `${key}=${value}`)
    .sort();
}

function allocationFaults(pod: LivePod, tenant: Tenant, node: NodeSketch, dialect: Dialect): readonly string[] {
  const count = Number(pod.metadata?.labels?.[dialect.countLabel] ?? 1);
  const faults: string[] = [];
  if (new Set(tenant.gpus).size !== count) faults.push(`asks ${count} GPUs, holds ${tenant.gpus.join(',')}`);
  if (tenant.gpus.some((index) => node.gpus[index] === undefined)) faults.push('holds a GPU the node does not have');
  for (const { uuid, index, slices, core } of allocatedGpus(pod) ?? []) {
    const isNamed = dialect.namesGpus ? uuid.endsWith(String(index)) : uuid === '';
    if (!isNamed) faults.push(`names GPU ${index} ${uuid}`);
    if (slices !== tenant.slicesPerGpu || core !== tenant.corePerGpu)
      faults.push(
        `asks ${tenant.slicesPerGpu} slices and ${tenant.corePerGpu}% of GPU ${index}, was told ${slices} and ${core}%`,
      );
  }
  return faults.map((fault) => `${tenant.pod} on ${node.name} ${fault}`);
}

function nodeFaults(node: NodeSketch, tenants: ReadonlySet<Tenant> = new Set()): readonly string[] {
  return node.gpus.flatMap(({ slices: capacity }, index) => {
    const here = [...tenants].filter(({ gpus }) => gpus.includes(index));
    const slices = sum(here, ({ slicesPerGpu }) => slicesPerGpu);
    const core = sum(here, ({ corePerGpu }) => corePerGpu);
    const batch = here.filter(({ isBatch }) => isBatch);
    const online = here.length - batch.length;
    const batchSlices = sum(batch, ({ slicesPerGpu }) => slicesPerGpu);
    const { podsPerGpu, batchPerGpu, batchBesideOnline, batchShareBesideOnlinePercent } = DEFAULT_LIMITS;
    const isMixed = online > 0 && batch.length > 0;
    const broken: readonly (readonly [boolean, string])[] = [
      [slices > capacity, `${slices} of ${capacity} slices`],
      [core > 100, `${core}% compute`],
      [here.length > podsPerGpu, `${here.length} pods`],
      [online === 0 && batch.length > batchPerGpu, `${batch.length} batch pods`],
      [isMixed && batch.length > batchBesideOnline, `${batch.length} batch pods beside online`],
      [
        isMixed && batchSlices * 100 > capacity * batchShareBesideOnlinePercent,
        `${batchSlices} batch slices beside online`,
      ],
      [isMixed && batch.some(({ gpus }) => gpus.length > 1), 'a batch pod of several GPUs beside online'],
    ];
    return broken.filter(([isBroken]) => isBroken).map(([, what]) => `GPU ${index} of ${node.name}: ${what}`);
  });
}

function sum(tenants: readonly Tenant[], amount: (tenant: Tenant) => number): number {
  return tenants.reduce((total, tenant) => total + amount(tenant), 0);
}
