// `compare`: policies × traces × seeds on worker threads, as a table beside the published results; with --check also
// a verdict. Nothing in its output depends on time or on the number of workers.

import { availableParallelism } from 'node:os';

import { boundTable, namedBounds } from '../bound/table.ts';
import { knownBoundsOf } from '../bound/known.ts';
import type { TraceBounds } from '../bound/trace-bounds.ts';
import { runTasks } from '../compare/pool.ts';
import { compareWithPublished, comparisonTable, type Comparison } from '../compare/summary.ts';
import type { CompareResult, CompareTask } from '../compare/task.ts';
import type { CompareFlags } from './flags.ts';
import { writeOutput } from './output-file.ts';
import { planRuns } from './planned-runs.ts';
import { ProgressLine, type Terminal } from './terminal.ts';

const EXIT_DIFFERENT = 1;

export async function compare(flags: CompareFlags, terminal: Terminal): Promise<number> {
  const { driver, weights, tasks } = await planRuns(flags);
  const line = new ProgressLine(terminal, 'runs');
  const workers = flags.workers ?? availableParallelism();
  const results = await runTasks(tasks, workers, (done) => line.tell(done, tasks.length));
  line.end();
  const comparisons = compareWithPublished(results);
  const bounds = flags.bounds === true ? await boundsOfRuns(tasks, terminal) : undefined;
  const isQuiet = flags.json === '-' || flags.csv === '-';
  if (!isQuiet) terminal.stdout.write(tables(comparisons, bounds));
  if (flags.csv !== undefined) writeOutput(flags.csv, [csvOf(results)], terminal);
  if (flags.json !== undefined) {
    // The mean curves of the comparisons say enough.
    const runs = results.map((each) => ({ ...each, curve: undefined }));
    writeOutput(
      flags.json,
      [`${JSON.stringify({ driver, weights, comparisons, results: runs, bounds }, undefined, 1)}\n`],
      terminal,
    );
  }
  return flags.check === true ? verdict(comparisons, isQuiet ? terminal.stderr : terminal.stdout) : 0;
}

/** Of the arrivals that were compared. The solver is loaded only here. */
export async function boundsOfRuns(tasks: readonly CompareTask[], terminal: Terminal): Promise<readonly TraceBounds[]> {
  const { computeBounds } = await import('./bound.ts');
  const sources = Map.groupBy(tasks, ({ trace }) => trace);
  return await computeBounds(
    [...sources.values()].flatMap((group) => {
      const [first] = group;
      return first === undefined ? [] : [{ ...first, seeds: [...new Set(group.map(({ seed }) => seed))] }];
    }),
    terminal,
  );
}

function tables(comparisons: readonly Comparison[], computed: readonly TraceBounds[] | undefined): string {
  const traces = [...new Set(comparisons.map(({ trace }) => trace))];
  const bounds = computed === undefined ? traces.flatMap(knownBoundsOf) : namedBounds(computed);
  const lines = bounds.length === 0 ? [] : ['', boundTable(bounds)];
  return `${[comparisonTable(comparisons), ...lines].join('\n')}\n`;
}

function csvOf(results: readonly CompareResult[]): string {
  const head =
    'trace,policy,seed,pods,arrivedMilli,allocatedMilli,allocationPercent,fragmentationPercent,refused,unseen';
  const lines = results.map((each) =>
    [
      each.trace,
      each.policy,
      each.seed,
      each.pods,
      each.arrivedMilli,
      each.allocatedMilli,
      each.allocationPercent.toFixed(4),
      each.fragmentationPercent.toFixed(4),
      each.refused,
      each.unseen,
    ].join(','),
  );
  return `${[head, ...lines].join('\n')}\n`;
}

function verdict(comparisons: readonly Comparison[], out: Terminal['stderr']): number {
  const count = (agreement: Comparison['agreement']): number =>
    comparisons.filter((each) => each.agreement === agreement).length;
  const different = comparisons.filter(({ agreement }) => agreement === 'different');
  out.write(
    [
      '',
      `${count('equal')} means over all ten published seeds agree to two decimals.`,
      `${count('possible')} means over fewer seeds are possible beside the published mean and deviation of ten.`,
      ...different.map(({ trace, policy }) => `DIFFERENT: ${policy} on ${trace}`),
      '',
    ].join('\n'),
  );
  return different.length === 0 && count('equal') + count('possible') > 0 ? 0 : EXIT_DIFFERENT;
}
