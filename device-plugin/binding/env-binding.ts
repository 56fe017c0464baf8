// Binding by environment, where the runtime has no CDI. Allocate must answer before it is known whose the ids are, so the
// ids are steered: the preferred ids lie on the GPUs of the container whose turn it is, and Allocate reads the GPUs
// back from the ids. PreStartContainer compares what the kubelet will give the container, which is in its checkpoint, with
// the allocation of the real owner, and refuses on a contradiction. A container may be refused; none is ever started on
// another GPU than its own.

import type { Inventory, PodRecord } from '../../extender/core/model.ts';
import type { KubeletWitness, LimitKeeper, NodePods, RefusalSink, SpecStore } from '../ports.ts';
import { cdiSpec, deviceKey } from './cdi-spec.ts';
import {
  describeClaim,
  lackingIsolation,
  sameGpus,
  startingClaim,
  unhealthyGpu,
  type ContainerClaim,
} from './claims.ts';
import { containerEnvironment, contradiction, type Environment, type EnvSettings } from './container-env.ts';
import { holderOf, podOf } from './holder.ts';
import type { NodeJudge } from './judge.ts';
import type { CheckpointHolding } from './owner.ts';
import { BindingRefused } from './refused.ts';
import { Turns } from './turns.ts';

export interface EnvBindingDeps {
  readonly witness: KubeletWitness;
  readonly pods: NodePods;
  readonly judge: NodeJudge;
  /** No runtime reads them here; they are the agent's record of what it has granted. */
  readonly specs: SpecStore;
  readonly refusals: RefusalSink;
  readonly limits: LimitKeeper;
  readonly inventory: () => Inventory;
  readonly settings: () => EnvSettings;
  /** The GPU of a slice id; undefined for an id of another scheme, which is opaque. */
  readonly gpuOfId: (id: string) => string | undefined;
  /** The environment in a recorded answer of Allocate; undefined where it cannot be read. */
  readonly environmentIn: (allocation: Buffer) => Environment | undefined;
}

export interface PreferenceRequest {
  readonly available: readonly string[];
  readonly mustInclude: readonly string[];
  readonly size: number;
}

export class EnvBinding {
  readonly #deps: EnvBindingDeps;
  readonly #turns: Turns;

  constructor(deps: EnvBindingDeps) {
    this.#deps = deps;
    this.#turns = new Turns(deps);
  }

  /** Whether it is known for whom that many slices would be. */
  async isAwaited(size: number): Promise<boolean> {
    return (await this.#turns.waiting(size)).length > 0;
  }

  /** Looks past the watch. Resolves to false where waiting longer is in vain: the pod is there and has no claim. */
  async lookAhead(size: number): Promise<boolean> {
    await this.#turns.lookAhead();
    return (await this.isAwaited(size)) || (await this.#turns.refusalOf(size)) === undefined;
  }

  /** Ids on the GPUs of the container whose turn it is; any available ones where there is none. */
  async prefer({ available, mustInclude, size }: PreferenceRequest): Promise<readonly string[]> {
    const [next] = await this.#turns.waiting(size);
    const chosen = new Set(mustInclude);
    for (const { uuid } of next?.gpus ?? []) {
      const isOnGpu = (id: string): boolean => this.#deps.gpuOfId(id) === uuid;
      const needed = size / (next?.gpus.length ?? 1) - [...chosen].filter(isOnGpu).length;
      const onGpu = available.filter((id) => isOnGpu(id) && !chosen.has(id));
      for (const id of onGpu.slice(0, Math.max(0, needed))) chosen.add(id);
    }
    for (const id of available) {
      if (chosen.size >= size) break;
      chosen.add(id);
    }
    return [...chosen].slice(0, size);
  }

  /** The environment for a set of ids, or throws `BindingRefused`. */
  async allocate(ids: readonly string[]): Promise<Environment> {
    const waiting = await this.#turns.waiting(ids.length);
    const claim = this.#match(ids, waiting);
    if (claim === undefined) throw new BindingRefused(await this.#whyNobody(ids, waiting));
    // Refused here and not only before the start: the answer stays, and isolation may be switched on in between.
    const lacking = lackingIsolation(claim.pod, this.#deps.inventory());
    if (lacking !== undefined) throw new BindingRefused(lacking);
    const environment = containerEnvironment(claim, this.#deps.settings());
    this.#turns.answered(ids, claim, environment);
    return environment;
  }

  /** Verifies that the answer given for these ids is right for the container that holds them. */
  async preStart(ids: readonly string[]): Promise<ContainerClaim> {
    let pod: PodRecord | undefined;
    try {
      const { owner, recorded } = await holderOf(ids, this.#deps.witness);
      const unenforced = await this.#deps.limits.whyUnenforced();
      pod = await podOf(owner, this.#deps.pods);
      const reading = startingClaim(pod, owner.container, this.#deps.inventory());
      if (reading.kind === 'refused') throw new BindingRefused(reading.why);
      const { claim } = reading;
      // Which of several containers with these ids is about to start is not said, so all of them must be right.
      for (const given of this.#givenIn(recorded)) this.#verify(ids, claim, given);
      if (unenforced !== undefined) throw new BindingRefused(`${describeClaim(claim)} is not started: ${unenforced}`);
      const ill = this.#deps.judge.isGranted(pod.uid) ? undefined : unhealthyGpu(claim);
      if (ill !== undefined) throw new BindingRefused(ill);
      const ruling = this.#deps.judge.grant(claim);
      if (ruling.kind === 'refused') throw new BindingRefused(ruling.why);
      const key = deviceKey(ids);
      const env = containerEnvironment(claim, this.#deps.settings());
      await this.#deps.specs.write(key, cdiSpec(key, pod.uid, { env, deviceNodes: [], mounts: [] }));
      return claim;
    } catch (error) {
      if (error instanceof BindingRefused) this.#deps.refusals.refused(pod, error.message);
      throw error;
    }
  }

  /** Forgets answers to pods that are gone. */
  collect(): void {
    this.#turns.collect();
  }

  /**
   * The container gets what Allocate answered: by the kubelet's checkpoint, or else by our own memory. Where neither
   * speaks the ids say it, because only ids on the answered GPUs were ever preferred and accepted.
   */
  #verify(ids: readonly string[], claim: ContainerClaim, recorded: Environment | undefined): void {
    const answer = this.#turns.answerOf(ids);
    const given = recorded ?? answer?.environment;
    if (given === undefined) {
      if (isOnGpus(this.#gpusOf(ids), claim)) return;
      throw new BindingRefused(
        `${describeClaim(claim)} was admitted with slices of other GPUs; delete the pod to try again`,
      );
    }
    const what = contradiction(given, claim, containerEnvironment(claim, this.#deps.settings()));
    if (what === undefined) return;
    const whose =
      answer === undefined ? `an environment in which ${what}` : `what was meant for ${describeClaim(answer.claim)}`;
    throw new BindingRefused(`the kubelet admitted ${describeClaim(claim)} with ${whose}; delete the pod to try again`);
  }

  /** What the kubelet has recorded as answers; one unknown where it has recorded none. */
  #givenIn(recorded: readonly CheckpointHolding[]): readonly (Environment | undefined)[] {
    const given = recorded.map(({ allocation }) => allocation && this.#deps.environmentIn(allocation));
    return given.length === 0 ? [undefined] : given;
  }

  async #whyNobody(ids: readonly string[], waiting: readonly ContainerClaim[]): Promise<string> {
    if (waiting.length > 0) {
      const described = (claim: ContainerClaim): string => {
        const shortage = this.#deps.judge.shortage(claim);
        return `${describeClaim(claim)}${shortage === undefined ? '' : `, but ${shortage}`}`;
      };
      const who = waiting.slice(0, 4).map(described).join('; ');
      return `cannot tell whose ${ids.length} slices these are; waiting: ${who}`;
    }
    const why = await this.#turns.refusalOf(ids.length);
    const nobody = `no pod on this node with an allocation waits for ${ids.length} slices`;
    return why === undefined ? nobody : `${nobody}: ${why}`;
  }

  /** The one waiting claim on the GPUs that the ids name; without such ids, the only possible answer if there is one. */
  #match(ids: readonly string[], waiting: readonly ContainerClaim[]): ContainerClaim | undefined {
    const named = this.#gpusOf(ids);
    const onGpus = waiting.find((claim) => isOnGpus(named, claim));
    if (onGpus !== undefined) return onGpus;
    // The kubelet takes any ids of an init container, not as many of each GPU.
    const reusing = waiting.find((claim) => this.#turns.isReuse(ids, claim));
    if (reusing !== undefined) return reusing;
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
