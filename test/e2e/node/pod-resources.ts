// What a kubelet's PodResources API says of who holds which devices, in both versions that kubelets have had of it.

import { unaryCall, unixClient } from '../../../device-plugin/kubelet/kubelet-client.ts';
import { loadPodResourcesApi } from '../../../device-plugin/proto/services.ts';
import type { RealNode } from './node.ts';

export type PodResourcesVersion = 'v1' | 'v1alpha1';

/** Sorted device ids of one resource, by `<namespace>/<pod>/<container>`; containers without any are left out. */
export async function deviceIds(
  node: RealNode,
  resource: string,
  version: PodResourcesVersion = 'v1',
): Promise<ReadonlyMap<string, readonly string[]>> {
  // The fields that are read here have the same numbers in both versions.
  const method = { ...loadPodResourcesApi().List, path: `/${version}.PodResourcesLister/List` };
  const client = unixClient(node.podResourcesSocket);
  try {
    const list = await unaryCall(client, method, {}, { timeoutMillis: 5_000 });
    const holders = list.pod_resources.flatMap(({ namespace, name, containers }) =>
      containers.map(({ name: container, devices }) => {
        const ours = devices.filter(({ resource_name }) => resource_name === resource);
        const ids = ours.flatMap(({ device_ids }) => device_ids).toSorted();
        return [`${namespace}/${name}/${container}`, ids] as const;
      }),
    );
    return new Map(holders.filter(([, ids]) => ids.length > 0));
  } finally {
    client.close();
  }
}
