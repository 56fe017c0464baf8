// When each arrival got its place, where, and when it left; one row for each arrival. Also as text:
// `arrival index,node name or empty,GPU indices joined by |,arrived,placed,left` in seconds, empty where it never was.

import { Placements } from '../run/placements.ts';

const LINES_PER_PIECE = 4096;

export class Schedule {
  readonly placements: Placements;
  /** NaN while it has not happened. */
  readonly placedMillis: Float64Array;
  readonly leftMillis: Float64Array;
  readonly #arrivalMillis: Float64Array;

  constructor(arrivalMillis: Float64Array) {
    this.#arrivalMillis = arrivalMillis;
    this.placements = new Placements(arrivalMillis.length);
    this.placedMillis = new Float64Array(arrivalMillis.length).fill(Number.NaN);
    this.leftMillis = new Float64Array(arrivalMillis.length).fill(Number.NaN);
  }

  /** `nodeNames` by position in the tie-break order. */
  *pieces(nodeNames: readonly string[]): Generator<string> {
    let lines: string[] = ['arrival,node,gpus,arrivedSeconds,placedSeconds,leftSeconds\n'];
    for (let arrival = 0; arrival < this.#arrivalMillis.length; arrival++) {
      const node = this.placements.nodeOf(arrival);
      const name = node < 0 ? '' : (nodeNames[node] ?? '');
      const gpus = this.placements.gpusOf(arrival).join('|');
      const times = [this.#arrivalMillis, this.placedMillis, this.leftMillis].map((each) => seconds(each[arrival]));
      lines.push(`${arrival},${name},${gpus},${times.join(',')}\n`);
      if (lines.length < LINES_PER_PIECE) continue;
      yield lines.join('');
      lines = [];
    }
    yield lines.join('');
  }
}

function seconds(millis: number | undefined): string {
  return millis === undefined || Number.isNaN(millis) ? '' : String(millis / 1000);
}
