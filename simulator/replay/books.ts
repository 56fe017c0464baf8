// A cluster in the extender's engine: its nodes, the pods that stay where they are, and the typical requests that
// fragmentation is measured against. Every what-if has books of its own; nothing is ever undone.

import { Engine } from '../../extender/core/engine.ts';
import { Ledger } from '../../extender/core/ledger.ts';
import type { GpuLimits } from '../../extender/core/limits.ts';
import { type Mix, MixLearner, mixClassOf, typicalMix } from '../../extender/core/mix.ts';
import type { ModelCatalog } from '../../extender/core/model-catalog.ts';
import type { NodeRecord, PolicyName } from '../../extender/core/model.ts';
import type { RoomWeights } from '../../extender/core/room-weights.ts';
import { ClusterState } from '../../extender/core/state.ts';
import { createShapeCache } from '../../extender/shape-cache.ts';
import type { LiveCluster, LiveResident } from './cluster.ts';

/** `learned`: what the extender learned from the requests it saw. `pods`: the GPU pods of the document. */
export type MixSource = 'learned' | 'pods';

export interface BookSettings {
  readonly policy: PolicyName;
  readonly limits: GpuLimits;
  readonly mix: MixSource;
  /** Of the policy `fragmentation`, where they are not its own. */
  readonly weights?: RoomWeights;
}

/** The mix to use where none was chosen: the extender's own, if the document has one. */
export function naturalMix({ mix }: LiveCluster): MixSource {
  return mix !== undefined && mix.typical.length > 0 ? 'learned' : 'pods';
}

/** An engine over `nodes` with `residents` where they are. CPU and memory are checked, since no kube-scheduler does. */
export function openBooks(
  cluster: LiveCluster,
  nodes: readonly NodeRecord[],
  residents: Iterable<LiveResident>,
  { policy, limits, mix, weights }: BookSettings,
): Engine {
  const ledger = new Ledger(new ClusterState());
  for (const node of nodes) ledger.upsertNode(node);
  for (const [name, indices] of cluster.markedUnhealthy) ledger.markUnhealthy(name, new Set(indices));
  for (const resident of residents) ledger.adopt({ ...resident, positions: [] });
  return new Engine({
    ledger,
    shapes: createShapeCache(),
    defaultPolicy: policy,
    limits,
    checksHost: true,
    mix: mixOf(cluster, mix, ledger.state.models),
    ...(weights !== undefined && { weights }),
  });
}

function mixOf(cluster: LiveCluster, source: MixSource, models: ModelCatalog): Mix {
  if (source === 'learned' && cluster.mix !== undefined) {
    const learner = new MixLearner(models, Math.max(1, cluster.mix.seen.length));
    learner.load(cluster.mix);
    return learner.mix;
  }
  const residents = cluster.residents.flatMap(({ request }) => (request === undefined ? [] : [request]));
  const waiting = cluster.waiting.flatMap(({ demand }) => (demand.kind === 'request' ? [demand.request] : []));
  return typicalMix(
    1,
    [...residents, ...waiting].map((request) => mixClassOf(request, models)),
    models,
  );
}
