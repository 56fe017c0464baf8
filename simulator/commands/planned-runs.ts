// From flags to the runs of a comparison: policies × traces × seeds, all by one driver. Flags that contradict each other
// are a fault.

import { openbFiles } from '../compare/openb-folder.ts';
import type { CompareTask } from '../compare/task.ts';
import { PUBLISHED_POLICIES } from '../policy/published.ts';
import type { SimulatedPolicyName } from '../policy/selection.ts';
import { publishedTraces } from '../published/results.ts';
import type { DriverSettings } from '../run/driver.ts';
import { seedsIn } from '../trace/arrivals.ts';
import { TraceFault } from '../trace/fault.ts';
import { driverOf } from './driver-flags.ts';
import type { CompareFlags } from './flags.ts';
import { chosenWeights, type WeightFlags } from './weight-flags.ts';

const GENERATED_SEEDS: readonly number[] = [1, 2, 3];

export interface PlannedRuns extends WeightFlags {
  readonly driver: DriverSettings;
  readonly tasks: readonly CompareTask[];
}

export async function planRuns(flags: CompareFlags): Promise<PlannedRuns> {
  if (flags.check === true && flags.openb === undefined) {
    throw new TraceFault('--check: only the openb trace has published results; add --openb and its folder');
  }
  if (flags.traces !== undefined && flags.openb === undefined) {
    throw new TraceFault('--traces: names traces of a folder; add --openb, or leave it out to generate workloads');
  }
  if (flags.check === true && flags.driver !== 'direct') {
    throw new TraceFault('--check: the published results are of the policies alone; leave --driver scheduler out');
  }
  const policies = policiesOf(flags);
  const driver = driverOf(flags, policies);
  return { driver, ...chosenWeights(flags, policies), tasks: await tasksOf(flags, policies, driver) };
}

/** Where a random choice is involved there is nothing that could agree exactly, nor a ranking to go by. */
function policiesOf({ policies, check, driver }: CompareFlags): readonly SimulatedPolicyName[] {
  const isRanked = check === true || driver === 'scheduler';
  return policies ?? PUBLISHED_POLICIES.filter((name) => !isRanked || name !== 'random');
}

async function tasksOf(
  { openb, traces, seeds, scale, inflate, weights }: CompareFlags,
  policies: readonly SimulatedPolicyName[],
  driver: DriverSettings,
): Promise<CompareTask[]> {
  const tasks: CompareTask[] = [];
  for (const trace of openb === undefined ? ['generated'] : (traces ?? publishedTraces())) {
    const itsSeeds =
      seeds ?? (openb === undefined ? GENERATED_SEEDS : await seedsIn(openbFiles(openb, trace).arrivals));
    for (const policy of policies) {
      const common = { openb, trace, policy, driver, scale, load: inflate, ...(weights !== undefined && { weights }) };
      for (const seed of itsSeeds) tasks.push({ ...common, seed });
    }
  }
  return tasks;
}
