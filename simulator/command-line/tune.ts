// The flags of `simulator tune`.

import type { Command } from 'commander';

import type { TuneFlags } from '../commands/flags.ts';
import type { Terminal } from '../commands/terminal.ts';

import { addDriverOptions } from './driver.ts';
import { budgetOf, countOf, positive, seedsOf, words } from './values.ts';

const DEFAULT_LOAD = 1.3;
const DEFAULT_BUDGET = 30;
const TUNE_EXAMPLES = `
Examples:
  node simulator/main.ts tune --scale 0.1                      a generated cluster of 121 nodes
  node simulator/main.ts tune --openb ../shared/traces/openb --traces default,cpu250 --seeds 42,43 --held-out 44,45
  node simulator/main.ts tune --nodes nodes.csv --pods pods.csv --inflate 1.1 --budget 60 --json tuned.json
  node simulator/main.ts tune --openb ../shared/traces/openb --driver scheduler         behind a stock kube-scheduler

Maximised: allocated percent of all GPUs in the last percent of arrived load, as compare prints it, in the mean over
traces and seeds. Weights found on --seeds are recommended only where they are clearly better on --held-out too, which
the search never sees: by more than two standard errors. The snippet at the end goes into the file of gpuloom-extender --config.`;

export function describeTune(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  const command = program
    .command('tune')
    .description(
      'Search the weights of the policy fragmentation for given workloads, and check them on held-out seeds.',
    )
    .option('--openb <folder>', 'the openb trace with its subfolder arrivals')
    .option('--traces <names>', 'with --openb: traces such as default,cpu050 (default)', words)
    .option('--nodes <file>', 'node list, openb CSV; without it and --openb workloads are generated')
    .option('--pods <file>', 'pod list, openb CSV')
    .option('--arrivals <file>', 'orders of nodes and arrivals (.jsonl or .jsonl.gz); without it the seeds make them')
    .option('--seeds <numbers>', 'seeds to search on, such as 42,43 (the first two)', seedsOf)
    .option('--held-out <numbers>', 'other seeds, to check on (the next three)', seedsOf)
    .option('--inflate <ratio>', 'arriving demand as a multiple of all GPUs, without arrivals', positive, DEFAULT_LOAD)
    .option('--scale <number>', 'size of generated clusters and workloads; 1 = 1,213 nodes', positive, 1)
    .option('--budget <number>', 'how many weights to try at most, the default ones included', budgetOf, DEFAULT_BUDGET)
    .option('--workers <number>', 'worker threads (one for each core); the results never depend on it', countOf)
    .option('--json <file>', 'everything that was tried and found as JSON; - for stdout');
  addDriverOptions(command)
    .addHelpText('after', TUNE_EXAMPLES)
    .action(async (options: TuneFlags) => {
      const { tune } = await import('../commands/tune.ts');
      finish(await tune(options, terminal));
    });
}
