// Pods in order of arrival, each tried once and at once; a pod that finds no node is refused and never tried again.
// This is how the FGD experiments run. Deterministic and synchronous.

import type { Engine } from '../../extender/core/engine.ts';
import type { PodRequest } from '../../extender/core/model.ts';
import type { RoomWeights } from '../../extender/core/room-weights.ts';
import type { SimulatedPolicyName } from '../policy/selection.ts';
import { capacityMilli, milliOf, type Workload } from '../workload.ts';
import type { SimulatedCluster } from './cluster.ts';
import { Curve, type CurvePoint } from './curve.ts';
import type { DriverSettings } from './driver.ts';
import { FragmentationTotal } from './fragmentation-total.ts';
import { occupancyLines } from './occupancy.ts';
import { Placements } from './placements.ts';
import { Placer } from './placer.ts';
import { RefusalJudge, type RefusalCounts, type RefusalReason } from './refusal.ts';

/** What a run ends in, less what differs between two runs of the same input (time and memory). */
export interface Outcome {
  readonly policy: string;
  readonly trace: string;
  readonly seed: number;
  readonly driver: DriverSettings;
  /** Of the policy `fragmentation`, where they are not its own. */
  readonly weights?: RoomWeights;
  readonly nodes: number;
  readonly gpus: number;
  /** Pods that arrived. */
  readonly pods: number;
  readonly arrivedMilli: number;
  readonly allocatedMilli: number;
  readonly allocationPercent: number;
  readonly fragmentationMilli: number;
  /** Of all GPUs. */
  readonly fragmentationPercent: number;
  readonly refused: number;
  /** Of those, pods that a node could have hosted which the scheduler did not look at. */
  readonly unseen: number;
  /** The refused pods by what the cluster lacked. */
  readonly refusedBy: RefusalCounts;
  readonly decisions: number;
  readonly curve: readonly CurvePoint[];
  /** See `occupancyLines`. */
  readonly occupancy: readonly string[];
}

export interface FinishedRun {
  readonly outcome: Outcome;
  readonly placements: Placements;
}

/** Told now and then how many arrivals are done. */
export type Progress = (done: number, total: number) => void;

const PROGRESS_EVERY = 1024;

/** `weights` are those of the default policy. */
export function runInOrder(
  workload: Workload,
  policy: SimulatedPolicyName,
  driver: DriverSettings,
  progress: Progress,
  weights?: RoomWeights,
): FinishedRun {
  const placer = new Placer(workload, policy, driver, weights);
  const { order, list } = workload;
  const books = new Books(placer.cluster, capacityMilli(workload.nodes), order.pods.length);
  for (let at = 0; at < order.pods.length; at++) {
    if (at % PROGRESS_EVERY === 0) progress(at, order.pods.length);
    const request = list.requests[list.pods[order.pods[at] ?? -1] ?? -1];
    if (request === undefined) throw new RangeError(`arrival ${at}: no such pod`);
    placer.arrived(request);
    const attempt = placer.place(String(at), request);
    if (attempt.kind === 'placed') books.place(at, request, attempt.node, attempt.gpus);
    else books.refuse(request, attempt.kind === 'unseen');
  }
  progress(order.pods.length, order.pods.length);
  return {
    outcome: books.outcome(workload, policy, { driver, ...(weights !== undefined && { weights }) }),
    placements: books.placements,
  };
}

/** Everything that is counted along the way. */
class Books {
  readonly placements: Placements;
  readonly #engine: Engine;
  readonly #judge: RefusalJudge;
  readonly #capacityMilli: number;
  readonly #fragmentation: FragmentationTotal;
  readonly #curve: Curve;
  #arrivedMilli = 0;
  #allocatedMilli = 0;
  #refused = 0;
  readonly #refusedBy = noRefusals();
  #decisions = 0;

  constructor({ engine }: SimulatedCluster, capacity: number, arrivals: number) {
    this.#engine = engine;
    this.#judge = new RefusalJudge(engine);
    this.#capacityMilli = capacity;
    this.#fragmentation = new FragmentationTotal(engine);
    this.#curve = new Curve(capacity);
    this.placements = new Placements(arrivals);
  }

  place(at: number, request: PodRequest, node: number, gpus: readonly { readonly index: number }[]): void {
    this.placements.set(at, node, gpus);
    this.#allocatedMilli += milliOf(request);
    this.#fragmentation.changed(node);
    this.#decide(request);
  }

  refuse(request: PodRequest, isUnseen: boolean): void {
    this.#refused++;
    this.#refusedBy[isUnseen ? 'unseen' : this.#judge.reason(request)]++;
    this.#decide(request);
  }

  #decide(request: PodRequest): void {
    this.#decisions++;
    this.#arrivedMilli += milliOf(request);
    this.#curve.add(this.#arrivedMilli, this.#allocatedMilli, this.#fragmentation.milli);
  }

  outcome(workload: Workload, policy: string, settings: Pick<Outcome, 'driver' | 'weights'>): Outcome {
    const { trace, seed, nodes, order } = workload;
    const fragmentationMilli = this.#fragmentation.exact();
    return {
      policy,
      trace,
      seed,
      ...settings,
      nodes: nodes.length,
      gpus: nodes.reduce((sum, { gpus }) => sum + gpus, 0),
      pods: order.pods.length,
      arrivedMilli: this.#arrivedMilli,
      allocatedMilli: this.#allocatedMilli,
      allocationPercent: (this.#allocatedMilli / this.#capacityMilli) * 100,
      fragmentationMilli,
      fragmentationPercent: (fragmentationMilli / this.#capacityMilli) * 100,
      refused: this.#refused,
      unseen: this.#refusedBy.unseen,
      refusedBy: this.#refusedBy,
      decisions: this.#decisions,
      curve: this.#curve.points(),
      occupancy: occupancyLines(this.#engine.ledger.state, workload),
    };
  }
}

function noRefusals(): Record<RefusalReason, number> {
  return { unseen: 0, memory: 0, cpu: 0, split: 0, full: 0, never: 0 };
}
