// Pods and nodes in domain words. Everything not said is ordinary.

import { encodeInventory } from '../../extender/core/inventory-codec.ts';
import type { NodeManifest, PodManifest } from '../../extender/core/manifest.ts';
import type { Gpu, IsolationLevel, NodeRecord, PodRecord } from '../../extender/core/model.ts';
import { nodeRecord, podRecord } from '../../extender/core/records.ts';
import { INVENTORY_ANNOTATION, PROFILES, type Profile } from '../../extender/core/resources.ts';

export interface GpuSketch {
  readonly slices: number;
  readonly model?: string;
  readonly health?: Gpu['health'];
  readonly numa?: number;
  readonly uuid?: string;
}

export interface NodeSketch {
  readonly name: string;
  readonly gpus: readonly GpuSketch[];
  readonly cpu?: string;
  readonly memory?: string;
  readonly uid?: string;
  readonly isolation?: IsolationLevel;
  readonly links?: readonly (readonly number[])[];
}

export function gpusOf(count: number, slices: number, model = 'A100'): GpuSketch[] {
  return Array.from({ length: count }, () => ({ slices, model }));
}

export function nodeManifest({
  name,
  gpus,
  cpu = '64',
  memory = '256Gi',
  uid,
  links = [],
  isolation = 'none',
}: NodeSketch): NodeManifest {
  const inventory = {
    unitMiB: 1024,
    isolation,
    links,
    gpus: gpus.map(({ slices, model = 'A100', health = 'healthy', numa = -1, uuid }, index) => ({
      uuid: uuid ?? `GPU-${name}-${index}`,
      index,
      minor: index,
      model,
      memoryMiB: slices * 1024,
      slices,
      numa,
      health,
    })),
  };
  const total = gpus.reduce((sum, { slices }) => sum + slices, 0);
  const resources = {
    cpu,
    memory,
    'gpuloom.io/gpu-mem': String(total),
    'gpuloom.io/gpu-core': String(gpus.length * 100),
  };
  return {
    metadata: { name, uid: uid ?? `uid-${name}`, annotations: { [INVENTORY_ANNOTATION]: encodeInventory(inventory) } },
    status: { capacity: resources, allocatable: resources, addresses: [{ type: 'InternalIP', address: '10.0.0.1' }] },
  };
}

export function node(sketch: NodeSketch): NodeRecord {
  const record = nodeRecord(nodeManifest(sketch));
  if (record === undefined) throw new Error('the node sketch has no name');
  return record;
}

export interface PodSketch {
  readonly name: string;
  readonly slices?: number;
  readonly core?: number;
  readonly count?: number;
  readonly class?: 'online' | 'batch';
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly cpu?: string;
  readonly memory?: string;
  readonly nodeName?: string;
  readonly phase?: string;
  readonly uid?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
}

/** `slices` and `core` are the pod's total, as its one container asks for them. */
export function podManifest(sketch: PodSketch, profile: Profile = PROFILES.gpuloom): PodManifest {
  const { name, slices = 1, core, count, class: className, namespace = 'default', cpu = '1', memory = '1Gi' } = sketch;
  return {
    metadata: {
      name,
      namespace,
      uid: sketch.uid ?? `uid-${namespace}-${name}`,
      labels: {
        ...(count === undefined ? {} : { [profile.countLabel]: String(count) }),
        ...(className === undefined ? {} : { 'gpuloom.io/class': className }),
        ...sketch.labels,
      },
      ...(sketch.creationTimestamp === undefined ? {} : { creationTimestamp: sketch.creationTimestamp }),
      ...(sketch.deletionTimestamp === undefined ? {} : { deletionTimestamp: sketch.deletionTimestamp }),
      annotations: { ...sketch.annotations },
    },
    spec: {
      ...(sketch.nodeName === undefined ? {} : { nodeName: sketch.nodeName }),
      containers: [
        {
          name: 'main',
          resources: {
            requests: { cpu, memory },
            limits: {
              ...(slices === 0 ? {} : { [profile.memoryResource]: String(slices) }),
              ...(core === undefined ? {} : { [profile.coreResource]: String(core) }),
            },
          },
        },
      ],
    },
    status: { phase: sketch.phase ?? 'Pending' },
  };
}

export function pod(sketch: PodSketch, profile: Profile = PROFILES.gpuloom): PodRecord {
  const record = podRecord(podManifest(sketch, profile), profile);
  if (record === undefined) throw new Error('the pod sketch has no identity');
  return record;
}
