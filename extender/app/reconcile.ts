// What the API server shows, taken into the ledger: nodes, pods, and gpushare's unhealthy lists. Synchronous; every
// change of an object is taken in whole before the next verb can run.

import type { Engine } from '../core/engine.ts';
import type { NodeRecord, PodRecord } from '../core/model.ts';
import type { PodDirectory } from './pod-directory.ts';
import type { Clock, ObjectFeed } from './ports.ts';

/** One `unhealthy-gpu-<node>` ConfigMap of gpushare. */
export interface UnhealthyList {
  readonly nodeName: string;
  readonly indices: ReadonlySet<number>;
}

export interface ReconcileDeps {
  readonly engine: Engine;
  readonly pending: PodDirectory;
  readonly clock: Clock;
  /** A confirmed pod's allocation annotation was changed by somebody; the ledger keeps what it had. */
  readonly onTampered: (pod: PodRecord) => void;
}

export function podFeed(deps: ReconcileDeps): ObjectFeed<PodRecord> {
  const { engine, pending, clock } = deps;
  const { ledger, learner } = engine;
  const upsert = (pod: PodRecord): void => {
    const isNew = pending.byUid(pod.uid) === undefined && ledger.resident(pod.uid) === undefined;
    if (isNew && pod.demand.kind === 'request' && !pod.terminal) learner.learn(pod.demand.request);
    if (pod.nodeName === '' && !pod.terminal && pod.demand.kind !== 'none') pending.put(pod);
    else pending.remove(pod);
    if (ledger.observe(pod, clock.monotonicMillis()) === 'tampered') deps.onTampered(pod);
  };
  const remove = (pod: PodRecord): void => {
    pending.remove(pod);
    ledger.release(pod.uid);
  };
  return {
    upsert,
    remove,
    replace(pods) {
      const listed = new Set(pods.map(({ uid }) => uid));
      for (const pod of [...pending.values()]) if (!listed.has(pod.uid)) pending.remove(pod);
      for (const resident of [...ledger.residents()]) {
        // A reservation in flight may be younger than the list; the sweep asks the API server about it.
        if (resident.state === 'confirmed' && !listed.has(resident.pod.uid)) ledger.release(resident.pod.uid);
      }
      for (const pod of pods) upsert(pod);
    },
  };
}

export function nodeFeed({ engine: { ledger } }: Pick<ReconcileDeps, 'engine'>): ObjectFeed<NodeRecord> {
  return {
    upsert: (node) => ledger.upsertNode(node),
    remove: (node) => ledger.removeNode(node.name),
    replace(nodes) {
      const listed = new Set(nodes.map(({ name }) => name));
      for (const { name } of [...ledger.nodes()]) if (!listed.has(name)) ledger.removeNode(name);
      for (const node of nodes) ledger.upsertNode(node);
    },
  };
}

export function unhealthyFeed({ engine: { ledger } }: Pick<ReconcileDeps, 'engine'>): ObjectFeed<UnhealthyList> {
  const known = new Set<string>();
  const upsert = ({ nodeName, indices }: UnhealthyList): void => {
    known.add(nodeName);
    ledger.markUnhealthy(nodeName, indices);
  };
  const remove = ({ nodeName }: Pick<UnhealthyList, 'nodeName'>): void => {
    known.delete(nodeName);
    ledger.markUnhealthy(nodeName, new Set());
  };
  return {
    upsert,
    remove,
    replace(lists) {
      const listed = new Set(lists.map(({ nodeName }) => nodeName));
      for (const nodeName of [...known]) if (!listed.has(nodeName)) remove({ nodeName });
      for (const list of lists) upsert(list);
    },
  };
}
