// From slice ids to the pod that holds them: whose they are by the kubelet's books, and that pod as the API server has it.
// Names are used again, so a pod is taken for the holder only by its UID, or by a live read. Any doubt is a refusal.

import type { PodRecord } from '../../extender/core/model.ts';
import type { KubeletWitness, NodePods } from '../ports.ts';
import { findOwner, keyOf, type CheckpointHolding, type Owner } from './owner.ts';
import { BindingRefused } from './refused.ts';

export type KnownOwner = Extract<Owner, { container: string }>;

export interface Holder {
  readonly owner: KnownOwner;
  /** The checkpoint's entries for exactly these ids: an app container may hold those of an init container. */
  readonly recorded: readonly CheckpointHolding[];
}

/** Who holds exactly these ids, or throws `BindingRefused`. */
export async function holderOf(ids: readonly string[], witness: KubeletWitness): Promise<Holder> {
  const [holdings, checkpoint] = await Promise.all([witness.holdings(), witness.checkpoint()]);
  const owner = findOwner(ids, holdings, checkpoint);
  if (owner.kind === 'several')
    throw new BindingRefused(`the kubelet names several holders of these slices: ${owner.who.join(', ')}`);
  if (owner.kind === 'nobody')
    throw new BindingRefused(`the kubelet names no holder of these ${ids.length} slices yet; it will ask again`);
  const wanted = keyOf(ids);
  return { owner, recorded: checkpoint.filter((holding) => keyOf(holding.ids) === wanted) };
}

/** The pod by the watch, or by one live read where the watch lags or still shows it without its allocation. */
export async function podOf(owner: KnownOwner, pods: NodePods): Promise<PodRecord> {
  if (owner.kind === 'uid') {
    const known = pods.byUid(owner.podUid);
    if (known !== undefined) return known;
    throw new BindingRefused(
      `pod ${owner.podUid} holds these slices but is not known here yet; it will be asked for again`,
    );
  }
  const known = pods.byName(owner.namespace, owner.pod);
  if (known !== undefined && known.uid === owner.podUid && known.claim.kind === 'gpus') return known;
  // Without a UID the watch may still show the pod that had this name before.
  const live = await pods.readLive(owner.namespace, owner.pod);
  if (live === undefined) throw new BindingRefused(`pod ${owner.namespace}/${owner.pod} is gone`);
  if (owner.podUid !== undefined && live.uid !== owner.podUid) {
    throw new BindingRefused(
      `these slices belong to pod ${owner.podUid}, but ${owner.namespace}/${owner.pod} is now ${live.uid}`,
    );
  }
  return live;
}
