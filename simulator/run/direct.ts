// The `direct` driver: every pod goes, in order of arrival, to the node that the policy puts first, at once; a pod
// that fits nowhere is refused and never tried again. This is how the FGD experiments run. Deterministic and synchronous.

import type { Engine } from '../../extender/core/engine.ts';
import type { PodRecord, PodRequest } from '../../extender/core/model.ts';
import { FITS } from '../../extender/core/reasons.ts';
import type { Shape } from '../../extender/core/shape.ts';
import { seededRandom, type Random } from '../../extender/demo/random.ts';
import type { SimulatedPolicyName } from '../policy/selection.ts';
import { capacityMilli, milliOf, type Workload } from '../workload.ts';
import { buildCluster, type SimulatedCluster } from './cluster.ts';
import { Curve, type CurvePoint } from './curve.ts';
import { FragmentationTotal } from './fragmentation-total.ts';
import { Placements } from './placements.ts';

/** What a run ends in, less what differs between two runs of the same input (time and memory). */
export interface Outcome {
  readonly policy: string;
  readonly trace: string;
  readonly seed: number;
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
  readonly decisions: number;
  readonly curve: readonly CurvePoint[];
}

export interface DirectRun {
  readonly outcome: Outcome;
  readonly placements: Placements;
}

/** Told now and then how many arrivals are done. */
export type Progress = (done: number, total: number) => void;

const PROGRESS_EVERY = 1024;
const NO_LABELS = {};

export function runDirect(workload: Workload, policy: SimulatedPolicyName, progress: Progress): DirectRun {
  const random = seededRandom(workload.seed, 'policy');
  // One number for each arrival, however often the engine judges a node.
  let draw = 0;
  const cluster = buildCluster(workload, policy, () => draw);
  const { engine, ledger } = cluster;
  const { order, list } = workload;
  const capacity = capacityMilli(workload.nodes);
  const books = new Books(cluster, capacity, order.pods.length);
  for (let at = 0; at < order.pods.length; at++) {
    if (at % PROGRESS_EVERY === 0) progress(at, order.pods.length);
    const request = list.requests[list.pods[order.pods[at] ?? -1] ?? -1];
    if (request === undefined) throw new RangeError(`arrival ${at}: no such pod`);
    // As in a cluster, where the extender is shown no pods without GPUs.
    if (cluster.policy.mix === 'learned' && request.gpuCount > 0) engine.learner.learn(request);
    const shape = engine.shapeOf(request, '', NO_LABELS);
    let node: number;
    if (cluster.policy.nodeChoice === 'uniform') {
      node = anyNode(engine, shape, random);
      draw = random.next();
    } else node = engine.bestNode(shape);
    const placing = node < 0 ? undefined : engine.place(shape, node);
    if (placing?.kind === 'placed') {
      const record = podRecord(at, request);
      ledger.assume(record, request, ledger.state.nodeNames[node] ?? '', placing.gpus, 0);
      books.place(at, request, node, placing.gpus);
    } else books.refuse(request);
  }
  progress(order.pods.length, order.pods.length);
  return { outcome: books.outcome(workload, policy), placements: books.placements };
}

/** One of the nodes that fit, all equally likely; -1 where none does. */
function anyNode(engine: Engine, shape: Shape, random: Random): number {
  const { reasons } = engine.verdicts(shape);
  const { nodeSlots } = engine.ledger.state;
  let fitting = 0;
  for (let node = 0; node < nodeSlots; node++) if (reasons[node] === FITS) fitting++;
  if (fitting === 0) return -1;
  let skip = random.between(0, fitting - 1);
  for (let node = 0; node < nodeSlots; node++) if (reasons[node] === FITS && skip-- === 0) return node;
  return -1;
}

function podRecord(at: number, request: PodRequest): PodRecord {
  return {
    uid: String(at),
    namespace: '',
    name: '',
    nodeName: '',
    terminal: false,
    deleting: false,
    labels: NO_LABELS,
    host: request.host,
    demand: { kind: 'none' },
    claim: { kind: 'none' },
  };
}

/** Everything that is counted along the way. */
class Books {
  readonly placements: Placements;
  readonly #capacityMilli: number;
  readonly #fragmentation: FragmentationTotal;
  readonly #curve: Curve;
  #arrivedMilli = 0;
  #allocatedMilli = 0;
  #refused = 0;
  #decisions = 0;

  constructor({ engine }: SimulatedCluster, capacity: number, arrivals: number) {
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

  refuse(request: PodRequest): void {
    this.#refused++;
    this.#decide(request);
  }

  #decide(request: PodRequest): void {
    this.#decisions++;
    this.#arrivedMilli += milliOf(request);
    this.#curve.add(this.#arrivedMilli, this.#allocatedMilli, this.#fragmentation.milli);
  }

  outcome({ trace, seed, nodes, order }: Workload, policy: string): Outcome {
    const fragmentationMilli = this.#fragmentation.exact();
    return {
      policy,
      trace,
      seed,
      nodes: nodes.length,
      gpus: nodes.reduce((sum, { gpus }) => sum + gpus, 0),
      pods: order.pods.length,
      arrivedMilli: this.#arrivedMilli,
      allocatedMilli: this.#allocatedMilli,
      allocationPercent: (this.#allocatedMilli / this.#capacityMilli) * 100,
      fragmentationMilli,
      fragmentationPercent: (fragmentationMilli / this.#capacityMilli) * 100,
      refused: this.#refused,
      decisions: this.#decisions,
      curve: this.#curve.points(),
    };
  }
}
