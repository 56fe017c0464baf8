// The `scheduler` driver: what a stock kube-scheduler makes of the extender's answers. It looks at some of the nodes,
// applies its own filters, asks the extender to filter (and narrow) and to prioritize in whole numbers 0..10, adds its
// own scores, and chooses at random among equal totals. Everything that the extender answers comes from the core.
// Not modelled: NominatedNodeName, taints, zones, the limit of pods on a node, and checks of 16 nodes at a time.

import type { Engine } from '../../extender/core/engine.ts';
import type { PodRequest } from '../../extender/core/model.ts';
import { BestNodes, keptNodes, scaleScores } from '../../extender/core/ranking.ts';
import { FITS } from '../../extender/core/reasons.ts';
import type { Shape } from '../../extender/core/shape.ts';
import type { Random } from '../../extender/random.ts';
import { NO_NODE_FITS, NO_NODE_SEEN, type Driver, type SchedulerSettings } from '../run/driver.ts';
import { InTreePlugins } from './in-tree.ts';
import { NodeSampler } from './sampling.ts';
import { selectHost } from './select-host.ts';

/** An extender's 0..10 against the 0..100 of in-tree plugins. */
const EXTENDER_SCALE = 10;

export class SchedulerDriver implements Driver {
  readonly #engine: Engine;
  readonly #settings: SchedulerSettings;
  readonly #random: Random;
  readonly #inTree: InTreePlugins;
  readonly #sampler: NodeSampler;
  readonly #best: BestNodes;
  /** Nodes that filter hands back at most; 0 = all. */
  readonly #kept: number;
  /** The nodes that are left, in the order in which kube-scheduler has them. */
  readonly #nodes: Int32Array;
  readonly #scores: Uint8Array;
  readonly #totals: Float64Array;

  constructor(engine: Engine, settings: SchedulerSettings, random: Random) {
    const { nodeSlots } = engine.ledger.state;
    this.#engine = engine;
    this.#settings = settings;
    this.#random = random;
    this.#inTree = new InTreePlugins(engine.ledger);
    this.#sampler = new NodeSampler(nodeSlots, settings.percentageOfNodesToScore);
    this.#kept = keptNodes(settings.narrow, settings.ranking);
    this.#best = new BestNodes(Math.max(1, this.#kept));
    this.#nodes = new Int32Array(nodeSlots);
    this.#scores = new Uint8Array(nodeSlots);
    this.#totals = new Float64Array(nodeSlots);
  }

  choose(shape: Shape): number {
    const { request } = shape;
    this.#sampler.search((node) => this.#inTree.passes(node, request));
    if (this.#sampler.count === 0) return NO_NODE_FITS;
    const isAsked = request.gpuCount > 0 || this.#settings.cpuPods === 'policy';
    const left = isAsked ? this.#filter(shape) : this.#takeSampled();
    if (left === 0) return this.#engine.bestNode(shape) < 0 ? NO_NODE_FITS : NO_NODE_SEEN;
    // kube-scheduler scores nothing where there is nothing to choose.
    if (left > 1) this.#total(left, request, isAsked ? shape : undefined);
    return this.#nodes[left === 1 ? 0 : selectHost(this.#totals, left, this.#random)] ?? NO_NODE_FITS;
  }

  #takeSampled(): number {
    const { found, count } = this.#sampler;
    this.#nodes.set(found.subarray(0, count));
    return count;
  }

  /** As the extender's filter: every feasible node in the order asked, or the best few, best first. */
  #filter(shape: Shape): number {
    const { found, count } = this.#sampler;
    const verdicts = this.#engine.verdicts(shape);
    let feasible = 0;
    for (let each = 0; each < count; each++) {
      const node = found[each] ?? 0;
      if (verdicts.reasons[node] === FITS) this.#nodes[feasible++] = node;
    }
    if (this.#kept === 0 || feasible <= this.#kept || shape.request.hasSoftPreferences) return feasible;
    this.#best.begin(verdicts, this.#engine.ledger.state);
    for (let each = 0; each < feasible; each++) this.#best.offer(this.#nodes[each] ?? 0);
    const ranked = this.#best.ranked();
    this.#nodes.set(ranked);
    return ranked.length;
  }

  /** `asked` is the shape that the extender gives scores for. */
  #total(count: number, request: PodRequest, asked: Shape | undefined): void {
    const { weight, ranking, inTreeScores } = this.#settings;
    const { ledger } = this.#engine;
    if (asked === undefined) this.#scores.fill(0, 0, count);
    else scaleScores(this.#engine.verdicts(asked), ledger.state, ranking, this.#nodes, count, this.#scores);
    for (let each = 0; each < count; each++) {
      const inTree = this.#inTree.score(inTreeScores, this.#nodes[each] ?? 0, request);
      this.#totals[each] = (this.#scores[each] ?? 0) * weight * EXTENDER_SCALE + inTree;
    }
  }
}
