// The flags of `simulator generate`.

import { InvalidArgumentError, type Command } from 'commander';

import type { GenerateFlags } from '../commands/flags.ts';
import type { Terminal } from '../commands/terminal.ts';

import { positive, seedOf } from './values.ts';

const DEFAULT_LOAD = 1.3;
const DEFAULT_GENERATED_SEED = 1;
const GENERATE_EXAMPLES = `
Examples:
  node simulator/main.ts generate --out cluster --seed 7       cluster/{nodes,pods}.csv and cluster/arrivals.jsonl
  node simulator/main.ts run --nodes cluster/nodes.csv --pods cluster/pods.csv --arrivals cluster/arrivals.jsonl
  node simulator/main.ts generate --out day --timed --load 0.9 --hours 12      pods.csv with classes and times
  node simulator/main.ts run --timed --nodes day/nodes.csv --pods day/pods.csv
  node simulator/main.ts generate --out day --load-series 100                  loads.csv: duty cycle and memory by time

Where the figures come from (public Alibaba cluster data; no row is copied):
  nodes, kinds of pods, classes, durations   cluster-trace-gpu-v2023 (openb): node list and default pod list
  duty cycle and memory of online pods       cluster-trace-v2026-GenAI: 143 pods, every 57 s for 22.8 hours; mean duty
                                             7 %, 90 % of samples below 24.7 %, pauses of 1.9 minutes (median) to 73
                                             (99 %); memory 23 GiB (median), daily peak 38.9 GiB (median)`;

export function describeGenerate(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  program
    .command('generate')
    .description('Write a made-up cluster and workload in the shape of the openb trace.')
    .requiredOption('--out <folder>', 'where nodes.csv, pods.csv and the other files go')
    .option('--seed <number>', 'another seed, other pods and orders', seedOf, DEFAULT_GENERATED_SEED)
    .option('--scale <number>', '1 = 1,213 nodes and 8,152 pods before inflation', positive, 1)
    .option('--inflate <ratio>', 'arriving demand as a multiple of all GPUs', positive, DEFAULT_LOAD)
    .option('--timed', 'pods.csv with a class and times for each arrival, for run --timed, in place of an order')
    .option('--load <ratio>', 'with --timed: keep this multiple of all GPUs busy (0.9)', positive)
    .option('--hours <number>', 'with --timed or --load-series: how long (24)', positive)
    .option('--load-series <pods>', 'also loads.csv: how busy the GPUs of so many online pods are over time', seriesOf)
    .addHelpText('after', GENERATE_EXAMPLES)
    .action(async (options: GenerateFlags) => {
      const { generate } = await import('../commands/generate.ts');
      finish(await generate(options, terminal));
    });
}

function seriesOf(text: string): number {
  const pods = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (pods >= 1) return pods;
  throw new InvalidArgumentError('Write a whole number from 1 to 99999.');
}
