// The extender's books against the API server: a ledger rebuilt here from the pods and nodes that the API server has,
// compared with the one in the extender's snapshot; and what that ledger says about pods that wait.

import { Engine } from '../../extender/core/engine.ts';
import { drift } from '../../extender/core/drift.ts';
import { Ledger } from '../../extender/core/ledger.ts';
import { nodeRecord, podRecord } from '../../extender/core/records.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import type { Profile } from '../../extender/core/resources.ts';
import { FITS } from '../../extender/core/reasons.ts';
import { MixLearner } from '../../extender/core/mix.ts';
import { restoreSnapshot } from '../../extender/core/snapshot.ts';
import type { Snapshot } from '../../extender/core/snapshot.ts';
import { ClusterState } from '../../extender/core/state.ts';
import type { ApiClient } from './api.ts';
import type { LiveNode, LivePod } from './cluster.ts';

/** A ledger from nothing but what the API server has now. */
export async function ledgerFromApi(api: ApiClient, profile: Profile = PROFILES.gpuloom): Promise<Ledger> {
  const ledger = new Ledger(new ClusterState());
  const nodes = await api.list<LiveNode>('/api/v1/nodes');
  const pods = await api.list<LivePod>('/api/v1/pods');
  for (const node of nodes.items.map((item) => nodeRecord(item))) if (node !== undefined) ledger.upsertNode(node);
  for (const pod of pods.items.map((item) => podRecord(item, profile))) if (pod !== undefined) ledger.observe(pod, 0);
  return ledger;
}

/** Every way in which a snapshot differs from a ledger, in words. */
export function bookDifferences(snapshot: Snapshot, truth: Ledger): readonly string[] {
  const kept = new Ledger(new ClusterState());
  restoreSnapshot({ ledger: kept, learner: new MixLearner(kept.state.models, 1) }, snapshot);
  const columns = [...drift(kept, truth), ...drift(truth, kept)];
  return [
    ...columns.map(
      ({ node, gpu, column, ledger, rebuilt }) => `${node} ${gpu} ${column}: ${ledger} against ${rebuilt}`,
    ),
    ...residentsMissing(kept, truth).map((pod) => `${pod} is in the extender's ledger only`),
    ...residentsMissing(truth, kept).map((pod) => `${pod} is missing in the extender's ledger`),
    ...[...kept.unconfirmed()].map((uid) => `the reservation ${uid} is still open`),
  ];
}

/** Names of waiting pods that the engine would place on some node as things stand. */
export function fittingPods(
  ledger: Ledger,
  pods: readonly LivePod[],
  profile: Profile = PROFILES.gpuloom,
): readonly string[] {
  const engine = new Engine({ ledger, shapes: new Map() });
  return pods.flatMap((pod) => {
    if (pod.spec?.nodeName !== undefined) return [];
    const record = podRecord(pod, profile);
    if (record?.demand.kind !== 'request') return [];
    const { reasons } = engine.verdicts(engine.shapeOf(record.demand.request, record.namespace, record.labels));
    return [...ledger.state.nodeIndices()].some((node) => reasons[node] === FITS) ? [record.name] : [];
  });
}

function residentsMissing(here: Ledger, there: Ledger): readonly string[] {
  return [...here.residents()]
    .filter(({ uid, nodeName }) => there.resident(uid)?.nodeName !== nodeName)
    .map(({ pod, nodeName }) => `${pod.namespace}/${pod.name} on ${nodeName}`);
}
