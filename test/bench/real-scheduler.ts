// npm run bench -- scheduler: pods per second of the real kube-scheduler without an extender, with one that agrees to
// everything, and with gpuloom. BENCH_NODES and BENCH_ROUNDS make it smaller or longer.

import { obtainBinaries } from '../e2e/binaries.ts';
import { benchScheduler, schedulerTable } from './scheduler.ts';
import { ALONE, gpuloomSetup, yesSetup } from './scheduler-setups.ts';

const DEFAULT_ROUNDS = 3;
const PODS: ReadonlyMap<number, number> = new Map([
  [1000, 3000],
  [5000, 1000],
]);

export async function benchRealScheduler(progress: (text: string) => void): Promise<string> {
  const binaries = await obtainBinaries({ progress, signal: new AbortController().signal });
  if (binaries.kind === 'skip') return `skipped: ${binaries.reason}`;
  const sizes = (process.env['BENCH_NODES'] ?? '1000,5000').split(',').map(Number);
  const measurements = await benchScheduler({
    binaries: binaries.binaries,
    cases: sizes.map((nodes) => ({ nodes, pods: PODS.get(nodes) ?? 500 })),
    setups: [ALONE, yesSetup(0), gpuloomSetup(32), gpuloomSetup(0)],
    rounds: Number(process.env['BENCH_ROUNDS'] ?? DEFAULT_ROUNDS),
    progress,
  });
  return schedulerTable(measurements);
}
