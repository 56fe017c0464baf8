// Workload class and gang membership, from our label or, read-only, from the markers of other systems.

import { ownValue, type StringMap } from './manifest.ts';
import type { WorkloadClass } from './model.ts';
import { POD_LABELS } from './resources.ts';

export type ClassResult =
  { readonly kind: 'class'; readonly class: WorkloadClass } | { readonly kind: 'invalid'; readonly why: string };

/** Marker key, and the values that mean batch; every other value means online. */
const FOREIGN_BATCH_MARKERS: readonly (readonly [key: string, batchValues: readonly string[]])[] = [
  ['koordinator.sh/qosClass', ['BE']],
  ['volcano.sh/qos-level', ['BE', '-1']],
  ['katalyst.kubewharf.io/qos_level', ['reclaimed_cores']],
  ['tke.cloud.tencent.com/app-class', ['offline']],
];

const GANG_MARKERS: readonly string[] = [
  'pod-group.scheduling.sigs.k8s.io/name',
  'scheduling.x-k8s.io/pod-group',
  'scheduling.k8s.io/group-name',
  'gang.scheduling.koordinator.sh/name',
  'pod-group.scheduling.sigs.k8s.io',
];

/** The class of a pod; `online` where nothing says otherwise. */
export function workloadClass(labels: StringMap, annotations: StringMap): ClassResult {
  const ours = ownValue(labels, POD_LABELS.class);
  if (ours !== undefined) {
    if (ours === 'online' || ours === 'batch') return { kind: 'class', class: ours };
    return { kind: 'invalid', why: `label ${POD_LABELS.class} is "${ours}"; write online or batch` };
  }
  for (const [key, batchValues] of FOREIGN_BATCH_MARKERS) {
    const marker = ownValue(labels, key) ?? ownValue(annotations, key);
    if (marker !== undefined) return { kind: 'class', class: batchValues.includes(marker) ? 'batch' : 'online' };
  }
  return { kind: 'class', class: 'online' };
}

/** Whether the pod belongs to a group that starts together, by any of the known markers. */
export function isGangMember(labels: StringMap, annotations: StringMap): boolean {
  return GANG_MARKERS.some((key) => ownValue(labels, key) !== undefined || ownValue(annotations, key) !== undefined);
}
