// How much of a node's idle GPU capacity the typical requests cannot use, in thousandths of a GPU ("milli").
// F_n of FGD (USENIX ATC'23, section 4.1), generalised: a GPU also counts as too small where compute is short,
// and GPUs of several models and sizes may share a node. With one model, equal GPUs and no compute requests it is
// the published measure, summed in the published order, so that results agree to the last bit.

import { MAX_GPUS_PER_NODE } from './inventory-codec.ts';
import type { Mix } from './mix.ts';
import type { ClusterState } from './state.ts';

/** A copy of one node's free amounts that a what-if may change. Allocated once and reused. */
export class NodeSketch {
  gpus = 0;
  cpuFreeMilli = 0;
  readonly free: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  readonly core: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  readonly model: Int32Array = new Int32Array(MAX_GPUS_PER_NODE);
  readonly milliPerSlice: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  /** Idle milli of each GPU, weighted over memory and compute. */
  readonly idle: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  isOneModel = true;

  /** Takes a copy of the node. Unhealthy GPUs offer nothing and are left out of the idle capacity. */
  read(state: ClusterState, node: number, mix: Mix): void {
    const start = state.gpuStart[node] ?? 0;
    this.gpus = state.gpuCount[node] ?? 0;
    this.cpuFreeMilli = state.cpuFreeMilli[node] ?? 0;
    this.isOneModel = true;
    for (let each = 0; each < this.gpus; each++) {
      const at = start + each;
      const capacity = state.gpuCapacity[at] ?? 0;
      const isHealthy = state.gpuHealthy[at] === 1;
      this.free[each] = isHealthy ? (state.gpuFree[at] ?? 0) : 0;
      this.core[each] = isHealthy ? (state.gpuFreeCore[at] ?? 0) : 0;
      this.model[each] = state.gpuModel[at] ?? 0;
      this.milliPerSlice[each] = capacity === 0 ? 0 : 1000 / capacity;
      if (this.model[each] !== this.model[0]) this.isOneModel = false;
      this.weigh(each, mix);
    }
  }

  /** Takes slices and compute from one GPU; negative amounts give them back. */
  take(gpu: number, slices: number, core: number, mix: Mix): void {
    this.free[gpu] = (this.free[gpu] ?? 0) - slices;
    this.core[gpu] = (this.core[gpu] ?? 0) - core;
    this.weigh(gpu, mix);
  }

  weigh(gpu: number, mix: Mix): void {
    const memory = (this.free[gpu] ?? 0) * (this.milliPerSlice[gpu] ?? 0);
    this.idle[gpu] =
      mix.coreWeight === 0 ? memory : (1 - mix.coreWeight) * memory + mix.coreWeight * (this.core[gpu] ?? 0) * 10;
  }
}

/** Expected milli of the node that a typical request cannot use. */
export function fragmentedMilli(sketch: NodeSketch, mix: Mix, state: ClusterState): number {
  const { gpus, idle, free, core, model, cpuFreeMilli } = sketch;
  let idleMilli = 0;
  for (let each = 0; each < gpus; each++) idleMilli += idle[each] ?? 0;
  // One accumulator per case of the paper's quadrants, added up at the end in the published order.
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
    const constraint = mix.constraint[row] ?? 0;
    const wantedCore = mix.core[row] ?? 0;
    let admitted = 0;
    let able = 0;
    let unableMilli = 0;
    const decidedOnce = sketch.isOneModel;
    const isNodeAdmitted = decidedOnce && gpus > 0 && state.models.admits(constraint, model[0] ?? 0);
    for (let each = 0; each < gpus; each++) {
      const isAdmitted = decidedOnce ? isNodeAdmitted : state.models.admits(constraint, model[each] ?? 0);
      if (isAdmitted) admitted++;
      if (isAdmitted && (free[each] ?? 0) >= slices && (core[each] ?? 0) >= wantedCore) able++;
      else unableMilli += idle[each] ?? 0;
    }
    if (admitted === 0) noAccess += share * idleMilli;
    else if (able >= (mix.gpuCount[row] ?? 0)) {
      if (hasCpu) lacksGpu += share * unableMilli;
      else lacksCpu += share * idleMilli;
    } else if (hasCpu) lacksGpu += share * idleMilli;
    else lacksBoth += share * idleMilli;
  }
  return lacksBoth + lacksGpu + lacksCpu + cpuOnlyFits + cpuOnlyLacks + noAccess;
}
