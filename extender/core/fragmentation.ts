// How much of a node's idle GPU capacity the typical requests cannot use, in thousandths of a GPU ("milli").
// F_n of FGD (USENIX ATC'23, section 4.1), generalised: a GPU also counts as too small where compute is short,
// and GPUs of several models and sizes may share a node. With one model, equal GPUs and no compute requests it is
// the published measure, summed in the published order, so that results agree to the last bit.

import { MAX_GPUS_PER_NODE } from './inventory-codec.ts';
import type { Mix } from './mix.ts';
import type { ClusterState } from './state.ts';

/** In place of a number of GPUs: the class asks for none, or the node has none of an admitted model. */
const ASKS_NONE = 255;
const NO_ACCESS = 254;
/** Where the counts of a copy that `take` has changed are written; those of node n are at slot n + 1. */
const CHANGED_COPY = 0;

/**
 * Measures one node at a time, and what it would be with a pod on it. Allocated once and reused.
 * `read` takes a copy of the node, `measure` measures it, `afterOn` tries one GPU, `take` changes the copy.
 * With `keepsNodes` it remembers what it counted on a node until the node changes: for those who read nodes again and
 * again. That takes nine bytes for each node and group of the mix.
 */
export class FragmentationMeter {
  gpus = 0;
  readonly free: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  readonly core: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  readonly model: Int32Array = new Int32Array(MAX_GPUS_PER_NODE);
  readonly milliPerSlice: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  /** Idle milli of each GPU, weighted over memory and compute. */
  readonly idle: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  /** Everything of a GPU that its measure depends on. */
  readonly columns: readonly ArrayLike<number>[] = [this.free, this.core, this.model, this.milliPerSlice];
  #state: ClusterState | undefined;
  #mix: Mix | undefined;
  #cpuFreeMilli = 0;
  #isOneModel = true;
  #idleMilli = 0;
  #isChanged = false;
  /** What the copy measured as it was read. */
  #before = 0;
  readonly #keepsNodes: boolean;
  /** By slot and group of the mix: how many GPUs can take its classes, and the idle milli of the others. */
  #able = new Uint8Array(64);
  #unable = new Float64Array(64);
  /** First group of the slot in use. */
  #groups = 0;
  /** The same for one GPU changed. */
  #ableThen = new Uint8Array(64);
  #unableThen = new Float64Array(64);
  /** By node: what it measured, and the change of the node and the mix that this holds for. */
  #measured = new Float64Array(0);
  #measuredAt = new Float64Array(0);
  #measuredFor = new Int32Array(0);
  #mixNumber = 0;

  constructor(keepsNodes = false) {
    this.#keepsNodes = keepsNodes;
  }

  /** Takes a copy of the node. Unhealthy GPUs offer nothing and are left out of the idle capacity. */
  read(state: ClusterState, node: number, mix: Mix): void {
    if (mix !== this.#mix || state !== this.#state) this.#mixNumber++;
    this.#state = state;
    this.#mix = mix;
    this.#isChanged = false;
    const start = state.gpuStart[node] ?? 0;
    const gpus = state.gpuCount[node] ?? 0;
    this.gpus = gpus;
    this.#cpuFreeMilli = state.cpuFreeMilli[node] ?? 0;
    const { gpuCapacity, gpuHealthy, gpuFree, gpuFreeCore, gpuModel } = state;
    const firstModel = gpuModel[start] ?? 0;
    let isOneModel = true;
    let idleMilli = 0;
    for (let gpu = 0; gpu < gpus; gpu++) {
      const at = start + gpu;
      const capacity = gpuCapacity[at] ?? 0;
      const isHealthy = gpuHealthy[at] === 1;
      const free = isHealthy ? (gpuFree[at] ?? 0) : 0;
      const core = isHealthy ? (gpuFreeCore[at] ?? 0) : 0;
      const model = gpuModel[at] ?? 0;
      this.free[gpu] = free;
      this.core[gpu] = core;
      this.model[gpu] = model;
      this.milliPerSlice[gpu] = capacity === 0 ? 0 : 1000 / capacity;
      if (model !== firstModel) isOneModel = false;
      const idle = this.#weigh(gpu, free, core, mix);
      this.idle[gpu] = idle;
      idleMilli += idle;
    }
    this.#isOneModel = isOneModel;
    this.#idleMilli = idleMilli;
    this.#recall(state, node, mix);
  }

  /** Takes slices and compute from one GPU of the copy. */
  take(gpu: number, slices: number, core: number): void {
    this.free[gpu] = (this.free[gpu] ?? 0) - slices;
    this.core[gpu] = (this.core[gpu] ?? 0) - core;
    this.#isChanged = true;
    if (this.#mix !== undefined) this.idle[gpu] = this.#weigh(gpu, this.free[gpu] ?? 0, this.core[gpu] ?? 0, this.#mix);
  }

  /** Expected milli of the copy that a typical request cannot use, with `cpuMilli` less of free CPU. */
  measure(cpuMilli = 0): number {
    const mix = this.#mix;
    if (mix === undefined) return 0;
    const cpuLeftMilli = this.#cpuFreeMilli - cpuMilli;
    // No class has less CPU than it needs, before or after: every term of the sum is the same.
    const isCpuAmple = cpuMilli === 0 || cpuLeftMilli >= mix.mostCpuMilli;
    if (!this.#isChanged && isCpuAmple) return this.#before;
    if (this.#isChanged) {
      this.#idleMilli = 0;
      for (let gpu = 0; gpu < this.gpus; gpu++) this.#idleMilli += this.idle[gpu] ?? 0;
      this.#countInto(mix, CHANGED_COPY);
    }
    return sumOver(mix, cpuLeftMilli, this.#idleMilli, this.#able, this.#unable, this.#groups);
  }

  /** The same with a request on one GPU of the copy as it was read. */
  afterOn(gpu: number, slices: number, core: number, cpuMilli: number): number {
    const mix = this.#mix;
    if (mix === undefined) return 0;
    const free = (this.free[gpu] ?? 0) - slices;
    const left = (this.core[gpu] ?? 0) - core;
    const idle = this.#weigh(gpu, free, left, mix);
    const idleMilli = this.#idleMilli - (this.idle[gpu] ?? 0) + idle;
    this.#countThen(mix, gpu, free, left, idle);
    return sumOver(mix, this.#cpuFreeMilli - cpuMilli, idleMilli, this.#ableThen, this.#unableThen, 0);
  }

  /** Counts and measures the copy just read, or takes both from the last time. */
  #recall(state: ClusterState, node: number, mix: Mix): void {
    const slots = this.#keepsNodes ? state.nodeSlots + 1 : 1;
    const groups = mix.groupHeads.length;
    if (slots * groups > this.#able.length || (this.#keepsNodes && slots > this.#measured.length)) {
      this.#widen(Math.ceil(slots * 1.25), groups);
    }
    if (groups > this.#ableThen.length) {
      this.#ableThen = new Uint8Array(groups);
      this.#unableThen = new Float64Array(groups);
    }
    const changedAt = state.changedAt[node] ?? 0;
    if (this.#keepsNodes && this.#measuredFor[node] === this.#mixNumber && this.#measuredAt[node] === changedAt) {
      this.#groups = (node + 1) * groups;
      this.#before = this.#measured[node] ?? 0;
      return;
    }
    this.#countInto(mix, this.#keepsNodes ? node + 1 : CHANGED_COPY);
    this.#before = sumOver(mix, this.#cpuFreeMilli, this.#idleMilli, this.#able, this.#unable, this.#groups);
    if (!this.#keepsNodes) return;
    this.#measured[node] = this.#before;
    this.#measuredAt[node] = changedAt;
    this.#measuredFor[node] = this.#mixNumber;
  }

  #weigh(gpu: number, free: number, core: number, { coreWeight }: Mix): number {
    const memory = free * (this.milliPerSlice[gpu] ?? 0);
    return coreWeight === 0 ? memory : (1 - coreWeight) * memory + coreWeight * core * 10;
  }

  #admits(row: number, gpu: number): boolean {
    return this.#state?.models.admits(this.#mix?.constraint[row] ?? 0, this.model[gpu] ?? 0) ?? false;
  }

  #countInto(mix: Mix, slot: number): void {
    const { groupHeads } = mix;
    this.#groups = slot * groupHeads.length;
    for (let group = 0; group < groupHeads.length; group++)
      this.#count(mix, groupHeads[group] ?? 0, this.#groups + group);
  }

  #count(mix: Mix, row: number, at: number): void {
    const slices = mix.slices[row] ?? 0;
    const wanted = mix.core[row] ?? 0;
    const { gpus, free, core, idle } = this;
    const isOneModel = this.#isOneModel;
    const isNodeAdmitted = isOneModel && gpus > 0 && this.#admits(row, 0);
    let admitted = 0;
    let able = 0;
    let unable = 0;
    for (let gpu = 0; gpu < gpus; gpu++) {
      const isAdmitted = isOneModel ? isNodeAdmitted : this.#admits(row, gpu);
      if (isAdmitted) admitted++;
      if (isAdmitted && (free[gpu] ?? 0) >= slices && (core[gpu] ?? 0) >= wanted) able++;
      else unable += idle[gpu] ?? 0;
    }
    this.#able[at] = slices === 0 ? ASKS_NONE : admitted === 0 ? NO_ACCESS : able;
    this.#unable[at] = unable;
  }

  /** Counts with one GPU at the given amounts, from what was counted before. */
  #countThen(mix: Mix, gpu: number, freeThen: number, coreThen: number, idleThen: number): void {
    const { groupHeads, slices, core } = mix;
    const free = this.free[gpu] ?? 0;
    const freeCore = this.core[gpu] ?? 0;
    const idle = this.idle[gpu] ?? 0;
    for (let group = 0; group < groupHeads.length; group++) {
      let able = this.#able[this.#groups + group] ?? 0;
      let unable = this.#unable[this.#groups + group] ?? 0;
      if (able !== ASKS_NONE && able !== NO_ACCESS) {
        const row = groupHeads[group] ?? 0;
        const wanted = slices[row] ?? 0;
        const wantedCore = core[row] ?? 0;
        const isAdmitted = this.#isOneModel || this.#admits(row, gpu);
        if (isAdmitted && free >= wanted && freeCore >= wantedCore) able--;
        else unable -= idle;
        if (isAdmitted && freeThen >= wanted && coreThen >= wantedCore) able++;
        else unable += idleThen;
      }
      this.#ableThen[group] = able;
      this.#unableThen[group] = unable;
    }
  }

  /** Makes room and forgets every node. */
  #widen(slots: number, groups: number): void {
    this.#able = new Uint8Array(slots * groups);
    this.#unable = new Float64Array(slots * groups);
    if (!this.#keepsNodes) return;
    this.#measured = new Float64Array(slots);
    this.#measuredAt = new Float64Array(slots);
    this.#measuredFor = new Int32Array(slots);
  }
}

/** Adds up the quadrants of the paper, row by row as published, from the groups counted at `first` and after. */
function sumOver(
  { length, share: shares, cpuMilli, gpuCount, group }: Mix,
  cpuFreeMilli: number,
  idleMilli: number,
  ableOf: Uint8Array,
  unableOf: Float64Array,
  first: number,
): number {
  let lacksBoth = 0;
  let lacksGpu = 0;
  let lacksCpu = 0;
  let cpuOnlyFits = 0;
  let cpuOnlyLacks = 0;
  let noAccess = 0;
  for (let row = 0; row < length; row++) {
    const share = shares[row] ?? 0;
    const hasCpu = cpuFreeMilli >= (cpuMilli[row] ?? 0);
    const at = first + (group[row] ?? 0);
    const able = ableOf[at] ?? 0;
    if (able === ASKS_NONE) {
      if (hasCpu) cpuOnlyFits += share * idleMilli;
      else cpuOnlyLacks += share * idleMilli;
    } else if (able === NO_ACCESS) {
      noAccess += share * idleMilli;
    } else if (able >= (gpuCount[row] ?? 0)) {
      if (hasCpu) lacksGpu += share * (unableOf[at] ?? 0);
      else lacksCpu += share * idleMilli;
    } else if (hasCpu) lacksGpu += share * idleMilli;
    else lacksBoth += share * idleMilli;
  }
  return lacksBoth + lacksGpu + lacksCpu + cpuOnlyFits + cpuOnlyLacks + noAccess;
}
