// How much of a node's idle GPU capacity the typical requests cannot use, in thousandths of a GPU ("milli").
// F_n of FGD (USENIX ATC'23, section 4.1), generalised: a GPU also counts as too small where compute is short,
// and GPUs of several models and sizes may share a node. With one model, equal GPUs and no compute requests it is
// the published measure, summed in the published order, so that results agree to the last bit.

import { MAX_GPUS_PER_NODE } from './inventory-codec.ts';
import type { Mix } from './mix.ts';
import type { ClusterState } from './state.ts';

/** The amounts of one GPU that a what-if changes. */
interface GpuAmounts {
  free: number;
  core: number;
  idle: number;
}

/**
 * Measures one node at a time, and what it would be with a pod on it. Allocated once and reused.
 * `read` takes a copy of the node, `before` measures it, `afterOn` tries one GPU, `take` changes the copy.
 */
export class FragmentationMeter {
  gpus = 0;
  readonly free: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  readonly core: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  readonly model: Int32Array = new Int32Array(MAX_GPUS_PER_NODE);
  readonly milliPerSlice: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  /** Idle milli of each GPU, weighted over memory and compute. */
  readonly idle: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  #state: ClusterState | undefined;
  #mix: Mix | undefined;
  #cpuFreeMilli = 0;
  #isOneModel = true;
  #idleMilli = 0;
  /** By row of the mix: GPUs of an admitted model, GPUs that can take the class, and the idle milli of the others. */
  #admitted = new Int32Array(64);
  #able = new Int32Array(64);
  #unable = new Float64Array(64);

  /** Takes a copy of the node. Unhealthy GPUs offer nothing and are left out of the idle capacity. */
  read(state: ClusterState, node: number, mix: Mix): void {
    this.#state = state;
    this.#mix = mix;
    if (mix.length > this.#able.length) this.#widen(mix.length);
    const start = state.gpuStart[node] ?? 0;
    this.gpus = state.gpuCount[node] ?? 0;
    this.#cpuFreeMilli = state.cpuFreeMilli[node] ?? 0;
    this.#isOneModel = true;
    for (let gpu = 0; gpu < this.gpus; gpu++) {
      const at = start + gpu;
      const capacity = state.gpuCapacity[at] ?? 0;
      const isHealthy = state.gpuHealthy[at] === 1;
      this.free[gpu] = isHealthy ? (state.gpuFree[at] ?? 0) : 0;
      this.core[gpu] = isHealthy ? (state.gpuFreeCore[at] ?? 0) : 0;
      this.model[gpu] = state.gpuModel[at] ?? 0;
      this.milliPerSlice[gpu] = capacity === 0 ? 0 : 1000 / capacity;
      if (this.model[gpu] !== this.model[0]) this.#isOneModel = false;
      this.idle[gpu] = this.#weigh(gpu, this.free[gpu] ?? 0, this.core[gpu] ?? 0, mix);
    }
  }

  /** Takes slices and compute from one GPU of the copy. */
  take(gpu: number, slices: number, core: number): void {
    this.free[gpu] = (this.free[gpu] ?? 0) - slices;
    this.core[gpu] = (this.core[gpu] ?? 0) - core;
    if (this.#mix !== undefined) this.idle[gpu] = this.#weigh(gpu, this.free[gpu] ?? 0, this.core[gpu] ?? 0, this.#mix);
  }

  /** Expected milli of the copy that a typical request cannot use, with `cpuMilli` less of free CPU. */
  measure(cpuMilli = 0): number {
    this.#idleMilli = 0;
    for (let gpu = 0; gpu < this.gpus; gpu++) this.#idleMilli += this.idle[gpu] ?? 0;
    const rows = this.#mix?.length ?? 0;
    for (let row = 0; row < rows; row++) this.#count(row);
    return this.#sum(this.#cpuFreeMilli - cpuMilli, this.#idleMilli, -1, { free: 0, core: 0, idle: 0 });
  }

  /** The same with a request on one GPU. Call `measure` first: it counts what this only adjusts. */
  afterOn(gpu: number, slices: number, core: number, cpuMilli: number): number {
    if (this.#mix === undefined) return 0;
    const free = (this.free[gpu] ?? 0) - slices;
    const left = (this.core[gpu] ?? 0) - core;
    const amounts = { free, core: left, idle: this.#weigh(gpu, free, left, this.#mix) };
    const idleMilli = this.#idleMilli - (this.idle[gpu] ?? 0) + amounts.idle;
    return this.#sum(this.#cpuFreeMilli - cpuMilli, idleMilli, gpu, amounts);
  }

  #weigh(gpu: number, free: number, core: number, { coreWeight }: Mix): number {
    const memory = free * (this.milliPerSlice[gpu] ?? 0);
    return coreWeight === 0 ? memory : (1 - coreWeight) * memory + coreWeight * core * 10;
  }

  #admits(row: number, gpu: number): boolean {
    return this.#state?.models.admits(this.#mix?.constraint[row] ?? 0, this.model[gpu] ?? 0) ?? false;
  }

  #count(row: number): void {
    const slices = this.#mix?.slices[row] ?? 0;
    const wanted = this.#mix?.core[row] ?? 0;
    const isNodeAdmitted = this.#isOneModel && this.gpus > 0 && this.#admits(row, 0);
    let admitted = 0;
    let able = 0;
    let unable = 0;
    for (let gpu = 0; gpu < this.gpus; gpu++) {
      const isAdmitted = this.#isOneModel ? isNodeAdmitted : this.#admits(row, gpu);
      if (isAdmitted) admitted++;
      if (isAdmitted && (this.free[gpu] ?? 0) >= slices && (this.core[gpu] ?? 0) >= wanted) able++;
      else unable += this.idle[gpu] ?? 0;
    }
    this.#admitted[row] = admitted;
    this.#able[row] = able;
    this.#unable[row] = unable;
  }

  /** Adds up the quadrants of the paper from the counted rows, with GPU `changed` (or none, -1) at other amounts. */
  #sum(cpuFreeMilli: number, idleMilli: number, changed: number, amounts: GpuAmounts): number {
    const mix = this.#mix;
    if (mix === undefined) return 0;
    const free = changed < 0 ? 0 : (this.free[changed] ?? 0);
    const core = changed < 0 ? 0 : (this.core[changed] ?? 0);
    const idle = changed < 0 ? 0 : (this.idle[changed] ?? 0);
    let lacksBoth = 0;
    let lacksGpu = 0;
    let lacksCpu = 0;
    let cpuOnlyFits = 0;
    let cpuOnlyLacks = 0;
    let noAccess = 0;
    for (let row = 0; row < mix.length; row++) {
      const share = mix.share[row] ?? 0;
      const slices = mix.slices[row] ?? 0;
      const hasCpu = cpuFreeMilli >= (mix.cpuMilli[row] ?? 0);
      if (slices === 0) {
        if (hasCpu) cpuOnlyFits += share * idleMilli;
        else cpuOnlyLacks += share * idleMilli;
        continue;
      }
      if (this.#admitted[row] === 0) {
        noAccess += share * idleMilli;
        continue;
      }
      let able = this.#able[row] ?? 0;
      let unable = this.#unable[row] ?? 0;
      if (changed >= 0) {
        const wanted = mix.core[row] ?? 0;
        const isAdmitted = this.#admitted[row] === this.gpus || this.#admits(row, changed);
        const wasAble = isAdmitted && free >= slices && core >= wanted;
        const isAble = isAdmitted && amounts.free >= slices && amounts.core >= wanted;
        if (wasAble) able--;
        else unable -= idle;
        if (isAble) able++;
        else unable += amounts.idle;
      }
      if (able >= (mix.gpuCount[row] ?? 0)) {
        if (hasCpu) lacksGpu += share * unable;
        else lacksCpu += share * idleMilli;
      } else if (hasCpu) lacksGpu += share * idleMilli;
      else lacksBoth += share * idleMilli;
    }
    return lacksBoth + lacksGpu + lacksCpu + cpuOnlyFits + cpuOnlyLacks + noAccess;
  }

  #widen(rows: number): void {
    this.#admitted = new Int32Array(rows * 2);
    this.#able = new Int32Array(rows * 2);
    this.#unable = new Float64Array(rows * 2);
  }
}
