// After a restart of the agent: what the containers on this node already hold goes back onto the judge's books, so that a
// new pod cannot be granted what a running one uses. A spec file is the proof that a container was granted its GPUs before,
// and of which GPUs; its pod comes first, also where the kubelet's books were lost. Then come the pods that hold slices by
// those books, and whoever has none yet takes what is left.

import { specGpus, specPodUid } from './binding/cdi-spec.ts';
import { claimOf, claimsOf } from './binding/claims.ts';
import type { NodeJudge } from './binding/judge.ts';
import type { Gpu, Inventory, PodRecord } from '../extender/core/model.ts';
import type { KubeletWitness, NodePods, SpecStore } from './ports.ts';

export interface RecoveryDeps {
  readonly witness: KubeletWitness;
  readonly pods: NodePods;
  readonly judge: NodeJudge;
  readonly specs: SpecStore;
  readonly inventory: () => Inventory;
  readonly report: (message: string) => void;
}

/** Grants every pod that holds slices what it was granted, or else what its allocation says; returns how many. Rejects
 * when the kubelet is silent. */
export async function recoverGrants(deps: RecoveryDeps): Promise<number> {
  const { witness, pods, judge, specs, inventory, report } = deps;
  const [holdings, checkpoint, written] = await Promise.all([witness.holdings(), witness.checkpoint(), specs.list()]);
  const granted = new Map(written.map(({ text }) => [specPodUid(text) ?? '', specGpus(text)]));
  const uids = [
    ...[...granted.keys()].sort(),
    // Old kubelets list no init containers; their checkpoint has them.
    ...holdings.flatMap(({ namespace, pod }) => pods.byName(namespace, pod)?.uid ?? []).sort(),
    ...checkpoint.map(({ podUid }) => podUid).sort(),
  ];
  let recovered = 0;
  for (const uid of new Set(uids)) {
    const pod = pods.byUid(uid);
    if (pod === undefined || judge.isGranted(uid)) continue;
    const gpus = gpusOf(pod, granted.get(uid) ?? [], inventory(), report);
    const ruling = typeof gpus === 'string' ? { kind: 'refused' as const, why: gpus } : judge.grant({ pod, gpus });
    if (ruling.kind === 'granted') recovered++;
    else report(`pod ${pod.namespace}/${pod.name} holds slices that cannot be accounted for: ${ruling.why}`);
  }
  return recovered;
}

/** The GPUs on which a pod runs: those of its spec, or those of its allocation; or why there are none. */
function gpusOf(
  pod: PodRecord,
  specified: readonly string[],
  inventory: Inventory,
  report: (message: string) => void,
): readonly Gpu[] | string {
  const [claim] = claimsOf(pod, inventory);
  const running = inventory.gpus.filter(({ uuid }) => specified.includes(uuid));
  if (running.length === 0 || running.length !== specified.length) return claim?.gpus ?? whyNone(pod, inventory);
  const isSame = claim?.gpus.length === running.length && claim.gpus.every((gpu) => running.includes(gpu));
  if (!isSame) {
    const where = running.map(({ index }) => index).join(', ');
    report(`pod ${pod.namespace}/${pod.name} runs on GPU ${where}, and its allocation was changed since`);
  }
  return running;
}

function whyNone(pod: PodRecord, inventory: Inventory): string {
  const name = pod.demand.kind === 'request' ? (pod.demand.request.containers[0]?.name ?? '') : '';
  const reading = claimOf(pod, name, inventory);
  return reading.kind === 'refused' ? reading.why : 'its containers ask for no GPU slices';
}
