// The fragmentation amount of the whole cluster, kept up to date by measuring only nodes that changed.

import { FragmentationMeter } from '../../extender/core/fragmentation.ts';
import type { Mix } from '../../extender/core/mix.ts';
import type { ClusterState } from '../../extender/core/state.ts';

export class FragmentationTotal {
  milli = 0;
  readonly #state: ClusterState;
  readonly #mix: Mix;
  readonly #meter = new FragmentationMeter();
  readonly #byNode: Float64Array;

  constructor(state: ClusterState, mix: Mix) {
    this.#state = state;
    this.#mix = mix;
    this.#byNode = new Float64Array(state.nodeSlots);
    for (let node = 0; node < state.nodeSlots; node++) this.changed(node);
  }

  /** Call after a pod took or left its place on the node. */
  changed(node: number): void {
    this.#meter.read(this.#state, node, this.#mix);
    const milli = this.#meter.measure();
    this.milli += milli - (this.#byNode[node] ?? 0);
    this.#byNode[node] = milli;
  }

  /** The sum taken afresh: adding differences leaves rounding behind. */
  exact(): number {
    let sum = 0;
    for (const milli of this.#byNode) sum += milli;
    return sum;
  }
}
