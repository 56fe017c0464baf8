// The flags of `simulator run`.

import type { Command } from 'commander';

import type { RunFlags } from '../commands/flags.ts';
import type { Terminal } from '../commands/terminal.ts';
import { SIMULATED_POLICIES } from '../policy/selection.ts';

import { TraceFault } from '../trace/fault.ts';

import { addDriverOptions } from './driver.ts';
import { policyOf, positive, seedOf } from './values.ts';
import { addWeightsOption } from './weights.ts';

const DEFAULT_LOAD = 1.3;
const DEFAULT_GENERATED_SEED = 1;
const RUN_EXAMPLES = `
Examples:
  node simulator/main.ts run                                   a generated cluster like openb, policy fgd
  node simulator/main.ts run --policy bestfit --scale 0.1 --seed 7
  node simulator/main.ts run --policy fragmentation --driver scheduler          as deploy/scheduler configures it
  node simulator/main.ts run --driver scheduler --ranking advisory --weight 1   with in-tree preferences
  node simulator/main.ts run --policy fragmentation --weights cpuWeight=0.2      as tune suggests, say
  node simulator/main.ts run --timed --scale 0.1 --load 0.95 --hours 12         arrivals, waiting and departures
  node simulator/main.ts run --timed --nodes openb_node_list_gpu_node.csv --pods openb_pod_list_default.csv \\
      --load 1.05 --csv usage.csv                      pods of a trace at another load; without --load at its own times
  node simulator/main.ts run --nodes openb_node_list_gpu_node.csv --pods openb_pod_list_default.csv \\
      --arrivals arrivals/default.jsonl.gz --seed 42 --policy fgd --placements out.csv --json out.json`;

/** A flag without effect would be read as one that had it. */
function checkTimes({ timed, load, hours }: RunFlags, isInflated: boolean): void {
  if (timed !== true && (load !== undefined || hours !== undefined)) {
    throw new TraceFault('--load and --hours: only timed runs have them; add --timed');
  }
  if (timed === true && isInflated) {
    throw new TraceFault('--inflate: timed runs have no total of arrivals; write --load, the GPUs kept busy at once');
  }
}

export function describeRun(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  const command = program
    .command('run')
    .description('Place one workload with one policy.')
    .option('--nodes <file>', 'node list, openb CSV; without it a cluster is generated')
    .option('--pods <file>', 'pod list, openb CSV')
    .option('--arrivals <file>', 'order of nodes and arrivals (.jsonl or .jsonl.gz); without it the seed makes one')
    .option('--seed <number>', `which order in --arrivals, or which to make (else ${DEFAULT_GENERATED_SEED})`, seedOf)
    .option(
      '--inflate <ratio>',
      'arriving demand as a multiple of all GPUs, without --arrivals',
      positive,
      DEFAULT_LOAD,
    )
    .option('--scale <number>', 'size of the generated cluster and workload; 1 = 1,213 nodes', positive, 1)
    .option('--policy <name>', `one of ${SIMULATED_POLICIES.join(', ')}`, policyOf, 'fgd')
    .option('--timed', 'pods arrive, wait, run and leave in virtual time, by the times in --pods or by --load')
    .option(
      '--load <ratio>',
      'with --timed: random arrivals that keep this multiple of all GPUs busy (generated clusters: 0.9)',
      positive,
    )
    .option('--hours <number>', 'with --timed and --load: how long pods arrive; the run ends then (24)', positive)
    .option('--placements <file>', 'a line for each arrival: index,node or empty,GPU indices; with --timed also times')
    .option('--json <file>', 'the result with its curve as JSON; - for stdout')
    .option('--csv <file>', 'the curve by arrived load, with --timed by time, as CSV; - for stdout');
  addDriverOptions(addWeightsOption(command))
    .addHelpText('after', RUN_EXAMPLES)
    .action(async (options: RunFlags) => {
      checkTimes(options, command.getOptionValueSource('inflate') === 'cli');
      if (options.timed === true) {
        const { timed } = await import('../commands/timed.ts');
        finish(await timed(options, terminal));
        return;
      }
      const { run } = await import('../commands/run.ts');
      finish(await run(options, terminal));
    });
}
