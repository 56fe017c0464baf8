// The typical pods that fragmentation is measured against: classes of requests with their share.
// Either given (a trace's own mix) or learned from the requests seen, over a window of the latest ones.
// Definition of the typical set: FGD (USENIX ATC'23), section 4; order and threshold as in its artifact.

import type { ModelConstraint, PodRequest } from './model.ts';
import type { ModelCatalog } from './model-catalog.ts';

/** One class of requests, as struct-of-arrays rows. */
export interface MixClass {
  readonly cpuMilli: number;
  readonly slicesPerGpu: number;
  readonly corePerGpu: number;
  readonly gpuCount: number;
  readonly constraintId: number;
}

/** The share of all requests, in percent, that the typical classes must cover. */
const TYPICAL_PERCENT = 95;

/** The most classes of a whole mix: they bound the work of a score. The rarest beyond them are left out. */
const MOST_CLASSES = 512;

/** A mix ready for scoring. `version` changes whenever a score computed from it may change. */
export class Mix {
  readonly version: number;
  readonly length: number;
  readonly share: Float64Array;
  readonly cpuMilli: Float64Array;
  readonly slices: Float64Array;
  readonly core: Float64Array;
  readonly gpuCount: Int32Array;
  readonly constraint: Int32Array;
  /** Classes that ask the same of a single GPU are one group: its number by row, and the first row of each group. */
  readonly group: Int32Array;
  readonly groupHeads: Int32Array;
  /** Weight of stranded compute against stranded memory: the part of typical demand that names compute. */
  readonly coreWeight: number;
  /** The most CPU that a class asks for. */
  readonly mostCpuMilli: number;
  readonly asksForGpus: boolean;
  /** The mix with the classes that are too rare to be typical; the mix itself where nothing is known of them. */
  readonly whole: Mix;

  constructor(version: number, classes: readonly MixClass[], shares: readonly number[], whole?: Mix) {
    this.version = version;
    this.whole = whole ?? this;
    this.length = classes.length;
    this.share = Float64Array.from(shares);
    this.cpuMilli = Float64Array.from(classes, (each) => each.cpuMilli);
    this.slices = Float64Array.from(classes, (each) => each.slicesPerGpu);
    this.core = Float64Array.from(classes, (each) => each.corePerGpu);
    this.gpuCount = Int32Array.from(classes, (each) => each.gpuCount);
    this.constraint = Int32Array.from(classes, (each) => each.constraintId);
    const groups = new Map<string, { readonly number: number; readonly head: number }>();
    this.group = Int32Array.from(classes, ({ slicesPerGpu, corePerGpu, constraintId }, row) => {
      const key = `${slicesPerGpu};${corePerGpu};${constraintId}`;
      const known = groups.get(key) ?? { number: groups.size, head: row };
      groups.set(key, known);
      return known.number;
    });
    this.groupHeads = Int32Array.from(groups.values(), ({ head }) => head);
    const namesCore = classes.reduce((sum, each, at) => sum + (each.corePerGpu > 0 ? (shares[at] ?? 0) : 0), 0);
    this.coreWeight = namesCore / 2;
    this.mostCpuMilli = this.cpuMilli.reduce((most, each) => Math.max(most, each), 0);
    this.asksForGpus = classes.some(({ gpuCount, slicesPerGpu }) => gpuCount > 0 && slicesPerGpu > 0);
  }

  row(at: number): MixClass {
    return {
      cpuMilli: this.cpuMilli[at] ?? 0,
      slicesPerGpu: this.slices[at] ?? 0,
      corePerGpu: this.core[at] ?? 0,
      gpuCount: this.gpuCount[at] ?? 0,
      constraintId: this.constraint[at] ?? 0,
    };
  }
}

/** A class with its model constraint spelled out, since ids mean something in one process only. */
export interface PortableClass extends Omit<MixClass, 'constraintId'> {
  readonly models: ModelConstraint;
}

export interface PortableShare extends PortableClass {
  readonly share: number;
}

/** The state of a learner, as plain JSON. */
export interface LearnedMix {
  readonly seen: readonly PortableClass[];
  readonly learned: number;
  readonly reviewAt: number;
  readonly version: number;
  readonly typical: readonly PortableShare[];
  /** With the rare classes; absent where it was not recorded. */
  readonly whole?: readonly PortableShare[];
}

/** The typical classes of a list of requests: most frequent first, until they cover 95 % of all. */
export function typicalMix(version: number, requests: Iterable<MixClass>, models: ModelCatalog): Mix {
  const counts = new Map<string, { readonly class: MixClass; count: number }>();
  let total = 0;
  for (const [each, count] of countsOf(requests)) {
    const key = classKey(each);
    const known = counts.get(key);
    if (known === undefined) counts.set(key, { class: each, count });
    else known.count += count;
    total += count;
  }
  const ordered = [...counts.values()].sort((a, b) => b.count - a.count || descending(a.class, b.class, models));
  let covered = 0;
  const typical: { readonly class: MixClass; readonly count: number }[] = [];
  for (const entry of ordered) {
    if (covered * 100 >= total * TYPICAL_PERCENT) break;
    covered += entry.count;
    typical.push(entry);
  }
  const shares = typical.map(({ count }) => count / total / (covered / total));
  const all = ordered.slice(0, MOST_CLASSES);
  const whole = new Mix(
    version,
    all.map((entry) => entry.class),
    all.map(({ count }) => count / total),
  );
  return new Mix(
    version,
    typical.map((entry) => entry.class),
    shares,
    whole,
  );
}

/** By object: most equal classes are one object, and a key is made for each object only. */
function countsOf<T>(items: Iterable<T>): ReadonlyMap<T, number> {
  const counts = new Map<T, number>();
  for (const each of items) counts.set(each, (counts.get(each) ?? 0) + 1);
  return counts;
}

/** Before anything has been learned a request itself is all that is typical. */
export function mixOfOne(request: PodRequest, constraintId: number): Mix {
  const { gpuCount, slicesPerGpu, corePerGpu, host } = request;
  return new Mix(0, [{ cpuMilli: host.cpuMilli, slicesPerGpu, corePerGpu, gpuCount, constraintId }], [1]);
}

export function mixClassOf(request: PodRequest, models: ModelCatalog): MixClass {
  return {
    cpuMilli: request.host.cpuMilli,
    slicesPerGpu: request.slicesPerGpu,
    corePerGpu: request.corePerGpu,
    gpuCount: request.gpuCount,
    constraintId: models.constraintId(request.models),
  };
}

function classKey(each: MixClass): string {
  return `${each.cpuMilli};${each.slicesPerGpu};${each.corePerGpu};${each.gpuCount};${each.constraintId}`;
}

function descending(a: MixClass, b: MixClass, models: ModelCatalog): number {
  const specA = models.constraintText(a.constraintId);
  const specB = models.constraintText(b.constraintId);
  return (
    b.cpuMilli - a.cpuMilli ||
    b.slicesPerGpu - a.slicesPerGpu ||
    b.corePerGpu - a.corePerGpu ||
    b.gpuCount - a.gpuCount ||
    (specA === specB ? 0 : specA < specB ? 1 : -1)
  );
}

/**
 * Learns the mix from the latest `window` requests. The mix in use is replaced only when the typical set has moved
 * by more than `TOLERANCE` (half the sum of share differences), so that scores stay cached while nothing changes.
 */
export class MixLearner {
  static readonly TOLERANCE = 0.05;
  readonly #models: ModelCatalog;
  readonly #window: number;
  readonly #seen: MixClass[] = [];
  /** Equal pods share a request, so its class is made once. */
  readonly #classes = new WeakMap<PodRequest, MixClass>();
  #next = 0;
  #learned = 0;
  #reviewAt = 1;
  #mix: Mix = new Mix(0, [], []);

  constructor(models: ModelCatalog, window: number) {
    this.#models = models;
    this.#window = window;
  }

  /** The mix in use. */
  get mix(): Mix {
    return this.#mix;
  }

  /** Requests in the window. */
  get size(): number {
    return this.#seen.length;
  }

  /** Everything that later decisions depend on, oldest request first. */
  save(): LearnedMix {
    const seen = [...this.#seen.slice(this.#next), ...this.#seen.slice(0, this.#next)];
    return {
      seen: seen.map((each) => this.#portable(each)),
      learned: this.#learned,
      reviewAt: this.#reviewAt,
      version: this.#mix.version,
      typical: this.#shares(this.#mix),
      whole: this.#shares(this.#mix.whole),
    };
  }

  /** Takes over what another learner saved, as far as it fits the window. */
  load({ seen, learned, reviewAt, version, typical, whole }: LearnedMix): void {
    const kept = seen.slice(-this.#window).map((each) => this.#local(each));
    this.#seen.splice(0, this.#seen.length, ...kept);
    this.#next = kept.length % this.#window;
    this.#learned = learned;
    this.#reviewAt = reviewAt;
    this.#mix = this.#mixOf(version, typical, whole === undefined ? undefined : this.#mixOf(version, whole));
  }

  #shares(mix: Mix): PortableShare[] {
    return Array.from(mix.share, (share, at) => ({ ...this.#portable(mix.row(at)), share }));
  }

  #mixOf(version: number, rows: readonly PortableShare[], whole?: Mix): Mix {
    return new Mix(
      version,
      rows.map((each) => this.#local(each)),
      rows.map(({ share }) => share),
      whole,
    );
  }

  #portable({ cpuMilli, slicesPerGpu, corePerGpu, gpuCount, constraintId }: MixClass): PortableClass {
    return { cpuMilli, slicesPerGpu, corePerGpu, gpuCount, models: this.#models.constraint(constraintId) };
  }

  #local({ cpuMilli, slicesPerGpu, corePerGpu, gpuCount, models }: PortableClass): MixClass {
    return { cpuMilli, slicesPerGpu, corePerGpu, gpuCount, constraintId: this.#models.constraintId(models) };
  }

  /** Call once for each pod, when it is first seen. */
  learn(request: PodRequest): void {
    const known = this.#classes.get(request);
    const itsClass = known ?? mixClassOf(request, this.#models);
    if (known === undefined) this.#classes.set(request, itsClass);
    this.#seen[this.#next] = itsClass;
    this.#next = (this.#next + 1) % this.#window;
    this.#learned++;
    if (this.#learned >= this.#reviewAt) this.#review();
  }

  /** Reviews come at powers of two first, then once per eighth of the window. */
  #review(): void {
    this.#reviewAt = this.#learned + Math.min(this.#learned, Math.max(1, this.#window >> 3));
    const candidate = typicalMix(this.#mix.version + 1, this.#seen, this.#models);
    if (distance(this.#mix, candidate) > MixLearner.TOLERANCE) this.#mix = candidate;
  }
}

/** Half the L1 distance between two mixes: 0 where equal, 1 where disjoint. */
function distance(a: Mix, b: Mix): number {
  const shares = new Map<string, number>();
  for (const [mix, sign] of [
    [a, 1],
    [b, -1],
  ] as const) {
    for (let at = 0; at < mix.length; at++) {
      const key = `${mix.cpuMilli[at]};${mix.slices[at]};${mix.core[at]};${mix.gpuCount[at]};${mix.constraint[at]}`;
      shares.set(key, (shares.get(key) ?? 0) + sign * (mix.share[at] ?? 0));
    }
  }
  let sum = 0;
  for (const each of shares.values()) sum += Math.abs(each);
  return sum / 2;
}
