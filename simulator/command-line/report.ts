// The flags of `simulator report`.

import type { Command } from 'commander';

import type { ReportFlags } from '../commands/report.ts';
import type { Terminal } from '../commands/terminal.ts';
import { SIMULATED_POLICIES } from '../policy/selection.ts';

import { addDriverOptions } from './driver.ts';
import { countOf, policiesOf, positive, seedsOf, words } from './values.ts';

const DEFAULT_LOAD = 1.3;
const REPORT_EXAMPLES = `
Examples:
  node simulator/main.ts report --out page.html                every published policy on a generated cluster
  node simulator/main.ts report --out page.html --openb ../shared/traces/openb --traces default --policies fgd,bestfit
  node simulator/main.ts run --json fgd.json && node simulator/main.ts report --out page.html fgd.json
  node simulator/main.ts report --out page.html compared.json bounds.json      what compare and bound --json wrote`;

export function describeReport(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  const command = program
    .command('report')
    .description('Results as one HTML page with plots, from result files or from runs of its own.')
    .argument('[files...]', 'what run, compare and bound wrote with --json; without them policies are run')
    .requiredOption('--out <file>', 'the page; - for stdout')
    .option('--title <text>', 'the heading of the page')
    .option('--openb <folder>', 'the openb trace with its subfolder arrivals; without it workloads are generated')
    .option('--traces <names>', 'with --openb: traces such as default,cpu050 (all published ones)', words)
    .option('--policies <names>', `some of ${SIMULATED_POLICIES.join(',')} (all published ones)`, policiesOf)
    .option('--seeds <numbers>', 'such as 42,43,44 (every seed of the arrivals; generated: 1,2,3)', seedsOf)
    .option('--inflate <ratio>', 'arriving demand as a multiple of all GPUs, without --openb', positive, DEFAULT_LOAD)
    .option('--scale <number>', 'size of generated clusters and workloads; 1 = 1,213 nodes', positive, 1)
    .option('--workers <number>', 'worker threads (one for each core); the page never depends on it', countOf)
    .option('--bounds', 'compute the upper bounds of these very arrivals (about a second for each trace and seed)');
  addDriverOptions(command)
    .addHelpText('after', REPORT_EXAMPLES)
    .action(async (files: readonly string[], options: ReportFlags) => {
      const { report } = await import('../commands/report.ts');
      finish(await report(files, options, terminal));
    });
}
