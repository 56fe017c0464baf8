// After a restart of the agent: what the containers on this node already hold, from the kubelet's own books, goes back
// onto the judge's, so that a new pod cannot be granted what a running one uses. A spec file is the proof that a container
// was granted its GPUs before; those come first, and whoever has none yet takes what is left.

import { deviceKey, specPodUid } from './binding/cdi-spec.ts';
import { claimOf } from './binding/claims.ts';
import type { NodeJudge } from './binding/judge.ts';
import type { ContainerHolding } from './binding/owner.ts';
import type { Inventory, PodRecord } from '../extender/core/model.ts';
import type { KubeletWitness, NodePods, SpecStore } from './ports.ts';

export interface RecoveryDeps {
  readonly witness: KubeletWitness;
  readonly pods: NodePods;
  readonly judge: NodeJudge;
  readonly specs: SpecStore;
  readonly inventory: () => Inventory;
  readonly report: (message: string) => void;
}

interface Holder {
  readonly pod: PodRecord;
  readonly holding: ContainerHolding;
  readonly wasGranted: boolean;
}

/** Grants every pod that holds slices what its allocation says; returns how many. Rejects when the kubelet is silent. */
export async function recoverGrants({ witness, pods, judge, specs, inventory, report }: RecoveryDeps): Promise<number> {
  const [holdings, written] = await Promise.all([witness.holdings(), specs.list()]);
  const grantedUids = new Map(written.map(({ key, text }) => [key, specPodUid(text)]));
  const holders = holdings.flatMap((holding): Holder[] => {
    const pod = pods.byName(holding.namespace, holding.pod);
    if (pod === undefined) return [];
    return [{ pod, holding, wasGranted: grantedUids.get(deviceKey(holding.ids)) === pod.uid }];
  });
  let recovered = 0;
  for (const { pod, holding } of holders.sort(grantedFirst)) {
    if (judge.isGranted(pod.uid)) continue;
    const reading = claimOf(pod, holding.container, inventory());
    const ruling = reading.kind === 'claim' ? judge.grant(reading.claim) : reading;
    if (ruling.kind === 'granted') recovered++;
    else report(`pod ${pod.namespace}/${pod.name} holds slices that cannot be accounted for: ${ruling.why}`);
  }
  return recovered;
}

function grantedFirst(a: Holder, b: Holder): number {
  return Number(b.wasGranted) - Number(a.wasGranted) || (a.pod.uid < b.pod.uid ? -1 : 1);
}
