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

/** A new ledger from the same nodes and pods, in name order so that no arrival order can leave a trace. */
export function rebuild(ledger: Ledger): Ledger {
  const fresh = new Ledger(new ClusterState());
  const nodes = [...ledger.nodes()].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const node of nodes) {
    fresh.upsertNode(node);
    fresh.markUnhealthy(node.name, ledger.markedUnhealthy(node.name));
  }
  const residents = [...ledger.residents()].sort((a, b) => (a.uid < b.uid ? -1 : 1));
  for (const resident of residents) fresh.adopt(resident);
  return fresh;
}

/** Every difference between a ledger's columns and those of its rebuild. Empty where there is no drift. */
export function drift(ledger: Ledger, rebuilt: Ledger = rebuild(ledger)): readonly Difference[] {
  const differences: Difference[] = [];
  for (const { name } of ledger.nodes()) {
    const a = columns(ledger.state, name);
    const b = columns(rebuilt.state, name);
    for (const [column, value] of a) {
      const other = b.get(column);
      if (value === other) continue;
      const [gpu = '', of = ''] = column.split(' ');
      differences.push({ node: name, gpu, column: of, ledger: value, rebuilt: other ?? Number.NaN });
    }
  }
  return differences;
}

function columns(state: ClusterState, nodeName: string): Map<string, number> {
  const index = state.indexOf(nodeName) ?? -1;
  const found = new Map<string, number>([
    ['- kind', state.nodeKind[index] ?? -1],
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
