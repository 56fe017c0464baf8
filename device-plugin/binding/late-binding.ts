// Binding by CDI: Allocate decides nothing, PreStartContainer knows the pod. The kubelet's Allocate names no pod, so it is
// answered with the name of a CDI device derived from the ids alone. Before the container is created the kubelet
// calls PreStartContainer with the same ids; by then its own books say whose they are, and the spec of that device is
// written from the owner's allocation. Any doubt is an error: the kubelet tries again, and nothing starts wrongly.

import type { Gpu, Inventory, PodRecord } from '../../extender/core/model.ts';
import type { KubeletWitness, NodePods, RefusalSink, SpecStore } from '../ports.ts';
import { cdiAnnotation, cdiSpec, deviceKey, specPodUid, type CdiMount } from './cdi-spec.ts';
import { startingClaim, type ContainerClaim } from './claims.ts';
import { containerEnvironment, type EnvSettings } from './container-env.ts';
import type { NodeJudge } from './judge.ts';
import { findOwner, type Owner } from './owner.ts';

export interface LateBindingDeps {
  readonly witness: KubeletWitness;
  readonly pods: NodePods;
  readonly judge: NodeJudge;
  readonly specs: SpecStore;
  readonly refusals: RefusalSink;
  readonly inventory: () => Inventory;
  readonly settings: () => EnvSettings;
  readonly deviceNodes: (gpus: readonly Gpu[]) => readonly string[];
  readonly mounts: readonly CdiMount[];
}

/** A container may not start. The message goes to the kubelet and from there into the pod's events. */
export class BindingRefused extends Error {}

export class LateBinding {
  readonly #deps: LateBindingDeps;

  constructor(deps: LateBindingDeps) {
    this.#deps = deps;
  }

  /** What Allocate answers for any set of ids. */
  allocate(ids: readonly string[]): Readonly<Record<string, string>> {
    return cdiAnnotation(deviceKey(ids));
  }

  /** Writes the spec of the container that holds exactly these ids, or throws `BindingRefused`. */
  async preStart(ids: readonly string[]): Promise<ContainerClaim> {
    let pod: PodRecord | undefined;
    try {
      const owner = await this.#ownerOf(ids);
      pod = await this.#podOf(owner);
      const claim = this.#claim(pod, owner.container, ids);
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
      if (uid !== undefined && this.#deps.pods.byUid(uid) !== undefined) continue;
      await this.#deps.specs.remove(key);
      removed++;
    }
    return removed;
  }

  async #ownerOf(ids: readonly string[]): Promise<Extract<Owner, { container: string }>> {
    const [holdings, checkpoint] = await Promise.all([this.#deps.witness.holdings(), this.#deps.witness.checkpoint()]);
    const owner = findOwner(ids, holdings, checkpoint);
    if (owner.kind === 'several')
      throw new BindingRefused(`the kubelet names several holders of these slices: ${owner.who.join(', ')}`);
    if (owner.kind === 'nobody')
      throw new BindingRefused(`the kubelet names no holder of these ${ids.length} slices yet; it will ask again`);
    return owner;
  }

  /** The pod by the watch, or by one live read where the watch lags or still shows it without its allocation. */
  async #podOf(owner: Extract<Owner, { container: string }>): Promise<PodRecord> {
    const { pods } = this.#deps;
    if (owner.kind === 'uid') {
      const known = pods.byUid(owner.podUid);
      if (known !== undefined) return known;
      throw new BindingRefused(
        `pod ${owner.podUid} holds these slices but is not known here yet; it will be asked for again`,
      );
    }
    const known = pods.byName(owner.namespace, owner.pod);
    const isRight = known !== undefined && (owner.podUid === undefined || known.uid === owner.podUid);
    if (isRight && known.claim.kind === 'gpus') return known;
    const live = await pods.readLive(owner.namespace, owner.pod);
    if (live === undefined) throw new BindingRefused(`pod ${owner.namespace}/${owner.pod} is gone`);
    if (owner.podUid !== undefined && live.uid !== owner.podUid) {
      throw new BindingRefused(
        `these slices belong to pod ${owner.podUid}, but ${owner.namespace}/${owner.pod} is now ${live.uid}`,
      );
    }
    return live;
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
