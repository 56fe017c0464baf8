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
/** Stands for the GPU where none is changed. */
const NO_GPU = -1;
/** Where the counts of a copy that `take` has changed are written; those of node n are at slot n + 1. */
const CHANGED_COPY = 0;

/**
 * Measures one node at a time, and what it would be with a pod on it. Allocated once and reused.
 * `read` takes a copy of the node, `measure` measures it, `afterOn` tries one GPU, `take` changes the copy.
 * With `keepsNodes` it remembers what it counted on a node until the node changes: for those who read nodes again and
 * again. That takes nine bytes for each node and row of the mix.
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
  /** By slot and row of the mix: how many GPUs can take the class, and the idle milli of the others. */
  #able = new Uint8Array(64);
  #unable = new Float64Array(64);
  /** First row of the slot in use. */
  #rows = 0;
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
    return this.#sum(mix, cpuLeftMilli, this.#idleMilli, NO_GPU, 0, 0, 0);
  }

  /** The same with a request on one GPU of the copy as it was read. */
  afterOn(gpu: number, slices: number, core: number, cpuMilli: number): number {
    const mix = this.#mix;
    if (mix === undefined) return 0;
    const free = (this.free[gpu] ?? 0) - slices;
    const left = (this.core[gpu] ?? 0) - core;
    const idle = this.#weigh(gpu, free, left, mix);
    const idleMilli = this.#idleMilli - (this.idle[gpu] ?? 0) + idle;
    return this.#sum(mix, this.#cpuFreeMilli - cpuMilli, idleMilli, gpu, free, left, idle);
  }

  /** Counts and measures the copy just read, or takes both from the last time. */
  #recall(state: ClusterState, node: number, mix: Mix): void {
    const slots = this.#keepsNodes ? state.nodeSlots + 1 : 1;
    if (slots * mix.length > this.#able.length || (this.#keepsNodes && slots > this.#measured.length)) {
      this.#widen(Math.ceil(slots * 1.25), mix.length);
    }
    const changedAt = state.changedAt[node] ?? 0;
    if (this.#keepsNodes && this.#measuredFor[node] === this.#mixNumber && this.#measuredAt[node] === changedAt) {
      this.#rows = (node + 1) * mix.length;
      this.#before = this.#measured[node] ?? 0;
      return;
    }
    this.#countInto(mix, this.#keepsNodes ? node + 1 : CHANGED_COPY);
    this.#before = this.#sum(mix, this.#cpuFreeMilli, this.#idleMilli, NO_GPU, 0, 0, 0);
    if (!this.#keepsNodes) return;
    this.#measured[node] = this.#before;
    this.#measuredAt[node] = changedAt;
    this.#measuredFor[node] = this.#mixNumber;
  }

  #countInto(mix: Mix, slot: number): void {
    this.#rows = slot * mix.length;
    for (let row = 0; row < mix.length; row++) this.#count(mix, row);
  }

  #weigh(gpu: number, free: number, core: number, { coreWeight }: Mix): number {
    const memory = free * (this.milliPerSlice[gpu] ?? 0);
    return coreWeight === 0 ? memory : (1 - coreWeight) * memory + coreWeight * core * 10;
  }

  #admits(row: number, gpu: number): boolean {
    return this.#state?.models.admits(this.#mix?.constraint[row] ?? 0, this.model[gpu] ?? 0) ?? false;
  }

  #count(mix: Mix, row: number): void {
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
    const at = this.#rows + row;
    this.#able[at] = slices === 0 ? ASKS_NONE : admitted === 0 ? NO_ACCESS : able;
    this.#unable[at] = unable;
  }

  /** Adds up the quadrants of the paper from the counted rows, with GPU `changed` (or none) at the given amounts. */
  #sum(
    mix: Mix,
    cpuFreeMilli: number,
    idleMilli: number,
    changed: number,
    freeThen: number,
    coreThen: number,
    idleThen: number,
  ): number {
    const free = changed < 0 ? 0 : (this.free[changed] ?? 0);
    const core = changed < 0 ? 0 : (this.core[changed] ?? 0);
    const idle = changed < 0 ? 0 : (this.idle[changed] ?? 0);
    const first = this.#rows;
    const isOneModel = this.#isOneModel;
    const ableRows = this.#able;
    const unableRows = this.#unable;
    let lacksBoth = 0;
    let lacksGpu = 0;
    let lacksCpu = 0;
    let cpuOnlyFits = 0;
    let cpuOnlyLacks = 0;
    let noAccess = 0;
    const { length, share: shares, slices: slicesOf, cpuMilli, core: coreOf, gpuCount } = mix;
    for (let row = 0; row < length; row++) {
      const share = shares[row] ?? 0;
      const hasCpu = cpuFreeMilli >= (cpuMilli[row] ?? 0);
      let able = ableRows[first + row] ?? 0;
      if (able === ASKS_NONE) {
        if (hasCpu) cpuOnlyFits += share * idleMilli;
        else cpuOnlyLacks += share * idleMilli;
        continue;
      }
      if (able === NO_ACCESS) {
        noAccess += share * idleMilli;
        continue;
      }
      let unable = unableRows[first + row] ?? 0;
      if (changed >= 0) {
        const slices = slicesOf[row] ?? 0;
        const wanted = coreOf[row] ?? 0;
        const isAdmitted = isOneModel || this.#admits(row, changed);
        const wasAble = isAdmitted && free >= slices && core >= wanted;
        const isAble = isAdmitted && freeThen >= slices && coreThen >= wanted;
        if (wasAble) able--;
        else unable -= idle;
        if (isAble) able++;
        else unable += idleThen;
      }
      if (able >= (gpuCount[row] ?? 0)) {
        if (hasCpu) lacksGpu += share * unable;
        else lacksCpu += share * idleMilli;
      } else if (hasCpu) lacksGpu += share * idleMilli;
      else lacksBoth += share * idleMilli;
    }
    return lacksBoth + lacksGpu + lacksCpu + cpuOnlyFits + cpuOnlyLacks + noAccess;
  }

  /** Makes room and forgets every node. */
  #widen(slots: number, rows: number): void {
    this.#able = new Uint8Array(slots * rows);
    this.#unable = new Float64Array(slots * rows);
    if (!this.#keepsNodes) return;
    this.#measured = new Float64Array(slots);
    this.#measuredAt = new Float64Array(slots);
    this.#measuredFor = new Int32Array(slots);
  }
}
