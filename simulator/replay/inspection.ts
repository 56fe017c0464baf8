// What is amiss in a cluster as its books show it: over-commit, closed nodes, pods without a known GPU, drift.

import type { Engine } from '../../extender/core/engine.ts';
import { sameGpus, type Resident } from '../../extender/core/resident.ts';
import { NODE_CLOSED } from '../../extender/core/state.ts';
import { compareText, fullName, type LiveCluster } from './cluster.ts';
import { finding, type Finding } from './finding.ts';

export function inspectBooks(cluster: LiveCluster, engine: Engine): readonly Finding[] {
  const { state } = engine.ledger;
  const residents = [...engine.ledger.residents()].filter(({ request }) => request !== undefined);
  const names = (chosen: readonly Resident[]): string[] => chosen.map(({ pod }) => fullName(pod));
  const invalid = [...cluster.residents.map(({ pod }) => pod), ...cluster.waiting];
  return [
    ...overCommitted(engine),
    ...closedNodes(engine),
    ...finding(
      'unhealthy-gpu',
      'GPUs are unhealthy and take no pods',
      gpusWhere(engine, (at) => state.gpuHealthy[at] !== 1),
    ),
    ...finding(
      'unplaced',
      'running GPU pods do not say on which GPU they are; their share is held back on every GPU of their node',
      names(residents.filter(({ gpus }) => gpus.length === 0)),
    ),
    ...finding(
      'in-flight',
      'reservations whose Binding the API server has not shown yet count as running',
      names(residents.filter((each) => each.state !== 'confirmed')),
    ),
    ...finding(
      'drift',
      "the books differ from what the pods' own records say (node, GPUs or request)",
      names(residents.filter(differsFromPod)),
    ),
    ...finding(
      'invalid-request',
      'pods have a contradictory GPU request and hold no GPU in the books',
      invalid.filter(({ demand }) => demand.kind === 'invalid').map(fullName),
    ),
  ];
}

function overCommitted({ ledger }: Engine): readonly Finding[] {
  const { state } = ledger;
  const granted = new Map<number, { slices: number; core: number }>();
  for (const { request, nodeName, positions } of ledger.residents()) {
    if (request === undefined) continue;
    const start = state.gpuStart[state.indexOf(nodeName) ?? -1] ?? 0;
    for (const position of positions) {
      if (position < 0) continue;
      const held = granted.get(start + position) ?? { slices: 0, core: 0 };
      held.slices += request.slicesPerGpu;
      held.core += request.corePerGpu;
      granted.set(start + position, held);
    }
  }
  const names: string[] = [];
  for (const { name } of ledger.nodes()) {
    const node = state.indexOf(name) ?? -1;
    const start = state.gpuStart[node] ?? 0;
    for (let at = start; at < start + (state.gpuCount[node] ?? 0); at++) {
      const { slices, core } = granted.get(at) ?? { slices: 0, core: 0 };
      const capacity = state.gpuCapacity[at] ?? 0;
      if (slices <= capacity && core <= 100) continue;
      names.push(`${name} GPU ${state.gpuIndex[at] ?? 0} (${slices}/${capacity} slices, ${core} % compute)`);
    }
  }
  return finding('over-commit', 'GPUs are granted beyond their capacity', names);
}

function closedNodes({ ledger: { state } }: Engine): readonly Finding[] {
  const byWhy = new Map<string, string[]>();
  for (const node of state.nodeIndices()) {
    if (state.nodeKind[node] !== NODE_CLOSED) continue;
    const why = state.closedWhy[node] ?? '';
    const name = state.nodeNames[node] ?? '';
    byWhy.set(why, [...(byWhy.get(why) ?? []), name]);
  }
  return [...byWhy]
    .sort(([a], [b]) => compareText(a, b))
    .flatMap(([why, names]) => finding('closed-node', `nodes are closed to new pods: ${why}`, names));
}

function gpusWhere({ ledger: { state } }: Engine, isChosen: (at: number) => boolean): string[] {
  const names: string[] = [];
  for (const node of state.nodeIndices()) {
    const start = state.gpuStart[node] ?? 0;
    for (let at = start; at < start + (state.gpuCount[node] ?? 0); at++) {
      if (isChosen(at)) names.push(`${state.nodeNames[node] ?? ''} GPU ${state.gpuIndex[at] ?? 0}`);
    }
  }
  return names;
}

/** A reservation in flight is ahead of its pod; a confirmed one is where the API server shows the pod. */
function differsFromPod({ pod, request, nodeName, gpus, state }: Resident): boolean {
  const asked = pod.demand.kind === 'request' ? pod.demand.request : undefined;
  if (JSON.stringify(asked) !== JSON.stringify(request)) return true;
  if (state !== 'confirmed' || pod.nodeName === '') return false;
  if (pod.nodeName !== nodeName) return true;
  const claimed = pod.claim.kind === 'gpus' && pod.claim.gpus.length === asked?.gpuCount ? pod.claim.gpus : [];
  return claimed.length > 0 && !sameGpus(claimed, gpus);
}
