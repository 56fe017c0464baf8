// A workload as the engine sees it: a ledger with the nodes, the mix of the pod list, and an engine that checks CPU and
// memory itself and sets no limit on the pods of a GPU, as in the FGD experiments.

import { Engine } from '../../extender/core/engine.ts';
import { Ledger } from '../../extender/core/ledger.ts';
import { type Mix, type MixClass, mixClassOf, typicalMix } from '../../extender/core/mix.ts';
import type { ModelCatalog } from '../../extender/core/model-catalog.ts';
import type { NodeRecord, PodRequest } from '../../extender/core/model.ts';
import type { GpuLimits } from '../../extender/core/limits.ts';
import type { RoomWeights } from '../../extender/core/room-weights.ts';
import { ClusterState } from '../../extender/core/state.ts';
import { selectPolicy, type SelectedPolicy, type SimulatedPolicyName } from '../policy/selection.ts';
import { MILLI_PER_GPU, type PodList, type SimulatedNode, type Workload } from '../workload.ts';

const NO_LIMITS: GpuLimits = {
  batchBesideOnline: Number.MAX_SAFE_INTEGER,
  batchShareBesideOnlinePercent: 100,
  batchPerGpu: Number.MAX_SAFE_INTEGER,
  podsPerGpu: Number.MAX_SAFE_INTEGER,
};

export interface SimulatedCluster {
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly policy: SelectedPolicy;
}

/** `draw` gives the numbers in [0, 1) of the policy `random`; `weights` are those of the default policy. */
export function buildCluster(
  workload: Workload,
  policyName: SimulatedPolicyName,
  draw: () => number,
  weights?: RoomWeights,
): SimulatedCluster {
  const { nodes, list, order } = workload;
  const ledger = new Ledger(new ClusterState());
  const width = String(order.nodes.length - 1).length;
  for (let position = 0; position < order.nodes.length; position++) {
    const node = nodes[order.nodes[position] ?? -1];
    if (node === undefined) throw new RangeError(`node order, position ${position}: no such node`);
    // Equal scores go to the first name, so the position comes first in it.
    ledger.upsertNode(nodeRecord(node, `${String(position).padStart(width, '0')}-${node.name}`));
  }
  const policy = selectPolicy(policyName, ledger, draw);
  const engine = new Engine({
    ledger,
    shapes: new Map(),
    ...(policy.mix === 'listed' && { mix: mixOf(list, ledger.state.models) }),
    checksHost: true,
    limits: NO_LIMITS,
    ...(weights !== undefined && { weights }),
    policies: policy.placements,
    defaultPolicy: policy.engineName,
  });
  return { engine, ledger, policy };
}

function mixOf(list: PodList, models: ModelCatalog): Mix {
  return typicalMix(
    1,
    classesOf(list, (request) => mixClassOf(request, models)),
    models,
  );
}

function* classesOf(list: PodList, classOf: (request: PodRequest) => MixClass): Iterable<MixClass> {
  const classes = list.requests.map(classOf);
  for (const at of list.pods) {
    const each = classes[at];
    if (each !== undefined) yield each;
  }
}

function nodeRecord({ name, cpuMilli, memoryMiB, gpus, model }: SimulatedNode, recordName: string): NodeRecord {
  const allocatable = { cpuMilli, memoryMiB };
  if (gpus === 0) return { name: recordName, uid: name, address: '', allocatable, gpus: { kind: 'none' } };
  const gpu = (index: number) => ({
    uuid: `${name}-${index}`,
    index,
    minor: index,
    model,
    memoryMiB: MILLI_PER_GPU,
    slices: MILLI_PER_GPU,
    numa: -1,
    health: 'healthy' as const,
  });
  const inventory = {
    unitMiB: 1,
    isolation: 'none' as const,
    links: [],
    gpus: Array.from({ length: gpus }, (_, index) => gpu(index)),
  };
  return {
    name: recordName,
    uid: name,
    address: '',
    allocatable,
    gpus: { kind: 'inventory', source: 'gpuloom', inventory },
  };
}
