// From flags to what is tuned: the workloads, the seeds that are searched and those that are held out, and the runs that
// judge a set of weights. Flags that contradict each other are a fault.

import type { RoomWeights } from '../../extender/core/room-weights.ts';
import { driverOf } from '../commands/driver-flags.ts';
import type { TuneFlags } from '../commands/flags.ts';
import { openbFiles } from '../compare/openb-folder.ts';
import type { CompareTask, WorkloadFiles } from '../compare/task.ts';
import type { DriverSettings } from '../run/driver.ts';
import { seedsIn } from '../trace/arrivals.ts';
import { TraceFault } from '../trace/fault.ts';
import { traceNameOf } from '../trace/openb.ts';

/** Where seeds make the workload, any number of them is at hand. */
const MADE_SEEDS: readonly number[] = [1, 2, 3, 4, 5, 6];
/** How many are searched and how many are held out where the flags name none. */
const SEARCHED = 2;
const HELD_OUT = 3;

type Seeds = readonly number[] | undefined;

export interface TuningPlan {
  readonly driver: DriverSettings;
  readonly traces: readonly string[];
  readonly seeds: readonly number[];
  readonly heldOut: readonly number[];
  /** One run for each trace and seed, traces first. */
  readonly runs: (weights: RoomWeights, seeds: readonly number[]) => readonly CompareTask[];
}

export async function planTuning(flags: TuneFlags): Promise<TuningPlan> {
  const { openb, inflate: load, scale } = flags;
  const files = filesOf(flags);
  const traces = openb === undefined ? [files === undefined ? 'generated' : traceNameOf(files.pods)] : tracesOf(flags);
  const driver = driverOf(flags, ['fragmentation']);
  const { seeds, heldOut } = seedsOf(flags, await seedsOfFiles(flags, traces));
  const common = {
    openb,
    policy: 'fragmentation',
    driver,
    scale,
    load,
    ...(files !== undefined && { files }),
  } as const;
  return {
    driver,
    traces,
    seeds,
    heldOut,
    runs: (weights, chosen) =>
      traces.flatMap((trace) => chosen.map((seed): CompareTask => ({ ...common, trace, seed, weights }))),
  };
}

function tracesOf({ traces }: TuneFlags): readonly string[] {
  return traces ?? ['default'];
}

function filesOf({ openb, traces, nodes, pods, arrivals }: TuneFlags): WorkloadFiles | undefined {
  if (traces !== undefined && openb === undefined) {
    throw new TraceFault('--traces: names traces of a folder; add --openb, or leave it out');
  }
  if (nodes === undefined && pods === undefined && arrivals === undefined) return undefined;
  if (openb !== undefined) {
    throw new TraceFault('--openb names whole traces; leave out --nodes, --pods and --arrivals, or --openb');
  }
  if (nodes === undefined || pods === undefined) {
    throw new TraceFault(
      '--nodes and --pods go together, and --arrivals needs both; leave all out to generate a cluster',
    );
  }
  return { nodes, pods, ...(arrivals !== undefined && { arrivals }) };
}

/** The seeds that files of arrivals have, those in common where there are several; undefined where any seed will do. */
async function seedsOfFiles({ openb, arrivals }: TuneFlags, traces: readonly string[]): Promise<Seeds> {
  const own = arrivals === undefined ? [] : [arrivals];
  const files = openb === undefined ? own : traces.map((trace) => openbFiles(openb, trace).arrivals);
  const [first, ...others] = await Promise.all(files.map(seedsIn));
  return first?.filter((seed) => others.every((each) => each.includes(seed)));
}

function seedsOf(flags: TuneFlags, ofFiles: Seeds): Pick<TuningPlan, 'seeds' | 'heldOut'> {
  const both = flags.seeds?.find((seed) => flags.heldOut?.includes(seed) === true);
  if (both !== undefined) {
    throw new TraceFault(
      `--held-out: ${both} is among --seeds too; a gain counts on seeds that were not searched, so name others`,
    );
  }
  const known = ofFiles ?? MADE_SEEDS;
  const seeds = flags.seeds ?? known.filter((seed) => flags.heldOut?.includes(seed) !== true).slice(0, SEARCHED);
  const heldOut = flags.heldOut ?? known.filter((seed) => !seeds.includes(seed)).slice(0, HELD_OUT);
  // Told now, not after hours of searching.
  const missing = ofFiles === undefined ? undefined : [...seeds, ...heldOut].find((seed) => !ofFiles.includes(seed));
  if (missing === undefined && seeds.length > 0 && heldOut.length > 0) return { seeds, heldOut };
  const what = missing === undefined ? 'leave one at least to search and one to hold out' : `there is no ${missing}`;
  throw new TraceFault(`--seeds and --held-out: the arrivals have the seeds ${known.join(', ')}; ${what}`);
}
