// Binding by environment, where the runtime has no CDI. Allocate must answer before it is known whose the ids are, so the
// ids are steered: the preferred ids lie on the GPUs of the container whose turn it is, and Allocate reads the GPUs
// back from the ids. PreStartContainer verifies the answer against the real owner and refuses on a contradiction. A
// container may be refused; none is ever started on another GPU than its own.

import type { Inventory, PodRecord } from '../../extender/core/model.ts';
import type { KubeletWitness, NodePods, RefusalSink, SpecStore } from '../ports.ts';
import { cdiSpec, deviceKey } from './cdi-spec.ts';
import { claimsOf, describeClaim, lackingIsolation, sameGpus, startingClaim, type ContainerClaim } from './claims.ts';
import { containerEnvironment, type Environment, type EnvSettings } from './container-env.ts';
import type { NodeJudge } from './judge.ts';
import { BindingRefused } from './late-binding.ts';
import { findOwner, keyOf } from './owner.ts';

export interface EnvBindingDeps {
  readonly witness: KubeletWitness;
  readonly pods: NodePods;
  readonly judge: NodeJudge;
  /** No runtime reads them here; they are the agent's record of what it has granted. */
  readonly specs: SpecStore;
  readonly refusals: RefusalSink;
  readonly inventory: () => Inventory;
  readonly settings: () => EnvSettings;
  /** The GPU of a slice id; undefined for an id of another scheme, which is opaque. */
  readonly gpuOfId: (id: string) => string | undefined;
}

/** No pod waits for that many slices as yet: the kubelet may have seen the pod before our watch did. */
export class NobodyWaits extends BindingRefused {}

export interface PreferenceRequest {
  readonly available: readonly string[];
  readonly mustInclude: readonly string[];
  readonly size: number;
}

export class EnvBinding {
  readonly #deps: EnvBindingDeps;
  /** What Allocate answered, by id set: pods whose containers have had their turn. */
  readonly #answered = new Map<string, ContainerClaim>();

  constructor(deps: EnvBindingDeps) {
    this.#deps = deps;
  }

  /** Ids on the GPUs of the container whose turn it is; any available ones where there is none. Never throws. */
  prefer({ available, mustInclude, size }: PreferenceRequest): readonly string[] {
    const [next] = this.#waiting(size);
    const perGpu = next === undefined ? 0 : size / next.gpus.length;
    const chosen = new Set(mustInclude);
    for (const { uuid } of next?.gpus ?? []) {
      const onGpu = available.filter((id) => this.#deps.gpuOfId(id) === uuid && !chosen.has(id));
      for (const id of onGpu.slice(0, perGpu)) chosen.add(id);
    }
    for (const id of available) {
      if (chosen.size >= size) break;
      chosen.add(id);
    }
    return [...chosen].slice(0, size);
  }

  /** The environment for a set of ids, or throws `BindingRefused`. */
  allocate(ids: readonly string[]): Environment {
    const waiting = this.#waiting(ids.length);
    const claim = this.#match(ids, waiting);
    if (claim === undefined) {
      if (waiting.length === 0)
        throw new NobodyWaits(`no pod on this node with an allocation waits for ${ids.length} slices`);
      const who = waiting.slice(0, 4).map(describeClaim).join('; ');
      throw new BindingRefused(`cannot tell whose ${ids.length} slices these are; waiting: ${who}`);
    }
    // Refused here and not only before the start: the answer stays, and isolation may be switched on in between.
    const lacking = lackingIsolation(claim.pod, this.#deps.inventory());
    if (lacking !== undefined) throw new BindingRefused(lacking);
    this.#answered.set(keyOf(ids), claim);
    return containerEnvironment(claim, this.#deps.settings());
  }

  /** Verifies that the answer given for these ids is right for the container that holds them. */
  async preStart(ids: readonly string[]): Promise<ContainerClaim> {
    let pod: PodRecord | undefined;
    try {
      const [holdings, checkpoint] = await Promise.all([
        this.#deps.witness.holdings(),
        this.#deps.witness.checkpoint(),
      ]);
      const owner = findOwner(ids, holdings, checkpoint);
      if (owner.kind === 'several' || owner.kind === 'nobody')
        throw new BindingRefused('the kubelet does not say whose these slices are');
      pod = owner.kind === 'uid' ? this.#deps.pods.byUid(owner.podUid) : await this.#byName(owner.namespace, owner.pod);
      if (pod === undefined) throw new BindingRefused('the pod that holds these slices is not known here');
      const reading = startingClaim(pod, owner.container, this.#deps.inventory());
      if (reading.kind === 'refused') throw new BindingRefused(reading.why);
      this.#verify(ids, reading.claim);
      const ruling = this.#deps.judge.grant(reading.claim);
      if (ruling.kind === 'refused') throw new BindingRefused(ruling.why);
      const key = deviceKey(ids);
      const env = containerEnvironment(reading.claim, this.#deps.settings());
      await this.#deps.specs.write(key, cdiSpec(key, pod.uid, { env, deviceNodes: [], mounts: [] }));
      return reading.claim;
    } catch (error) {
      if (error instanceof BindingRefused) this.#deps.refusals.refused(pod, error.message);
      throw error;
    }
  }

  /** Forgets answers to pods that are gone. */
  collect(): void {
    for (const [key, { pod }] of this.#answered)
      if (this.#deps.pods.byUid(pod.uid) === undefined) this.#answered.delete(key);
  }

  async #byName(namespace: string, name: string): Promise<PodRecord | undefined> {
    const known = this.#deps.pods.byName(namespace, name);
    return known?.claim.kind === 'gpus' ? known : await this.#deps.pods.readLive(namespace, name);
  }

  /**
   * The GPUs that the container will see are those that Allocate answered. After a restart of the agent the answer is
   * not remembered; the ids then say it, because only ids on the answered GPUs were ever preferred and accepted.
   */
  #verify(ids: readonly string[], claim: ContainerClaim): void {
    const answered = this.#answered.get(keyOf(ids));
    if (answered !== undefined) {
      if (sameGpus(answered, claim)) return;
      // The answer is spent on the wrong container; whom it was meant for waits again.
      this.#answered.delete(keyOf(ids));
      throw new BindingRefused(
        `the kubelet admitted ${describeClaim(claim)} with the environment meant for ${describeClaim(answered)}; delete the pod to try again`,
      );
    }
    if (!isOnGpus(this.#gpusOf(ids), claim)) {
      throw new BindingRefused(
        `${describeClaim(claim)} was admitted with slices of other GPUs; delete the pod to try again`,
      );
    }
  }

  /** Claims whose container asks for this many ids and has had no answer yet, first created first. */
  #waiting(size: number): readonly ContainerClaim[] {
    const answered = new Set([...this.#answered.values()].map(({ pod, container }) => `${pod.uid} ${container}`));
    const inventory = this.#deps.inventory();
    return [...this.#deps.pods.all()]
      .filter(({ uid }) => !this.#deps.judge.isGranted(uid))
      .flatMap((pod) => claimsOf(pod, inventory))
      .filter(({ sliceIds, pod, container }) => sliceIds === size && !answered.has(`${pod.uid} ${container}`));
  }

  /** The one waiting claim on the GPUs that the ids name; without such ids, the only possible answer if there is one. */
  #match(ids: readonly string[], waiting: readonly ContainerClaim[]): ContainerClaim | undefined {
    const named = this.#gpusOf(ids);
    const onGpus = waiting.find((claim) => isOnGpus(named, claim));
    if (onGpus !== undefined) return onGpus;
    const [first] = waiting;
    const isUnanimous = first !== undefined && waiting.every((claim) => sameGpus(claim, first));
    // Ids of an older agent are spread over all GPUs and say nothing.
    return isUnanimous && named === undefined ? first : undefined;
  }

  /** How many ids lie on each GPU; undefined where an id is opaque. */
  #gpusOf(ids: readonly string[]): ReadonlyMap<string, number> | undefined {
    const counts = new Map<string, number>();
    for (const id of ids) {
      const gpu = this.#deps.gpuOfId(id);
      if (gpu === undefined) return undefined;
      counts.set(gpu, (counts.get(gpu) ?? 0) + 1);
    }
    return counts;
  }
}

function isOnGpus(named: ReadonlyMap<string, number> | undefined, { gpus, slicesPerGpu }: ContainerClaim): boolean {
  return (
    named !== undefined && named.size === gpus.length && gpus.every(({ uuid }) => named.get(uuid) === slicesPerGpu)
  );
}
