// An engine over nodes, with the calls that tests make most.

import { Engine, type EngineOptions } from '../../extender/core/engine.ts';
import { Ledger } from '../../extender/core/ledger.ts';
import type { PodRecord } from '../../extender/core/model.ts';
import { isBetter } from '../../extender/core/ranking.ts';
import { FITS, reasonName, type ReasonName } from '../../extender/core/reasons.ts';
import type { Shape } from '../../extender/core/shape.ts';
import { ClusterState } from '../../extender/core/state.ts';
import { node, pod, type NodeSketch, type PodSketch } from './builders.ts';

export class Bench {
  readonly engine: Engine;

  constructor(nodes: readonly NodeSketch[], options: Partial<EngineOptions> = {}) {
    const ledger = new Ledger(new ClusterState());
    this.engine = new Engine({ ledger, shapes: new Map(), ...options });
    for (const sketch of nodes) ledger.upsertNode(node(sketch));
  }

  shape(record: PodRecord): Shape {
    if (record.demand.kind !== 'request') throw new Error(`pod ${record.name} has no valid GPU request`);
    return this.engine.shapeOf(record.demand.request, record.namespace, record.labels);
  }

  /** The reason a node gives for a pod, `Fits` where it can host it. */
  reason(sketch: PodSketch, nodeName: string): ReasonName {
    const verdicts = this.engine.verdicts(this.shape(pod(sketch)));
    return reasonName(verdicts.reasons[this.indexOf(nodeName)] ?? FITS);
  }

  /** Places a pod on a node and confirms it; returns the GPU indices. */
  place(sketch: PodSketch, nodeName: string): readonly number[] {
    const record = pod(sketch);
    const placing = this.engine.place(this.shape(record), this.indexOf(nodeName));
    if (placing.kind === 'rejected') throw new Error(`${sketch.name} on ${nodeName}: ${reasonName(placing.reason)}`);
    if (record.demand.kind === 'request') {
      this.engine.ledger.assume(record, record.demand.request, nodeName, placing.gpus, 0);
      this.engine.ledger.confirm(record.uid, 0);
    }
    return placing.gpus.map(({ index }) => index);
  }

  /** The best node for a pod by the engine's own order; undefined where none fits. */
  bestNode(sketch: PodSketch): string | undefined {
    const { state } = this.engine.ledger;
    const verdicts = this.engine.verdicts(this.shape(pod(sketch)));
    const ranks = state.nameRanks();
    let best = -1;
    for (const index of state.nodeIndices()) {
      if (verdicts.reasons[index] !== FITS) continue;
      if (best < 0 || isBetter(verdicts, ranks, index, best)) best = index;
    }
    return best < 0 ? undefined : state.nodeNames[best];
  }

  indexOf(nodeName: string): number {
    const index = this.engine.ledger.state.indexOf(nodeName);
    if (index === undefined) throw new Error(`no node ${nodeName}`);
    return index;
  }
}
