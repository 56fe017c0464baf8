// gpushare's inspect document over our ledger: per node and GPU the units in use and the pods that use them.

import type { Ledger } from '../core/ledger.ts';
import type { Resident } from '../core/resident.ts';

/** `totalGPU` and `usedGPU` are memory units, not numbers of GPUs; the names are gpushare's. */
export interface InspectDocument {
  readonly nodes: readonly InspectNode[];
}

export interface InspectNode {
  readonly name: string;
  readonly totalGPU: number;
  readonly usedGPU: number;
  readonly devs: readonly InspectDevice[];
}

export interface InspectDevice {
  readonly id: number;
  readonly totalGPU: number;
  readonly usedGPU: number;
  readonly pods: readonly { readonly name: string; readonly namespace: string; readonly usedGPU: number }[];
}

/** All GPU nodes in name order, or one; undefined where that one is not known. */
export function inspect(ledger: Ledger, nodeName?: string): InspectDocument | undefined {
  if (nodeName !== undefined) {
    return ledger.node(nodeName) === undefined ? undefined : { nodes: [inspectNode(ledger, nodeName)] };
  }
  const names = [...ledger.nodes()].filter(({ gpus }) => gpus.kind === 'inventory').map(({ name }) => name);
  return { nodes: names.sort().map((name) => inspectNode(ledger, name)) };
}

function inspectNode(ledger: Ledger, name: string): InspectNode {
  const { state } = ledger;
  const index = state.indexOf(name) ?? -1;
  const start = state.gpuStart[index] ?? 0;
  const residents = [...ledger.residentsOf(name)].sort(byName);
  const devs = Array.from({ length: state.gpuCount[index] ?? 0 }, (_, position): InspectDevice => {
    const total = state.gpuCapacity[start + position] ?? 0;
    const pods = residents
      .filter(({ positions }) => positions.includes(position))
      .map(({ pod, request }) => ({ name: pod.name, namespace: pod.namespace, usedGPU: request?.slicesPerGpu ?? 0 }));
    return {
      id: state.gpuIndex[start + position] ?? position,
      totalGPU: total,
      usedGPU: pods.reduce((sum, { usedGPU }) => sum + usedGPU, 0),
      pods,
    };
  });
  return {
    name,
    totalGPU: devs.reduce((sum, { totalGPU }) => sum + totalGPU, 0),
    usedGPU: devs.reduce((sum, { usedGPU }) => sum + usedGPU, 0),
    devs,
  };
}

function byName(a: Resident, b: Resident): number {
  const keyA = `${a.pod.namespace}/${a.pod.name}`;
  const keyB = `${b.pod.namespace}/${b.pod.name}`;
  return keyA < keyB ? -1 : keyA > keyB ? 1 : 0;
}
