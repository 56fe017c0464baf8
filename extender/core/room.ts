// How many more pods a node can take, counted in pods of the mix: for each class, the pods of that class alone that
// its GPUs and its CPU have room for, weighted by how common the class is. Placing well is losing little of it.
//
// room(n) = Σ w(a) · pods(a, n) over the classes a that ask for GPUs
// w(a)    = share of a among them · gpuCount ^ gpuCountExponent
// pods    = 0 without the CPU of one pod, else g − cpuWeight · (g − min(g, free CPU / CPU of a)),
//           where g is how many pods of a the node's GPUs can take.
//
// So CPU that will be short counts a little long before it is, and a class loses room in whole pods. The default exponent
// is between counting pods (1 pod = 1) and counting GPUs: with the former, room for large pods is given up too early.
// The weights are in `room-weights.ts`.

import { MAX_GPUS_PER_NODE } from './inventory-codec.ts';
import { Mix } from './mix.ts';
import { checkedRoomWeights, DEFAULT_ROOM_WEIGHTS, type RoomWeights } from './room-weights.ts';
import type { ClusterState } from './state.ts';

/** Stands for the GPU where none is changed. */
const NO_GPU = -1;

/** The classes of a mix that ask for GPUs, in groups that ask for the same GPUs. Built once for each mix. */
class Demand {
  readonly groups: number;
  readonly slices: Float64Array;
  readonly core: Float64Array;
  readonly gpuCount: Int32Array;
  readonly constraint: Int32Array;
  /** First row of each group, and the end of the last one. Rows of a group are in order of CPU. */
  readonly firstRow: Int32Array;
  readonly cpuMilli: Float64Array;
  /** Sums over all rows before each one, and over all: of weights, and of weights by CPU milli. */
  readonly weightBefore: Float64Array;
  readonly weightPerCpuBefore: Float64Array;

  constructor(mix: Mix, gpuCountExponent: number) {
    const rows = Array.from({ length: mix.length }, (_, at) => ({ ...mix.row(at), share: mix.share[at] ?? 0 }))
      .filter(({ gpuCount, slicesPerGpu }) => gpuCount > 0 && slicesPerGpu > 0)
      .sort(
        (a, b) =>
          a.slicesPerGpu - b.slicesPerGpu ||
          a.corePerGpu - b.corePerGpu ||
          a.gpuCount - b.gpuCount ||
          a.constraintId - b.constraintId ||
          a.cpuMilli - b.cpuMilli,
      );
    const isFirst = rows.map((row, at) => {
      const last = rows[at - 1];
      return (
        last === undefined ||
        last.slicesPerGpu !== row.slicesPerGpu ||
        last.corePerGpu !== row.corePerGpu ||
        last.gpuCount !== row.gpuCount ||
        last.constraintId !== row.constraintId
      );
    });
    const heads = rows.filter((_, at) => isFirst[at] === true);
    this.groups = heads.length;
    this.slices = Float64Array.from(heads, ({ slicesPerGpu }) => slicesPerGpu);
    this.core = Float64Array.from(heads, ({ corePerGpu }) => corePerGpu);
    this.gpuCount = Int32Array.from(heads, ({ gpuCount }) => gpuCount);
    this.constraint = Int32Array.from(heads, ({ constraintId }) => constraintId);
    this.firstRow = Int32Array.from([...heads.map((head) => rows.indexOf(head)), rows.length]);
    this.cpuMilli = Float64Array.from(rows, ({ cpuMilli }) => cpuMilli);
    const total = rows.reduce((sum, { share }) => sum + share, 0);
    this.weightBefore = new Float64Array(rows.length + 1);
    this.weightPerCpuBefore = new Float64Array(rows.length + 1);
    rows.forEach(({ share, gpuCount, cpuMilli }, at) => {
      const weight = (share / total) * gpuCount ** gpuCountExponent;
      this.weightBefore[at + 1] = (this.weightBefore[at] ?? 0) + weight;
      this.weightPerCpuBefore[at + 1] = (this.weightPerCpuBefore[at] ?? 0) + (cpuMilli > 0 ? weight / cpuMilli : 0);
    });
  }
}

/**
 * Reads one node at a time and tells its room, and what would be left of it with a pod there. Allocated once and
 * reused; what it counted on a node is kept until the node or the mix changes.
 */
export class RoomMeter {
  /** Of the node as it was read, in weighted pods. */
  before = 0;
  /** By position: free slices and percent of compute; none on an unhealthy GPU. */
  readonly free: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  readonly core: Float64Array = new Float64Array(MAX_GPUS_PER_NODE);
  readonly model: Int32Array = new Int32Array(MAX_GPUS_PER_NODE);
  /** Everything of a GPU that room depends on. */
  readonly columns: readonly ArrayLike<number>[] = [this.free, this.core, this.model];
  #gpus = 0;
  #cpuFreeMilli = 0;
  #state: ClusterState | undefined;
  #mix: Mix | undefined;
  #demand: Demand;
  readonly #weights: RoomWeights;
  /** Pods on each GPU, while pods of several are counted. */
  readonly #each = new Float64Array(MAX_GPUS_PER_NODE);
  /** By node and group: pods that the GPUs have room for; by node: the room, and the change and mix it holds for. */
  #pods = new Float64Array(0);
  #rooms = new Float64Array(0);
  #countedAt = new Float64Array(0);
  #countedFor = new Int32Array(0);
  #mixNumber = 0;
  /** First group of the node that was read. */
  #first = 0;

  constructor(weights: RoomWeights = DEFAULT_ROOM_WEIGHTS) {
    this.#weights = checkedRoomWeights(weights);
    this.#demand = new Demand(new Mix(0, [], []), weights.gpuCountExponent);
  }

  read(state: ClusterState, node: number, mix: Mix): void {
    this.#use(state, mix);
    const start = state.gpuStart[node] ?? 0;
    this.#gpus = state.gpuCount[node] ?? 0;
    this.#cpuFreeMilli = state.cpuFreeMilli[node] ?? 0;
    const { gpuHealthy, gpuFree, gpuFreeCore, gpuModel } = state;
    for (let gpu = 0; gpu < this.#gpus; gpu++) {
      const at = start + gpu;
      const isHealthy = gpuHealthy[at] === 1;
      this.free[gpu] = isHealthy ? (gpuFree[at] ?? 0) : 0;
      this.core[gpu] = isHealthy ? (gpuFreeCore[at] ?? 0) : 0;
      this.model[gpu] = gpuModel[at] ?? 0;
    }
    this.#first = node * this.#demand.groups;
    const changedAt = state.changedAt[node] ?? 0;
    if (this.#countedFor[node] !== this.#mixNumber || this.#countedAt[node] !== changedAt) {
      for (let group = 0; group < this.#demand.groups; group++) this.#pods[this.#first + group] = this.#count(group);
      this.#rooms[node] = this.#total(this.#cpuFreeMilli, NO_GPU, 0, 0);
      this.#countedAt[node] = changedAt;
      this.#countedFor[node] = this.#mixNumber;
    }
    this.before = this.#rooms[node] ?? 0;
  }

  /** The room with slices and percent taken from one GPU and CPU from the node; no GPU where `gpu` is -1. */
  afterOn(gpu: number, slices: number, core: number, cpuMilli: number): number {
    return this.#total(this.#cpuFreeMilli - cpuMilli, gpu, slices, core);
  }

  /** The same with several GPUs. The meter is of no use after this until it reads a node again. */
  afterTaking(gpus: Int32Array, count: number, slices: number, core: number, cpuMilli: number): number {
    for (let each = 0; each < count; each++) {
      const gpu = gpus[each] ?? 0;
      this.free[gpu] = (this.free[gpu] ?? 0) - slices;
      this.core[gpu] = (this.core[gpu] ?? 0) - core;
    }
    let room = 0;
    for (let group = 0; group < this.#demand.groups; group++) {
      room += this.#weigh(group, this.#count(group), this.#cpuFreeMilli - cpuMilli);
    }
    return room;
  }

  #use(state: ClusterState, mix: Mix): void {
    if (mix !== this.#mix) this.#demand = new Demand(mix, this.#weights.gpuCountExponent);
    if (mix !== this.#mix || state !== this.#state) this.#mixNumber++;
    this.#state = state;
    this.#mix = mix;
    if (state.nodeSlots > this.#rooms.length || state.nodeSlots * this.#demand.groups > this.#pods.length) {
      const slots = Math.ceil(state.nodeSlots * 1.25);
      this.#pods = new Float64Array(slots * this.#demand.groups);
      this.#rooms = new Float64Array(slots);
      this.#countedAt = new Float64Array(slots);
      this.#countedFor = new Int32Array(slots);
    }
  }

  #total(cpuFreeMilli: number, changed: number, slices: number, core: number): number {
    const { groups, gpuCount, slices: slicesOf } = this.#demand;
    let room = 0;
    for (let group = 0; group < groups; group++) {
      let pods = this.#pods[this.#first + group] ?? 0;
      if (pods === 0) continue;
      if (changed >= 0 && (this.free[changed] ?? 0) >= (slicesOf[group] ?? 0)) {
        if (gpuCount[group] === 1) {
          pods += this.#podsOn(changed, group, slices, core) - this.#podsOn(changed, group, 0, 0);
        } else pods = this.#count(group, changed, slices, core);
      }
      room += this.#weigh(group, pods, cpuFreeMilli);
    }
    return room;
  }

  /** Weighted pods of the group, where GPUs have room for `pods` of each of its classes. */
  #weigh(group: number, pods: number, cpuFreeMilli: number): number {
    if (pods === 0) return 0;
    const { firstRow, cpuMilli, weightBefore, weightPerCpuBefore } = this.#demand;
    const first = firstRow[group] ?? 0;
    const end = firstRow[group + 1] ?? 0;
    // In order of CPU: classes with CPU for all these pods, then those with CPU for some, then for none.
    const forAll = cpuFreeMilli / pods;
    let some = first;
    while (some < end && (cpuMilli[some] ?? 0) <= forAll) some++;
    let none = some;
    while (none < end && (cpuMilli[none] ?? 0) <= cpuFreeMilli) none++;
    const weight = (weightBefore[none] ?? 0) - (weightBefore[first] ?? 0);
    if (none === some) return weight * pods;
    const short = (weightBefore[none] ?? 0) - (weightBefore[some] ?? 0);
    const perCpu = (weightPerCpuBefore[none] ?? 0) - (weightPerCpuBefore[some] ?? 0);
    return weight * pods - this.#weights.cpuWeight * (short * pods - perCpu * cpuFreeMilli);
  }

  /** Pods of a group that the GPUs have room for, with slices and percent taken from GPU `changed`, if any. */
  #count(group: number, changed = NO_GPU, slices = 0, core = 0): number {
    let sum = 0;
    for (let gpu = 0; gpu < this.#gpus; gpu++) {
      const isChanged = gpu === changed;
      const pods = this.#podsOn(gpu, group, isChanged ? slices : 0, isChanged ? core : 0);
      this.#each[gpu] = pods;
      sum += pods;
    }
    const together = this.#demand.gpuCount[group] ?? 1;
    return together === 1 ? sum : this.#sets(together, Math.floor(sum / together));
  }

  /** How many pods of `together` GPUs fit, with one share of each GPU in `#each`: the most t with Σ min(each, t) ≥ t · together. */
  #sets(together: number, most: number): number {
    let sets = most;
    for (;;) {
      let sum = 0;
      for (let gpu = 0; gpu < this.#gpus; gpu++) sum += Math.min(this.#each[gpu] ?? 0, sets);
      if (sum >= sets * together) return sets;
      sets = Math.floor(sum / together);
    }
  }

  /** Shares of a pod of the group that fit on one GPU once slices and percent are taken from it. */
  #podsOn(gpu: number, group: number, slices: number, core: number): number {
    const wanted = this.#demand.slices[group] ?? 1;
    const free = (this.free[gpu] ?? 0) - slices;
    if (free < wanted || this.#state?.models.admits(this.#demand.constraint[group] ?? 0, this.model[gpu] ?? 0) !== true)
      return 0;
    const pods = Math.floor(free / wanted);
    const freeCore = (this.core[gpu] ?? 0) - core;
    const wantedCore = this.#demand.core[group] ?? 0;
    // A pod that names no compute lives on what is left, so something must be.
    if (wantedCore === 0) return freeCore >= 1 ? pods : 0;
    return Math.min(pods, Math.max(0, Math.floor(freeCore / wantedCore)));
  }
}
