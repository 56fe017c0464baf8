// The flags of `simulator bound`.

import type { Command } from 'commander';

import type { BoundFlags } from '../commands/flags.ts';
import type { Terminal } from '../commands/terminal.ts';

import { positive, seedOf, seedsOf, words } from './values.ts';

const DEFAULT_LOAD = 1.3;
const BOUND_EXAMPLES = `
Examples:
  node simulator/main.ts bound                                 of the generated cluster that run places
  node simulator/main.ts bound --nodes nodes.csv --pods pods.csv --inflate 1.3
  node simulator/main.ts bound --openb ../shared/traces/openb --traces default,cpu250 --json bounds.json

No refusal up to: the arrived load up to which a perfect policy accepts every pod that some node could host.
Upper bound: the allocation that no policy exceeds, even one that knows all arrivals and refuses at will.
With all CPU-only pods: the same for policies that refuse no CPU-only pod.`;

export function describeBound(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  program
    .command('bound')
    .description('What no placement policy can exceed on a workload, by linear programs.')
    .option('--nodes <file>', 'node list, openb CSV; without it a cluster is generated')
    .option('--pods <file>', 'pod list, openb CSV')
    .option('--arrivals <file>', 'the pods that arrive; without it, and without --seed, the list in proportion')
    .option('--seed <number>', 'which order in --arrivals, or the arrivals that run makes of it', seedOf)
    .option(
      '--inflate <ratio>',
      'arriving demand as a multiple of all GPUs, without --arrivals',
      positive,
      DEFAULT_LOAD,
    )
    .option('--scale <number>', 'size of the generated cluster and workload; 1 = 1,213 nodes', positive, 1)
    .option('--openb <folder>', 'the openb trace; bounds of many pod lists at once')
    .option('--traces <names>', 'with --openb: traces such as default,cpu050 (all published ones)', words)
    .option('--seeds <numbers>', 'with --openb: such as 42,43 (every seed of the arrivals)', seedsOf)
    .option('--json <file>', 'bounds of every seed as JSON; - for stdout')
    .option('--csv <file>', 'one line for each trace and seed as CSV; - for stdout')
    .addHelpText('after', BOUND_EXAMPLES)
    .action(async (options: BoundFlags) => {
      const { bound } = await import('../commands/bound.ts');
      finish(await bound(options, terminal));
    });
}
