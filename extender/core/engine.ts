// The placement engine: fit, score, choice of GPUs and explanation over one ledger. One implementation for the
// extender and the simulator. Synchronous and deterministic: the same ledger and requests give the same placements.

import { allocationFor } from './assign.ts';
import type { FitRules } from './fit.ts';
import type { Ledger } from './ledger.ts';
import { gpuKey, type GpuKey } from './resident.ts';
import { DEFAULT_LIMITS, type GpuLimits } from './limits.ts';
import type { StringMap } from './manifest.ts';
import { FragmentationMeter } from './fragmentation.ts';
import { type Mix, MixLearner } from './mix.ts';
import type { Allocation, PodRequest } from './model.ts';
import { binpack } from './policy/binpack.ts';
import { fgd } from './policy/fgd.ts';
import { fragmentation } from './policy/fragmentation.ts';
import type { PlacementPolicy } from './policy/policy.ts';
import { spread } from './policy/spread.ts';
import { topology } from './policy/topology.ts';
import { FITS } from './reasons.ts';
import type { RoomWeights } from './room-weights.ts';
import { hasAffinity, shapeOf, type Shape } from './shape.ts';
import { evaluate, ShapeVerdicts, Workbench, type Evaluation, type Verdict } from './verdicts.ts';

/** Where verdicts of live shapes are kept; an LRU cache outside, since the core imports no package. */
export interface ShapeCache {
  get(key: string): ShapeVerdicts | undefined;
  set(key: string, verdicts: ShapeVerdicts): unknown;
}

export interface EngineOptions {
  readonly ledger: Ledger;
  readonly shapes: ShapeCache;
  /** Policy of requests that name none. */
  readonly defaultPolicy?: string;
  /** Policies beyond those that a pod may name. */
  readonly policies?: readonly PlacementPolicy[];
  readonly limits?: GpuLimits;
  readonly checksHost?: boolean;
  /** How many of the latest pods the learned mix looks at. */
  readonly mixWindow?: number;
  /** A fixed mix in place of the learned one. */
  readonly mix?: Mix;
  /** Of the policy `fragmentation`; a RangeError where one is out of its range. */
  readonly weights?: RoomWeights;
}

export type Placing =
  | {
      readonly kind: 'placed';
      readonly gpus: readonly GpuKey[];
      readonly allocation: Allocation;
      readonly score: number;
    }
  | { readonly kind: 'rejected'; readonly reason: number };

const DEFAULT_MIX_WINDOW = 4096;

export class Engine {
  readonly ledger: Ledger;
  readonly rules: FitRules;
  readonly learner: MixLearner;
  readonly defaultPolicy: string;
  readonly #shapes: ShapeCache;
  readonly #policies: ReadonlyMap<string, PlacementPolicy>;
  /** Shapes of requests that no affinity touches: they depend on nothing else. Equal pods share a request. */
  readonly #plainShapes = new WeakMap<PodRequest, Shape>();
  readonly #currentMix: () => Mix;
  readonly #meter = new FragmentationMeter(true);
  readonly #bench = new Workbench();
  readonly #verdict: Verdict = { reason: FITS, score: 0 };

  constructor(options: EngineOptions) {
    const { ledger, mix } = options;
    this.ledger = ledger;
    this.rules = { limits: options.limits ?? DEFAULT_LIMITS, checksHost: options.checksHost ?? false };
    this.defaultPolicy = options.defaultPolicy ?? 'fragmentation';
    this.#shapes = options.shapes;
    const learner = new MixLearner(ledger.state.models, options.mixWindow ?? DEFAULT_MIX_WINDOW);
    this.learner = learner;
    this.#currentMix = mix === undefined ? () => learner.mix : () => mix;
    const byMix = [fragmentation(this.#currentMix, options.weights), fgd(this.#currentMix, this.#meter)];
    const standard = [...byMix, binpack(), spread(), topology()];
    this.#policies = new Map([...standard, ...(options.policies ?? [])].map((policy) => [policy.name, policy]));
    this.policy(this.defaultPolicy);
  }

  /** The typical requests in use. */
  get mix(): Mix {
    return this.#currentMix();
  }

  shapeOf(request: PodRequest, namespace: string, labels: StringMap): Shape {
    const { terms } = this.ledger;
    const isPlain = terms.isIdle && !hasAffinity(request);
    const known = isPlain ? this.#plainShapes.get(request) : undefined;
    if (known !== undefined) return known;
    const shape = shapeOf(this.ledger, request, namespace, labels, this.defaultPolicy);
    if (isPlain) this.#plainShapes.set(request, shape);
    return shape;
  }

  policy(name: string): PlacementPolicy {
    const policy = this.#policies.get(name);
    if (policy !== undefined) return policy;
    throw new RangeError(`no placement policy "${name}"; there are ${[...this.#policies.keys()].join(', ')}`);
  }

  /** Verdict and score of every node for a shape, up to date. */
  verdicts(shape: Shape): ShapeVerdicts {
    const known = this.#shapes.get(shape.key);
    if (known !== undefined) return known.refresh();
    const verdicts = new ShapeVerdicts(this.#evaluation(shape));
    this.#shapes.set(shape.key, verdicts);
    return verdicts.refresh();
  }

  /** The node that `ranking.ts` puts first among all nodes that fit, or -1. */
  bestNode(shape: Shape): number {
    return this.verdicts(shape).bestNode();
  }

  /** Idle capacity of a node that the typical requests cannot use, in thousandths of a GPU. */
  fragmentedMilli(node: number): number {
    this.#meter.read(this.ledger.state, node, this.#currentMix());
    return this.#meter.measure();
  }

  /** Judges one node afresh and chooses the GPUs. What bind commits, and what tests compare the cache with. */
  place(shape: Shape, node: number): Placing {
    evaluate(this.#evaluation(shape), node, this.#verdict);
    const { reason, score } = this.#verdict;
    if (reason !== FITS) return { kind: 'rejected', reason };
    const { state } = this.ledger;
    const start = state.gpuStart[node] ?? 0;
    const chosen: GpuKey[] = [];
    for (let each = 0; each < this.#bench.choice.count; each++) {
      const at = start + (this.#bench.choice.gpus[each] ?? 0);
      chosen.push(gpuKey(state.gpuUuid[at] ?? '', state.gpuIndex[at] ?? 0));
    }
    // A copy is no longer than it must be; an array that grew keeps room for more as long as the pod lives.
    const gpus = chosen.toSorted((a, b) => a.index - b.index);
    return { kind: 'placed', gpus, allocation: allocationFor(shape.request, gpus), score };
  }

  /** What a pod's containers are granted on GPUs that are already its own. */
  allocationOf(request: PodRequest, gpus: readonly GpuKey[]): Allocation {
    return allocationFor(request, gpus);
  }

  /** The named figures behind the score of the node that `place` judged last. */
  lastTerms(policyName: string): Readonly<Record<string, number>> {
    const { termNames } = this.policy(policyName);
    return Object.fromEntries(termNames.map((name, at) => [name, this.#bench.choice.terms[at] ?? 0]));
  }

  #evaluation(shape: Shape): Evaluation {
    return {
      ledger: this.ledger,
      rules: this.rules,
      policy: this.policy(shape.policy),
      shape,
      bench: this.#bench,
    };
  }
}
