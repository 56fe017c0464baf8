// Bounds of the openb traces as `simulator bound --openb` computes them over the stored arrivals (default: seeds 42 to 51,
// the others 42 to 44), so that results can be shown beside them at once.

import type { NamedBounds } from './table.ts';

/** Seeds, load without refusals, upper bound, the same with all CPU-only pods placed; in percent of all GPUs. */
const KNOWN = `
default      10  96.32  99.89  99.89
cpu050        3  96.32  99.88  99.88
cpu100        3  96.32  99.88  99.88
cpu200        3  96.32  99.89  99.58
cpu250        3  96.32  99.89  96.60
gpushare40    3  94.89  99.22  99.22
gpushare60    3  92.41  97.08  96.72
gpushare80    3  90.40  94.48  93.71
gpushare100   3  88.20  91.60  90.64
gpuspec10     3  96.56  99.87  99.87
gpuspec20     3  96.32  99.88  99.88
gpuspec25     3  96.44  99.88  99.88
gpuspec33     3  76.73  99.78  99.78
multigpu20    3  96.82 100.00 100.00
multigpu30    3  97.20 100.00 100.00
multigpu40    3  97.59 100.00 100.00
multigpu50    3  97.99 100.00 100.00
`;

/** None for a trace that is not there. */
export function knownBoundsOf(trace: string): readonly NamedBounds[] {
  return KNOWN.trim()
    .split('\n')
    .map((line) => line.split(/ +/))
    .filter(([name]) => name === trace)
    .map(([, seeds, ...values]) => {
      const [noRefusalPercent = NaN, linearPercent = NaN, allCpuOnlyPercent = NaN] = values.map(Number);
      return { trace, over: `${seeds} seeds`, bounds: { noRefusalPercent, linearPercent, allCpuOnlyPercent } };
    });
}
