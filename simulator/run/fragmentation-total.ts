// The fragmentation amount of the whole cluster, kept up to date by measuring only nodes that changed.

import type { Engine } from '../../extender/core/engine.ts';
import { Twins } from '../../extender/core/twins.ts';

export class FragmentationTotal {
  milli = 0;
  readonly #engine: Engine;
  readonly #byNode: Float64Array;

  constructor(engine: Engine) {
    this.#engine = engine;
    const { state } = engine.ledger;
    this.#byNode = new Float64Array(state.nodeSlots);
    const firsts = new Twins().firsts(state);
    for (let node = 0; node < state.nodeSlots; node++) {
      const first = firsts[node] ?? node;
      const milli = first === node ? engine.fragmentedMilli(node) : (this.#byNode[first] ?? 0);
      this.#byNode[node] = milli;
      this.milli += milli;
    }
  }

  /** Call after a pod took or left its place on the node. */
  changed(node: number): void {
    const milli = this.#engine.fragmentedMilli(node);
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
