// `report`: results as one HTML page with plots, from files of other commands or from runs of its own.

import { availableParallelism } from 'node:os';

import type { TraceBounds } from '../bound/trace-bounds.ts';
import { runTasks } from '../compare/pool.ts';
import { compareWithPublished } from '../compare/summary.ts';
import type { CompareTask } from '../compare/task.ts';
import { page } from '../report/page.ts';
import { boundsFor, occupancyOf, policyReport, type TraceReport } from '../report/results.ts';
import { traceSection } from '../report/section.ts';
import { TraceFault } from '../trace/fault.ts';
import { boundsOfRuns } from './compare.ts';
import type { CompareFlags } from './flags.ts';
import { writeOutput } from './output-file.ts';
import { planRuns } from './planned-runs.ts';
import { ProgressLine, type Terminal } from './terminal.ts';

export interface ReportFlags extends Omit<CompareFlags, 'check' | 'json' | 'csv'> {
  readonly out: string;
  readonly title?: string;
}

export async function report(files: readonly string[], flags: ReportFlags, terminal: Terminal): Promise<number> {
  const traces = files.length > 0 ? await fromFiles(files, flags) : await fromRuns(flags, terminal);
  const names = traces.map(({ trace }) => trace);
  const html = page(flags.title ?? 'GPU placement report', introduction(names), traces.map(traceSection));
  writeOutput(flags.out, [html], terminal);
  if (flags.out !== '-')
    terminal.stdout.write(`${flags.out}: ${names.length === 1 ? 'trace' : 'traces'} ${names.join(', ')}\n`);
  return 0;
}

function introduction(traces: readonly string[]): string {
  const which = traces.length === 1 ? `the trace ${traces.join('')}` : `the traces ${traces.join(', ')}`;
  return `How well placement policies fill the GPUs of a cluster as pods arrive, on ${which}.`;
}

async function fromFiles(files: readonly string[], flags: ReportFlags): Promise<readonly TraceReport[]> {
  const given = [flags.openb, flags.traces, flags.policies, flags.seeds].some((flag) => flag !== undefined);
  if (given)
    throw new TraceFault(
      `${files.join(', ')}: files bring their results; leave out --openb, --traces, --policies, --seeds`,
    );
  const { readResults } = await import('../report/results-file.ts');
  return readResults(files);
}

async function fromRuns(flags: ReportFlags, terminal: Terminal): Promise<readonly TraceReport[]> {
  const { driver, tasks } = await planRuns(flags);
  const line = new ProgressLine(terminal, 'runs');
  const results = await runTasks(withOccupancy(tasks), flags.workers ?? availableParallelism(), (done) =>
    line.tell(done, tasks.length),
  );
  line.end();
  const bounds: readonly TraceBounds[] = flags.bounds === true ? await boundsOfRuns(tasks, terminal) : [];
  const comparisons = [...Map.groupBy(compareWithPublished(results), ({ trace }) => trace)];
  return comparisons.map(([trace, group]) => ({
    trace,
    policies: group.map((each) => {
      const its = results.filter((result) => result.trace === trace && result.policy === each.policy);
      return policyReport(each, driver.kind, occupancyOf(its));
    }),
    bounds: boundsFor(trace, bounds),
  }));
}

/** Of the first seed of each policy and trace: the map of one run says what there is to see. */
function withOccupancy(tasks: readonly CompareTask[]): readonly CompareTask[] {
  const seen = new Set<string>();
  return tasks.map((task) => {
    const key = `${task.trace} ${task.policy}`;
    if (seen.has(key)) return task;
    seen.add(key);
    return { ...task, keepsOccupancy: true };
  });
}
