// How much of the GPUs is in use, and how many pods run and wait, over time: every change is noted, and the curve is
// taken from the notes as time-weighted means over equal spans.

export interface UsagePoint {
  /** The span begins here and ends where the next one begins. */
  readonly fromSeconds: number;
  readonly allocationPercent: number;
  readonly fragmentationPercent: number;
  readonly runningPods: number;
  readonly waitingPods: number;
}

export interface UsageTotals {
  readonly meanAllocationPercent: number;
  readonly peakAllocationPercent: number;
  readonly meanWaitingPods: number;
  readonly peakWaitingPods: number;
}

/** What holds from one moment on. */
export interface UsageLevel {
  readonly allocatedMilli: number;
  readonly fragmentedMilli: number;
  readonly running: number;
  readonly waiting: number;
}

const LEVELS = ['allocatedMilli', 'fragmentedMilli', 'running', 'waiting'] as const;
const WIDTH = LEVELS.length + 1;
const DECIMALS = 4;

export class Usage {
  readonly #capacityMilli: number;
  /** Rows of time and levels; of the notes of one moment the last holds. */
  #notes = new Float64Array(WIDTH * 1024);
  #count = 0;

  constructor(capacityMilli: number) {
    this.#capacityMilli = capacityMilli;
  }

  /** Moments must not go back. */
  note(atMillis: number, level: UsageLevel): void {
    if (this.#count === 0 || this.#time(this.#count - 1) !== atMillis) this.#count++;
    const start = (this.#count - 1) * WIDTH;
    if (start + WIDTH > this.#notes.length) {
      const longer = new Float64Array(this.#notes.length * 2);
      longer.set(this.#notes);
      this.#notes = longer;
    }
    this.#notes[start] = atMillis;
    LEVELS.forEach((name, at) => (this.#notes[start + 1 + at] = level[name]));
  }

  /** `spans` points from the first note until `endMillis`, fewer where a span would be shorter than a second. */
  curve(endMillis: number, spans: number): UsagePoint[] {
    const startMillis = this.#count === 0 ? endMillis : this.#time(0);
    const seconds = Math.floor((endMillis - startMillis) / 1000);
    const points = Math.max(1, Math.min(spans, seconds));
    const width = (endMillis - startMillis) / points;
    let note = 0;
    return Array.from({ length: points }, (_, at) => {
      const from = startMillis + at * width;
      while (note + 1 < this.#count && this.#time(note + 1) <= from) note++;
      const [allocated = 0, fragmented = 0, running = 0, waiting = 0] = this.#means(note, from, from + width);
      return {
        fromSeconds: rounded(from / 1000),
        allocationPercent: this.#percent(allocated),
        fragmentationPercent: this.#percent(fragmented),
        runningPods: rounded(running),
        waitingPods: rounded(waiting),
      };
    });
  }

  totals(endMillis: number): UsageTotals {
    const startMillis = this.#count === 0 ? endMillis : this.#time(0);
    const [allocated = 0, , , waiting = 0] = this.#means(0, startMillis, endMillis);
    let peakAllocated = 0;
    let peakWaiting = 0;
    for (let note = 0; note < this.#count; note++) {
      peakAllocated = Math.max(peakAllocated, this.#notes[note * WIDTH + 1] ?? 0);
      peakWaiting = Math.max(peakWaiting, this.#notes[note * WIDTH + WIDTH - 1] ?? 0);
    }
    return {
      meanAllocationPercent: this.#percent(allocated),
      peakAllocationPercent: this.#percent(peakAllocated),
      meanWaitingPods: rounded(waiting),
      peakWaitingPods: peakWaiting,
    };
  }

  /** Time-weighted means of the levels from `from` to `to`; `first` is the note that holds at `from`. */
  #means(first: number, from: number, to: number): number[] {
    const sums = LEVELS.map(() => 0);
    for (let note = first; note < this.#count && this.#time(note) < to; note++) {
      const end = note + 1 < this.#count ? Math.min(to, this.#time(note + 1)) : to;
      const millis = end - Math.max(from, this.#time(note));
      for (let at = 0; at < sums.length; at++) {
        sums[at] = (sums[at] ?? 0) + millis * (this.#notes[note * WIDTH + 1 + at] ?? 0);
      }
    }
    return to === from ? sums : sums.map((sum) => sum / (to - from));
  }

  #time(note: number): number {
    return this.#notes[note * WIDTH] ?? 0;
  }

  #percent(milli: number): number {
    return this.#capacityMilli === 0 ? 0 : rounded((milli / this.#capacityMilli) * 100);
  }
}

/** Means carry rounding that says nothing. */
function rounded(value: number): number {
  return Number(value.toFixed(DECIMALS));
}
