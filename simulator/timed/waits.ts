// How long the pods of one class waited for a place. A pod that still waits at the end counts with what it has waited so
// far, which is the least that it will have waited.

export interface ClassWaits {
  /** Pods that arrived. */
  readonly pods: number;
  readonly placed: number;
  /** At the end; counted in the percentiles. */
  readonly stillWaiting: number;
  /** Pods that no node could host even if it were empty; not counted in the percentiles. */
  readonly unplaceable: number;
  readonly p50Seconds: number;
  readonly p90Seconds: number;
  readonly p99Seconds: number;
  readonly maxSeconds: number;
  readonly meanSeconds: number;
}

export class Waits {
  readonly #millis: number[] = [];
  #stillWaiting = 0;
  #unplaceable = 0;

  placed(waitedMillis: number): void {
    this.#millis.push(waitedMillis);
  }

  waitsStill(waitedMillis: number): void {
    this.#stillWaiting++;
    this.#millis.push(waitedMillis);
  }

  unplaceable(): void {
    this.#unplaceable++;
  }

  summary(): ClassWaits {
    const sorted = Float64Array.from(this.#millis).sort();
    const sum = sorted.reduce((total, each) => total + each, 0);
    return {
      pods: sorted.length + this.#unplaceable,
      placed: sorted.length - this.#stillWaiting,
      stillWaiting: this.#stillWaiting,
      unplaceable: this.#unplaceable,
      p50Seconds: percentile(sorted, 50) / 1000,
      p90Seconds: percentile(sorted, 90) / 1000,
      p99Seconds: percentile(sorted, 99) / 1000,
      maxSeconds: (sorted.at(-1) ?? 0) / 1000,
      meanSeconds: sorted.length === 0 ? 0 : Number((sum / sorted.length / 1000).toFixed(3)),
    };
  }
}

/** The smallest value that at least `percent` of all do not exceed; 0 of none. */
export function percentile(sorted: Float64Array, percent: number): number {
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? 0;
}
