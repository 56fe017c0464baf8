// The kubelet's two witnesses, PodResources and its checkpoint, for one resource.

import { join } from 'node:path';
import type { CheckpointHolding, ContainerHolding } from './binding/owner.ts';
import { CHECKPOINT_FILE, readCheckpoint } from './kubelet/checkpoint.ts';
import type { PodResourcesReader } from './kubelet/pod-resources.ts';
import type { KubeletWitness } from './ports.ts';

const TIMEOUT_MILLIS = 5000;

export interface WitnessOptions {
  readonly reader: PodResourcesReader;
  readonly kubeletDir: string;
  readonly resource: string;
}

export function kubeletWitness({ reader, kubeletDir, resource }: WitnessOptions): KubeletWitness {
  return {
    async holdings(): Promise<readonly ContainerHolding[]> {
      const pods = await reader.listFresh(TIMEOUT_MILLIS);
      return pods.flatMap(({ namespace, name: pod, containers }) =>
        containers.flatMap(({ name: container, devices }) => {
          const ids = devices.get(resource);
          return ids === undefined ? [] : [{ namespace, pod, container, ids }];
        }),
      );
    },
    /** A checkpoint that is missing or unreadable says nothing; PodResources then decides alone. */
    async checkpoint(): Promise<readonly CheckpointHolding[]> {
      const reading = await readCheckpoint(join(kubeletDir, CHECKPOINT_FILE));
      if (reading.kind !== 'read') return [];
      return reading.entries
        .filter(({ resourceName }) => resourceName === resource)
        .map(({ podUid, container, deviceIds, allocation }) => ({ podUid, container, ids: deviceIds, allocation }));
    },
  };
}
