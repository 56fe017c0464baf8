// The flags of `simulator compare`.

import type { Command } from 'commander';

import type { CompareFlags } from '../commands/flags.ts';
import type { Terminal } from '../commands/terminal.ts';
import { SIMULATED_POLICIES } from '../policy/selection.ts';

import { addDriverOptions } from './driver.ts';
import { countOf, policiesOf, positive, seedsOf, words } from './values.ts';
import { addWeightsOption } from './weights.ts';

const DEFAULT_LOAD = 1.3;
const COMPARE_EXAMPLES = `
Examples:
  node simulator/main.ts compare                               every policy on a generated cluster, three seeds
  node simulator/main.ts compare --openb ../shared/traces/openb --traces default --policies fgd,bestfit
  node simulator/main.ts compare --openb ../shared/traces/openb --check   all traces against the published results
  node simulator/main.ts compare --openb ../shared/traces/openb --traces default --policies fgd \\
      --driver scheduler --percentage-of-nodes-to-score 0      what kube-scheduler's default sampling costs`;

export function describeCompare(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  const command = program
    .command('compare')
    .description('Place workloads with several policies, traces and seeds; means beside the published results.')
    .option('--openb <folder>', 'the openb trace with its subfolder arrivals; without it workloads are generated')
    .option('--traces <names>', 'with --openb: traces such as default,cpu050 (all published ones)', words)
    .option(
      '--policies <names>',
      `some of ${SIMULATED_POLICIES.join(',')} (all published ones; with --check all of those but random)`,
      policiesOf,
    )
    .option('--seeds <numbers>', 'such as 42,43,44 (every seed of the arrivals; generated: 1,2,3)', seedsOf)
    .option('--inflate <ratio>', 'arriving demand as a multiple of all GPUs, without --openb', positive, DEFAULT_LOAD)
    .option('--scale <number>', 'size of generated clusters and workloads; 1 = 1,213 nodes', positive, 1)
    .option('--workers <number>', 'worker threads (one for each core); the results never depend on it', countOf)
    .option('--check', 'fail unless the results agree with the published ones; see the last lines of the output')
    .option('--bounds', 'compute the upper bounds of these very arrivals (about a second for each trace and seed)')
    .option('--json <file>', 'every result as JSON; - for stdout')
    .option('--csv <file>', 'one line for each run as CSV; - for stdout');
  addDriverOptions(addWeightsOption(command))
    .addHelpText('after', COMPARE_EXAMPLES)
    .action(async (options: CompareFlags) => {
      const { compare } = await import('../commands/compare.ts');
      finish(await compare(options, terminal));
    });
}
