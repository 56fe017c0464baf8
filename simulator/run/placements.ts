// Where every arrival went, compactly: node position and GPU indices as a bit set. Also its text form, one line for
// each arrival: `arrival index,node name or empty,GPU indices joined by |`.

import { MAX_GPUS_PER_NODE } from '../../extender/core/inventory-codec.ts';

const REFUSED = -1;
const BITS_PER_WORD = 32;
const WORDS: number = Math.ceil(MAX_GPUS_PER_NODE / BITS_PER_WORD);
const LINES_PER_PIECE = 4096;

export class Placements {
  readonly #nodes: Int32Array;
  readonly #gpus: Int32Array;

  constructor(arrivals: number) {
    this.#nodes = new Int32Array(arrivals).fill(REFUSED);
    this.#gpus = new Int32Array(arrivals * WORDS);
  }

  /** `node` is the node's position in the tie-break order. */
  set(arrival: number, node: number, gpus: readonly { readonly index: number }[]): void {
    this.#nodes[arrival] = node;
    for (const { index } of gpus) {
      const word = arrival * WORDS + Math.floor(index / BITS_PER_WORD);
      this.#gpus[word] = (this.#gpus[word] ?? 0) | (1 << (index % BITS_PER_WORD));
    }
  }

  /** The node's position in the tie-break order; -1 where the arrival has none. */
  nodeOf(arrival: number): number {
    return this.#nodes[arrival] ?? REFUSED;
  }

  gpusOf(arrival: number): number[] {
    const indices: number[] = [];
    for (let index = 0; index < MAX_GPUS_PER_NODE; index++) {
      const bits = this.#gpus[arrival * WORDS + Math.floor(index / BITS_PER_WORD)] ?? 0;
      if ((bits & (1 << (index % BITS_PER_WORD))) !== 0) indices.push(index);
    }
    return indices;
  }

  /** The text in pieces of a few thousand lines. `nodeNames` by position in the tie-break order. */
  *pieces(nodeNames: readonly string[]): Generator<string> {
    let lines: string[] = [];
    for (let arrival = 0; arrival < this.#nodes.length; arrival++) {
      const node = this.nodeOf(arrival);
      const name = node === REFUSED ? '' : (nodeNames[node] ?? '');
      lines.push(`${arrival},${name},${this.gpusOf(arrival).join('|')}\n`);
      if (lines.length < LINES_PER_PIECE) continue;
      yield lines.join('');
      lines = [];
    }
    yield lines.join('');
  }
}
