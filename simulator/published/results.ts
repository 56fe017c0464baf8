// The published results of the FGD experiments (USENIX ATC'23): data, and looking them up. Means and standard deviations
// over the seeds 42 to 51 at 130 % arrived load, in percent of all GPUs. Source: hkust-adsl/kubernetes-scheduler-simulator,
// experiments/analysis/expected_results, analysis_allo_discrete.csv and analysis_frag_discrete.csv (Apache-2.0).

import { PUBLISHED_POLICIES } from '../policy/published.ts';
import type { MeanAndDeviation } from '../statistics.ts';

export interface PublishedResult {
  readonly allocation: MeanAndDeviation;
  readonly fragmentation: MeanAndDeviation;
}

/** The seeds that the published means are taken over. */
export const PUBLISHED_SEEDS: readonly number[] = [42, 43, 44, 45, 46, 47, 48, 49, 50, 51];
/** Arrived load, in percent of all GPUs, of the published figures. */
export const PUBLISHED_LOAD_PERCENT = 130;

/** A line for each trace; mean and deviation of random, dotprod, gpuclustering, gpupacking, bestfit, fgd. */
const ALLOCATION = `
default      87.47 0.32  90.85 0.20  91.88 0.62  92.00 0.54  93.08 0.13  95.39 0.08
cpu050       91.24 0.21  93.27 0.19  93.79 0.32  93.72 0.30  93.79 0.14  95.21 0.09
cpu100       89.11 0.29  91.95 0.27  92.64 0.44  92.72 0.46  93.44 0.13  95.35 0.14
cpu200       83.77 0.34  87.70 0.62  89.92 0.39  90.22 0.50  92.40 0.24  95.05 0.16
cpu250       80.42 0.29  83.81 0.46  87.99 0.58  88.28 0.65  91.45 0.22  93.41 0.28
gpushare40   86.00 0.36  89.56 0.14  90.02 0.59  90.03 0.50  91.69 0.21  94.15 0.07
gpushare60   83.65 0.29  87.11 0.28  87.20 0.42  87.45 0.38  89.36 0.19  91.40 0.12
gpushare80   81.22 0.29  84.49 0.20  84.85 0.54  85.00 0.49  87.01 0.24  89.30 0.12
gpushare100  79.44 0.13  82.42 0.31  82.65 0.48  82.57 0.49  85.01 0.20  86.90 0.15
gpuspec10    87.43 0.27  90.39 0.38  92.18 0.72  92.46 0.67  93.30 0.20  94.95 0.21
gpuspec20    87.24 0.32  89.97 0.40  92.25 0.61  92.94 0.64  93.30 0.09  94.84 0.12
gpuspec25    86.94 0.38  89.63 0.36  92.08 0.64  92.98 0.72  93.23 0.08  94.74 0.25
gpuspec33    86.46 0.13  89.14 0.38  92.12 0.68  93.22 0.63  93.09 0.15  94.55 0.14
multigpu20   88.69 0.48  92.06 0.32  93.56 0.61  93.71 0.64  93.93 0.23  95.65 0.16
multigpu30   89.27 0.41  93.28 0.30  94.72 0.31  94.87 0.32  94.72 0.22  96.46 0.09
multigpu40   90.09 0.44  94.19 0.21  95.50 0.31  95.74 0.30  95.23 0.24  96.99 0.09
multigpu50   90.27 0.44  94.85 0.21  95.81 0.29  96.18 0.31  95.74 0.19  97.18 0.10
`;

/** The fragmentation amount, in the same form. */
const FRAGMENTATION = `
default      12.43 0.32  9.08 0.21  8.00 0.62  7.91 0.55  6.85 0.13  4.57 0.09
cpu050       8.65 0.22  6.65 0.21  6.08 0.31  6.18 0.30  6.11 0.14  4.73 0.10
cpu100       10.78 0.27  8.00 0.27  7.22 0.40  7.24 0.46  6.50 0.13  4.61 0.13
cpu200       16.13 0.33  12.22 0.60  9.97 0.39  9.72 0.50  7.54 0.22  4.89 0.17
cpu250       19.48 0.29  16.11 0.47  11.91 0.56  11.66 0.65  8.50 0.22  6.56 0.29
gpushare40   13.93 0.36  10.40 0.14  9.89 0.58  9.92 0.50  8.28 0.20  5.80 0.06
gpushare60   16.23 0.27  12.80 0.26  12.66 0.40  12.48 0.37  10.58 0.20  8.54 0.12
gpushare80   18.66 0.28  15.46 0.19  15.02 0.54  14.93 0.47  12.95 0.24  10.57 0.11
gpushare100  20.45 0.13  17.55 0.31  17.29 0.48  17.39 0.48  14.98 0.20  13.00 0.14
gpuspec10    12.45 0.28  9.53 0.37  7.71 0.70  7.44 0.67  6.61 0.20  5.00 0.21
gpuspec20    12.65 0.31  9.98 0.41  7.64 0.59  7.00 0.64  6.63 0.11  5.10 0.12
gpuspec25    12.95 0.39  10.29 0.36  7.78 0.62  6.94 0.71  6.69 0.07  5.21 0.24
gpuspec33    13.44 0.14  10.79 0.38  7.74 0.70  6.70 0.62  6.84 0.15  5.39 0.14
multigpu20   11.17 0.45  7.84 0.31  6.27 0.60  6.17 0.62  5.96 0.21  4.28 0.15
multigpu30   10.55 0.44  6.66 0.31  5.09 0.31  5.03 0.33  5.18 0.21  3.48 0.08
multigpu40   9.66 0.45  5.69 0.19  4.25 0.29  4.14 0.32  4.63 0.24  2.97 0.09
multigpu50   9.30 0.42  4.97 0.21  3.82 0.29  3.64 0.29  4.07 0.18  2.69 0.08
`;

/** The published figures of a trace and policy; undefined where there are none. */
export function publishedResult(trace: string, policy: string): PublishedResult | undefined {
  const column = PUBLISHED_POLICIES.findIndex((name) => name === policy);
  const allocation = pair(ALLOCATION, trace, column);
  const fragmentation = pair(FRAGMENTATION, trace, column);
  return allocation === undefined || fragmentation === undefined ? undefined : { allocation, fragmentation };
}

/** The traces of the published experiments. */
export function publishedTraces(): readonly string[] {
  return linesOf(ALLOCATION).map(([trace = '']) => trace);
}

function pair(table: string, trace: string, column: number): MeanAndDeviation | undefined {
  const cells = linesOf(table).find(([name]) => name === trace);
  if (cells === undefined || column < 0) return undefined;
  return { mean: Number(cells[1 + 2 * column]), deviation: Number(cells[2 + 2 * column]) };
}

function linesOf(table: string): readonly (readonly string[])[] {
  return table
    .trim()
    .split('\n')
    .map((line) => line.split(/ +/));
}
