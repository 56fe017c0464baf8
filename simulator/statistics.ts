// Mean and deviation over seeds.

export interface MeanAndDeviation {
  readonly mean: number;
  readonly deviation: number;
}

/** Mean and sample deviation. */
export function statistics(values: readonly number[]): MeanAndDeviation {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1)) };
}

/** `95.39 ± 0.08`; nothing where there is no value. */
export function shownStatistics(value: MeanAndDeviation | undefined): string {
  return value === undefined ? '' : `${value.mean.toFixed(2)} ± ${value.deviation.toFixed(2)}`;
}
