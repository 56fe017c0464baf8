// A cluster as a document shows it, whatever the document was: the records of the extender, checked, in a fixed order.

import type { LearnedMix } from '../../extender/core/mix.ts';
import type { NodeRecord, PodRecord, PodRequest } from '../../extender/core/model.ts';
import type { Resident } from '../../extender/core/resident.ts';
import { documentFault } from './list-items.ts';
import { finding, type Finding } from './finding.ts';

export type LiveResident = Omit<Resident, 'positions'>;
/** A pod on a node that holds GPUs there. */
export type GpuResident = LiveResident & { readonly request: PodRequest };

export interface LiveCluster {
  readonly kind: 'snapshot' | 'kubectl';
  /** By name. */
  readonly nodes: readonly NodeRecord[];
  /** Pods that occupy a node, those without GPUs too; by UID. */
  readonly residents: readonly LiveResident[];
  /** GPU pods that wait for a node, those whose request is invalid too; by UID. */
  readonly waiting: readonly PodRecord[];
  /** GPU indices marked unhealthy from outside the inventory, by node name. */
  readonly markedUnhealthy: readonly (readonly [nodeName: string, indices: readonly number[]])[];
  /** What the extender learned of the requests it saw; undefined where the document does not say. */
  readonly mix: LearnedMix | undefined;
  /** What the reader alone could see. */
  readonly findings: readonly Finding[];
}

export function isGpuResident(resident: LiveResident): resident is GpuResident {
  return resident.request !== undefined;
}

export function fullName({ namespace, name }: Pick<PodRecord, 'namespace' | 'name'>): string {
  return `${namespace}/${name}`;
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export interface Orphans {
  readonly file: string;
  /** Where a resident is in the document. */
  readonly pathOf: (resident: LiveResident) => string;
  /** Leave them out in place of refusing the document. */
  readonly skip: boolean;
}

/**
 * The residents whose node is there. A GPU pod on a node that is not would count nowhere, so it is a fault unless it
 * is to be skipped; other pods on such nodes bear on nothing.
 */
export function withoutOrphans(
  residents: readonly LiveResident[],
  nodes: readonly NodeRecord[],
  { file, pathOf, skip }: Orphans,
): { readonly residents: readonly LiveResident[]; readonly findings: readonly Finding[] } {
  const names = new Set(nodes.map(({ name }) => name));
  const orphans = residents.filter((each) => isGpuResident(each) && !names.has(each.nodeName));
  const [first] = orphans;
  if (first !== undefined && !skip) {
    const what = `GPU pod ${fullName(first.pod)} is on node ${first.nodeName}, which the document does not have`;
    const others = orphans.length === 1 ? '' : ` (and ${orphans.length - 1} more such pods)`;
    const mend = 'list nodes and pods in one go, or leave such pods out with --skip-orphans';
    throw documentFault(file, pathOf(first), `${what}${others}`, mend);
  }
  return {
    residents: residents.filter((each) => names.has(each.nodeName)),
    findings: finding(
      'orphan',
      'GPU pods on nodes that the document does not have are left out',
      orphans.map(({ pod }) => fullName(pod)),
    ),
  };
}
