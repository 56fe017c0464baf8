// The flags of `simulator generate`.

import type { Command } from 'commander';

import type { GenerateFlags } from '../commands/flags.ts';
import type { Terminal } from '../commands/terminal.ts';

import { positive, seedOf } from './values.ts';

const DEFAULT_LOAD = 1.3;
const DEFAULT_GENERATED_SEED = 1;
const GENERATE_EXAMPLES = `
Examples:
  node simulator/main.ts generate --out cluster --seed 7       cluster/{nodes,pods}.csv and cluster/arrivals.jsonl
  node simulator/main.ts run --nodes cluster/nodes.csv --pods cluster/pods.csv --arrivals cluster/arrivals.jsonl`;

export function describeGenerate(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  program
    .command('generate')
    .description('Write a made-up cluster and workload in the shape of the openb trace.')
    .requiredOption('--out <folder>', 'where nodes.csv, pods.csv and arrivals.jsonl go')
    .option('--seed <number>', 'another seed, other pods and orders', seedOf, DEFAULT_GENERATED_SEED)
    .option('--scale <number>', '1 = 1,213 nodes and 8,152 pods before inflation', positive, 1)
    .option('--inflate <ratio>', 'arriving demand as a multiple of all GPUs', positive, DEFAULT_LOAD)
    .addHelpText('after', GENERATE_EXAMPLES)
    .action(async (options: GenerateFlags) => {
      const { generate } = await import('../commands/generate.ts');
      finish(await generate(options, terminal));
    });
}
