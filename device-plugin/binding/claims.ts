// What the pods on this node may hold: each container's GPUs and amounts, read from the pod's spec and allocation.
// Pure. Whatever contradicts itself is a refusal with a sentence for the pod's events, never a guess.

import { isolationRank, type Gpu, type Inventory, type PodRecord } from '../../extender/core/model.ts';
import { POD_ANNOTATIONS } from '../../extender/core/resources.ts';

/** One container's right to GPUs of this node. */
export interface ContainerClaim {
  readonly pod: PodRecord;
  readonly container: string;
  /** The pod's GPUs, in inventory order. */
  readonly gpus: readonly Gpu[];
  readonly slicesPerGpu: number;
  readonly corePerGpu: number;
  /** How many slice ids the kubelet asks for this container: slices over all of its GPUs. */
  readonly sliceIds: number;
}

export type ClaimReading =
  { readonly kind: 'claim'; readonly claim: ContainerClaim } | { readonly kind: 'refused'; readonly why: string };

/** A container's claim, or why it has none that may be honoured. */
export function claimOf(pod: PodRecord, container: string, inventory: Inventory): ClaimReading {
  const who = `pod ${pod.namespace}/${pod.name}`;
  if (pod.demand.kind === 'none') return refused(`${who} asks for no GPU slices`);
  if (pod.demand.kind === 'invalid') return refused(`${who}: ${pod.demand.why}`);
  if (pod.terminal) return refused(`${who} has ended`);
  const { request } = pod.demand;
  const demand = request.containers.find(({ name }) => name === container);
  if (demand === undefined || demand.slicesPerGpu === 0)
    return refused(`${who}: container "${container}" asks for no GPU slices`);
  if (pod.claim.kind === 'none') {
    return refused(
      `${who} reached this node without an allocation; let the scheduler with the gpuloom extender place it (no nodeName, right schedulerName)`,
    );
  }
  if (pod.claim.kind === 'invalid') return refused(`${who}: ${pod.claim.why}`);
  if (pod.claim.gpus.length !== request.gpuCount) {
    return refused(
      `${who} asks for ${request.gpuCount} GPUs but its allocation names ${pod.claim.gpus.length}; it was not written by the extender`,
    );
  }
  const gpus: Gpu[] = [];
  for (const { uuid, index } of pod.claim.gpus) {
    const gpu = inventory.gpus.find((each) => (uuid === '' ? each.index === index : each.uuid === uuid));
    if (gpu === undefined)
      return refused(`${who} is allocated GPU ${uuid === '' ? index : uuid}, which this node does not have`);
    gpus.push(gpu);
  }
  gpus.sort((a, b) => a.index - b.index);
  const { slicesPerGpu, corePerGpu } = demand;
  return {
    kind: 'claim',
    claim: { pod, container, gpus, slicesPerGpu, corePerGpu, sliceIds: slicesPerGpu * request.gpuCount },
  };
}

/** `claimOf` for a container that is about to start: this node must also offer the isolation that its pod requires. */
export function startingClaim(pod: PodRecord, container: string, inventory: Inventory): ClaimReading {
  const reading = claimOf(pod, container, inventory);
  const why = lackingIsolation(pod, inventory);
  return reading.kind === 'claim' && why !== undefined ? refused(why) : reading;
}

/** Why the pod may not start here for want of isolation; undefined where it may. */
export function lackingIsolation({ namespace, name, demand }: PodRecord, { isolation }: Inventory): string | undefined {
  if (demand.kind !== 'request' || isolationRank(isolation) >= isolationRank(demand.request.isolation))
    return undefined;
  return `pod ${namespace}/${name} requires isolation ${demand.request.isolation} (${POD_ANNOTATIONS.isolation}), and this node offers ${isolation}; set isolation: ${demand.request.isolation} for its agent, or delete the pod so that it is placed elsewhere`;
}

/** Why nothing new may start on the GPUs of a claim; undefined where it may. Running containers are left alone. */
export function unhealthyGpu({ pod, gpus }: ContainerClaim): string | undefined {
  const ill = gpus.find(({ health }) => health !== 'healthy');
  if (ill === undefined) return undefined;
  return `pod ${pod.namespace}/${pod.name} is allocated GPU ${ill.index}, which is unhealthy; it starts when the GPU has recovered, or delete the pod so that it is placed elsewhere`;
}

/** Every honourable claim of a pod's containers, in the order in which the kubelet admits them. */
export function claimsOf(pod: PodRecord, inventory: Inventory): readonly ContainerClaim[] {
  if (pod.demand.kind !== 'request') return [];
  return pod.demand.request.containers.flatMap(({ name }) => {
    const reading = claimOf(pod, name, inventory);
    return reading.kind === 'claim' ? [reading.claim] : [];
  });
}

/** Whether two claims are to the same GPUs. */
export function sameGpus(a: ContainerClaim, b: ContainerClaim): boolean {
  return a.gpus.length === b.gpus.length && a.gpus.every(({ uuid }, at) => uuid === b.gpus[at]?.uuid);
}

export function describeClaim({ pod, container, gpus }: ContainerClaim): string {
  return `${pod.namespace}/${pod.name} container "${container}" on GPU ${gpus.map(({ index }) => index).join(', ')}`;
}

function refused(why: string): ClaimReading {
  return { kind: 'refused', why };
}
