// Binding by CDI: Allocate decides nothing, PreStartContainer knows the pod. The kubelet's Allocate names no pod, so it is
// answered with the name of a CDI device derived from the ids alone. Before the container is created the kubelet
// calls PreStartContainer with the same ids; by then its own books say whose they are, and the spec of that device is
// written from the owner's allocation. Any doubt is an error: the kubelet tries again, and nothing starts wrongly.

import type { Gpu, Inventory, PodRecord } from '../../extender/core/model.ts';
import type { KubeletWitness, LimitKeeper, NodePods, RefusalSink, SpecStore } from '../ports.ts';
import { cdiAnnotation, cdiSpec, deviceKey, specPodUid, type CdiMount } from './cdi-spec.ts';
import { describeClaim, startingClaim, unhealthyGpu, type ContainerClaim } from './claims.ts';
import { containerEnvironment, type EnvSettings } from './container-env.ts';
import { holderOf, podOf } from './holder.ts';
import type { NodeJudge } from './judge.ts';
import { BindingRefused } from './refused.ts';

export interface LateBindingDeps {
  readonly witness: KubeletWitness;
  readonly pods: NodePods;
  readonly judge: NodeJudge;
  readonly specs: SpecStore;
  readonly refusals: RefusalSink;
  readonly limits: LimitKeeper;
  readonly inventory: () => Inventory;
  readonly settings: () => EnvSettings;
  readonly deviceNodes: (gpus: readonly Gpu[]) => readonly string[];
  readonly mounts: readonly CdiMount[];
}

export class LateBinding {
  readonly #deps: LateBindingDeps;

  constructor(deps: LateBindingDeps) {
    this.#deps = deps;
  }

  /** What Allocate answers for any set of ids. */
  allocate(ids: readonly string[]): Readonly<Record<string, string>> {
    return cdiAnnotation(deviceKey(ids));
  }

  /**
   * Before Allocate answers for these ids: a spec that is still there is of a pod that held them before. A kubelet that
   * was restarted may start a container without PreStartContainer, and must then find no device rather than that one.
   */
  async forget(ids: readonly string[]): Promise<void> {
    await this.#deps.specs.remove(deviceKey(ids));
  }

  /** Writes the spec of the container that holds exactly these ids, or throws `BindingRefused`. */
  async preStart(ids: readonly string[]): Promise<ContainerClaim> {
    let pod: PodRecord | undefined;
    try {
      const { owner } = await holderOf(ids, this.#deps.witness);
      const unenforced = await this.#deps.limits.whyUnenforced();
      pod = await podOf(owner, this.#deps.pods);
      const claim = this.#claim(pod, owner.container, ids);
      if (unenforced !== undefined) throw new BindingRefused(`${describeClaim(claim)} is not started: ${unenforced}`);
      const ill = this.#deps.judge.isGranted(pod.uid) ? undefined : unhealthyGpu(claim);
      if (ill !== undefined) throw new BindingRefused(ill);
      const ruling = this.#deps.judge.grant(claim);
      if (ruling.kind === 'refused') throw new BindingRefused(ruling.why);
      await this.#writeSpec(ids, claim);
      return claim;
    } catch (error) {
      if (error instanceof BindingRefused) this.#deps.refusals.refused(pod, error.message);
      throw error;
    }
  }

  /** Removes specs of pods that are no longer on this node; returns how many. */
  async collect(): Promise<number> {
    let removed = 0;
    for (const { key, text } of await this.#deps.specs.list()) {
      const uid = specPodUid(text);
      // A pod known from a live read only has no other proof of its grant.
      if (uid !== undefined && (this.#deps.pods.byUid(uid) !== undefined || this.#deps.judge.isGranted(uid))) continue;
      await this.#deps.specs.remove(key);
      removed++;
    }
    return removed;
  }

  #claim(pod: PodRecord, container: string, ids: readonly string[]): ContainerClaim {
    const reading = startingClaim(pod, container, this.#deps.inventory());
    if (reading.kind === 'refused') throw new BindingRefused(reading.why);
    if (reading.claim.sliceIds !== ids.length) {
      throw new BindingRefused(
        `pod ${pod.namespace}/${pod.name}: container "${container}" asks for ${reading.claim.sliceIds} slices but the kubelet gave it ${ids.length}`,
      );
    }
    return reading.claim;
  }

  async #writeSpec(ids: readonly string[], claim: ContainerClaim): Promise<void> {
    const key = deviceKey(ids);
    const edits = {
      env: containerEnvironment(claim, this.#deps.settings()),
      deviceNodes: this.#deps.deviceNodes(claim.gpus),
      mounts: this.#deps.mounts,
    };
    await this.#deps.specs.write(key, cdiSpec(key, claim.pod.uid, edits));
  }
}
