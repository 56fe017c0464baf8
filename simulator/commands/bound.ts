// `bound`: what no policy can exceed on a workload, as a table and as files. Results to stdout, progress to stderr.

import { existsSync } from 'node:fs';

import type { AllocationBounds } from '../bound/bounds.ts';
import { loadSolver, type Solver } from '../bound/solver.ts';
import { boundTable, namedBounds } from '../bound/table.ts';
import { averageInstance, instanceOf, traceBounds, type Instance, type TraceBounds } from '../bound/trace-bounds.ts';
import { openbFiles } from '../compare/openb-folder.ts';
import { publishedTraces } from '../published/results.ts';
import { seedsIn } from '../trace/arrivals.ts';
import { TraceFault } from '../trace/fault.ts';
import { readNodes, readPods, traceNameOf } from '../trace/openb.ts';
import type { BoundFlags } from './flags.ts';
import { writeOutput } from './output-file.ts';
import { ProgressLine, type Terminal } from './terminal.ts';
import { instancesOf, type InstanceSource } from './trace-instances.ts';
import { workloadOf } from './workload-source.ts';

export async function bound(flags: BoundFlags, terminal: Terminal): Promise<number> {
  checkFlags(flags);
  const { openb } = flags;
  const traces =
    openb === undefined
      ? [await boundsOfFiles(flags, await loadSolver())]
      : await computeBounds(await sourcesOf(flags, openb), terminal);
  const isQuiet = flags.json === '-' || flags.csv === '-';
  if (!isQuiet) terminal.stdout.write(report(traces));
  if (flags.csv !== undefined) writeOutput(flags.csv, [csvOf(traces)], terminal);
  if (flags.json !== undefined) {
    writeOutput(flags.json, [`${JSON.stringify({ bounds: traces }, undefined, 1)}\n`], terminal);
  }
  return 0;
}

/** The bounds of every source, with progress on stderr. */
export async function computeBounds(
  sources: readonly InstanceSource[],
  terminal: Terminal,
): Promise<readonly TraceBounds[]> {
  const solver = await loadSolver();
  const line = new ProgressLine(terminal, 'bounds');
  const total = sources.reduce((sum, { seeds }) => sum + Math.max(1, seeds.length), 0);
  const results: TraceBounds[] = [];
  let done = 0;
  for (const source of sources) {
    results.push(await traceBounds(solver, instancesOf(source), () => line.tell(++done, total)));
  }
  line.end();
  return results;
}

function checkFlags({ openb, traces, seeds, nodes, pods, arrivals, seed }: BoundFlags): void {
  if (openb === undefined) {
    if (traces === undefined && seeds === undefined) return;
    const flag = traces === undefined ? '--seeds' : '--traces';
    throw new TraceFault(`${flag}: belongs to a folder of traces; add --openb, or use --nodes, --pods and --seed`);
  }
  if ([nodes, pods, arrivals, seed].some((flag) => flag !== undefined)) {
    throw new TraceFault(
      '--openb: brings its own nodes, pods and arrivals; leave out --nodes, --pods, --arrivals, --seed',
    );
  }
}

/** Of the files of `run`, or of a generated workload. */
async function boundsOfFiles(flags: BoundFlags, solver: Solver): Promise<TraceBounds> {
  const { nodes, pods, arrivals, seed } = flags;
  const isAverage = nodes !== undefined && pods !== undefined && arrivals === undefined && seed === undefined;
  const instance = isAverage
    ? averageInstance(traceNameOf(pods), await readNodes(nodes), await readPods(pods), flags.inflate)
    : instanceOf(await workloadOf(flags));
  return await traceBounds(solver, only(instance), () => {});
}

async function* only(instance: Instance): AsyncIterable<Instance> {
  yield instance;
}

/** Every seed with arrivals; the list in proportion for a trace that has none. */
async function sourcesOf(
  { traces, seeds, scale, inflate }: BoundFlags,
  openb: string,
): Promise<readonly InstanceSource[]> {
  const sources: InstanceSource[] = [];
  for (const trace of traces ?? publishedTraces()) {
    const { arrivals } = openbFiles(openb, trace, ['nodes', 'pods']);
    const itsSeeds = seeds ?? (existsSync(arrivals) ? await seedsIn(arrivals) : []);
    sources.push({ openb, trace, seeds: itsSeeds, scale, load: inflate });
  }
  return sources;
}

function report(traces: readonly TraceBounds[]): string {
  const never = traces.filter(({ neverHosted }) => neverHosted > 0);
  return [
    boundTable(namedBounds(traces)),
    ...never.map(
      ({ trace, neverHosted }) => `${trace}: ${neverHosted} listed GPU pods fit on no node, even an empty one`,
    ),
    '',
  ].join('\n');
}

function csvOf(traces: readonly TraceBounds[]): string {
  const head = 'trace,seed,noRefusalPercent,linearPercent,allCpuOnlyPercent';
  const values = (bounds: AllocationBounds): string =>
    [bounds.noRefusalPercent ?? '', bounds.linearPercent, bounds.allCpuOnlyPercent ?? ''].join(',');
  const lines = traces.flatMap(({ trace, perSeed }) =>
    perSeed.map((bounds) => `${trace},${bounds.seed ?? ''},${values(bounds)}`),
  );
  return `${[head, ...lines].join('\n')}\n`;
}
