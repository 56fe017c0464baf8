// The ledger's books against a rebuild from scratch. In a correct ledger the two are equal at all times.

import { Ledger } from './ledger.ts';
import { ClusterState } from './state.ts';

/** One GPU column that differs between a ledger and its rebuild. */
export interface Difference {
  readonly node: string;
  readonly gpu: string;
  readonly column: string;
  readonly ledger: number;
  readonly rebuilt: number;
}

/**
 * A new ledger from the same nodes and pods, in name order so that no arrival order can leave a trace.
 * With `only`, of one node and the pods on it.
 */
export function rebuild(ledger: Ledger, only?: string): Ledger {
  const fresh = new Ledger(new ClusterState());
  const nodes = [...(only === undefined ? ledger.nodes() : [ledger.node(only)])].filter((node) => node !== undefined);
  for (const node of nodes.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    fresh.upsertNode(node);
    fresh.markUnhealthy(node.name, ledger.markedUnhealthy(node.name));
  }
  const residents = [...(only === undefined ? ledger.residents() : ledger.residentsOf(only))];
  for (const resident of residents.sort((a, b) => (a.uid < b.uid ? -1 : 1))) fresh.adopt(resident);
  return fresh;
}

/** Every difference between a ledger's columns and those of its rebuild. Empty where there is no drift. */
export function drift(ledger: Ledger, rebuilt: Ledger = rebuild(ledger)): readonly Difference[] {
  return [...ledger.nodes()].flatMap(({ name }) => nodeDifferences(ledger, rebuilt, name));
}

/** The same for one node, cheap enough to go round the cluster while verbs are being answered. */
export function driftOfNode(ledger: Ledger, name: string): readonly Difference[] {
  return nodeDifferences(ledger, rebuild(ledger, name), name);
}

function nodeDifferences(ledger: Ledger, rebuilt: Ledger, name: string): Difference[] {
  const differences: Difference[] = [];
  const other = columns(rebuilt.state, name);
  for (const [column, value] of columns(ledger.state, name)) {
    const rebuiltValue = other.get(column) ?? Number.NaN;
    if (value === rebuiltValue) continue;
    const [gpu = '', of = ''] = column.split(' ');
    differences.push({ node: name, gpu, column: of, ledger: value, rebuilt: rebuiltValue });
  }
  return differences;
}

function columns(state: ClusterState, nodeName: string): Map<string, number> {
  const index = state.indexOf(nodeName) ?? -1;
  const found = new Map<string, number>([
    ['- kind', state.nodeKind[index] ?? -1],
    ['- isolation', state.nodeIsolation[index] ?? -1],
    ['- cpuFreeMilli', state.cpuFreeMilli[index] ?? -1],
    ['- memoryFreeMiB', state.memoryFreeMiB[index] ?? -1],
  ]);
  const start = state.gpuStart[index] ?? 0;
  for (let at = start; at < start + (state.gpuCount[index] ?? 0); at++) {
    const uuid = state.gpuUuid[at] ?? '';
    found.set(`${uuid} capacity`, state.gpuCapacity[at] ?? -1);
    found.set(`${uuid} free`, state.gpuFree[at] ?? -1);
    found.set(`${uuid} freeCore`, state.gpuFreeCore[at] ?? -1);
    found.set(`${uuid} sharers`, state.gpuSharers[at] ?? -1);
    found.set(`${uuid} healthy`, state.gpuHealthy[at] ?? -1);
    found.set(`${uuid} online`, state.gpuOnline[at] ?? -1);
    found.set(`${uuid} batch`, state.gpuBatch[at] ?? -1);
    found.set(`${uuid} batchSlices`, state.gpuBatchSlices[at] ?? -1);
    found.set(`${uuid} batchApart`, state.gpuBatchApart[at] ?? -1);
  }
  return found;
}
