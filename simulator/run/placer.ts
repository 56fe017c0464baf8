// A cluster with the one who places pods on it: asks the driver for a node, the engine for the GPUs, and enters the pod
// in the ledger, as filter, prioritize and bind do together. Deterministic and synchronous.

import type { GpuKey } from '../../extender/core/resident.ts';
import type { PodRecord, PodRequest } from '../../extender/core/model.ts';
import type { RoomWeights } from '../../extender/core/room-weights.ts';
import { seededRandom } from '../../extender/random.ts';
import type { SimulatedPolicyName } from '../policy/selection.ts';
import { SchedulerDriver } from '../scheduler/driver.ts';
import type { Workload } from '../workload.ts';
import { buildCluster, type SimulatedCluster } from './cluster.ts';
import { anyNodeDriver, bestNodeDriver } from './direct-driver.ts';
import { NO_NODE_SEEN, type Driver, type DriverSettings } from './driver.ts';

/** What came of one attempt to place a pod. */
export type Attempt =
  | { readonly kind: 'placed'; readonly node: number; readonly gpus: readonly GpuKey[] }
  /** No node can host it as things are. */
  | { readonly kind: 'unfit' }
  /** A node can, but it was not among those that were looked at. */
  | { readonly kind: 'unseen' };

const UNFIT: Attempt = { kind: 'unfit' };
const UNSEEN: Attempt = { kind: 'unseen' };
const NO_LABELS = {};
const NO_DEMAND = { kind: 'none' } as const;
const NO_CLAIM = { kind: 'none' } as const;

export class Placer {
  readonly cluster: SimulatedCluster;
  readonly #driver: Driver;

  constructor(workload: Workload, policy: SimulatedPolicyName, settings: DriverSettings, weights?: RoomWeights) {
    const random = seededRandom(workload.seed, 'policy');
    // One number for each attempt, however often the engine judges a node.
    let draw = 0;
    this.cluster = buildCluster(workload, policy, () => draw, weights);
    const { engine } = this.cluster;
    if (settings.kind === 'scheduler') {
      this.#driver = new SchedulerDriver(engine, settings, seededRandom(workload.seed, 'scheduler'));
    } else if (this.cluster.policy.nodeChoice === 'uniform') {
      this.#driver = anyNodeDriver(engine, random, () => (draw = random.next()));
    } else this.#driver = bestNodeDriver(engine);
  }

  /** Call once for each pod, when it arrives. */
  arrived(request: PodRequest): void {
    // As in a cluster, where the extender learns nothing of pods without GPUs.
    if (this.cluster.policy.mix === 'learned' && request.gpuCount > 0) this.cluster.engine.learner.learn(request);
  }

  /** `uid` tells the pod from all others that are in the cluster. */
  place(uid: string, request: PodRequest): Attempt {
    const { engine, ledger } = this.cluster;
    const shape = engine.shapeOf(request, '', NO_LABELS);
    const node = this.#driver.choose(shape);
    if (node < 0) return node === NO_NODE_SEEN ? UNSEEN : UNFIT;
    const placing = engine.place(shape, node);
    if (placing.kind !== 'placed') return UNFIT;
    ledger.assume(podRecord(uid, request), request, ledger.state.nodeNames[node] ?? '', placing.gpus, 0);
    return { kind: 'placed', node, gpus: placing.gpus };
  }

  /** The pod has ended. */
  release(uid: string): void {
    this.cluster.ledger.release(uid);
  }
}

function podRecord(uid: string, request: PodRequest): PodRecord {
  return {
    uid,
    namespace: '',
    name: '',
    nodeName: '',
    terminal: false,
    deleting: false,
    labels: NO_LABELS,
    host: request.host,
    demand: NO_DEMAND,
    claim: NO_CLAIM,
  };
}
