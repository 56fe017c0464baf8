// The command line of the simulator: flags and their checks. Commands are loaded when they are called, so that `run`
// does not wait for what only `compare` needs.

import { Command, CommanderError, InvalidArgumentError } from 'commander';

import type { CompareFlags, GenerateFlags, RunFlags } from './commands/flags.ts';
import type { Terminal } from './commands/terminal.ts';
import { PUBLISHED_POLICIES, type PublishedPolicy } from './policy/published.ts';
import { TraceFault } from './trace/fault.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const DEFAULT_LOAD = 1.3;
const DEFAULT_GENERATED_SEED = 1;

const RUN_EXAMPLES = `
Examples:
  node simulator/main.ts run                                   a generated cluster like openb, policy fgd
  node simulator/main.ts run --policy bestfit --scale 0.1 --seed 7
  node simulator/main.ts run --nodes openb_node_list_gpu_node.csv --pods openb_pod_list_default.csv \\
      --arrivals arrivals/default.jsonl.gz --seed 42 --policy fgd --placements out.csv --json out.json`;
const COMPARE_EXAMPLES = `
Examples:
  node simulator/main.ts compare                               every policy on a generated cluster, three seeds
  node simulator/main.ts compare --openb ../shared/traces/openb --traces default --policies fgd,bestfit
  node simulator/main.ts compare --openb ../shared/traces/openb --check   all traces against the published results`;
const GENERATE_EXAMPLES = `
Examples:
  node simulator/main.ts generate --out cluster --seed 7       cluster/{nodes,pods}.csv and cluster/arrivals.jsonl
  node simulator/main.ts run --nodes cluster/nodes.csv --pods cluster/pods.csv --arrivals cluster/arrivals.jsonl`;

/** Runs one command; the result is the exit code. */
export async function simulate(argv: readonly string[], terminal: Terminal): Promise<number> {
  let code = 0;
  const program = describe(terminal, (result) => (code = result));
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
    if (error instanceof TraceFault) {
      terminal.stderr.write(`${error.message}\n`);
      return EXIT_USAGE;
    }
    terminal.stderr.write(
      `the simulation stopped: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    return EXIT_FAILED;
  }
}

function describe(terminal: Terminal, finish: (code: number) => void): Command {
  const program = new Command('simulator')
    .description('Placement policies of the extender, offline: the same engine over traces or a generated cluster.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    })
    .configureHelp({ helpWidth: 110 });
  describeRun(program, terminal, finish);
  describeCompare(program, terminal, finish);
  describeGenerate(program, terminal, finish);
  return program.addHelpText('after', '\nEach command has its own --help, with examples.');
}

function describeRun(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  program
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
    .option('--policy <name>', `one of ${PUBLISHED_POLICIES.join(', ')}`, policyOf, 'fgd')
    .option('--placements <file>', 'a line for each arrival: index,node or empty,GPU indices joined by |')
    .option('--json <file>', 'the result with its curve as JSON; - for stdout')
    .option('--csv <file>', 'the curve by arrived load as CSV; - for stdout')
    .addHelpText('after', RUN_EXAMPLES)
    .action(async (options: RunFlags) => {
      const { run } = await import('./commands/run.ts');
      finish(await run(options, terminal));
    });
}

function describeCompare(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  program
    .command('compare')
    .description('Place workloads with several policies, traces and seeds; means beside the published results.')
    .option('--openb <folder>', 'the openb trace with its subfolder arrivals; without it workloads are generated')
    .option('--traces <names>', 'with --openb: traces such as default,cpu050 (all published ones)', words)
    .option(
      '--policies <names>',
      `some of ${PUBLISHED_POLICIES.join(',')} (all; with --check all but random)`,
      policiesOf,
    )
    .option('--seeds <numbers>', 'such as 42,43,44 (every seed of the arrivals; generated: 1,2,3)', seedsOf)
    .option('--inflate <ratio>', 'arriving demand as a multiple of all GPUs, without --openb', positive, DEFAULT_LOAD)
    .option('--scale <number>', 'size of generated clusters and workloads; 1 = 1,213 nodes', positive, 1)
    .option('--workers <number>', 'worker threads (one for each core); the results never depend on it', countOf)
    .option('--check', 'fail unless the results agree with the published ones; see the last lines of the output')
    .option('--json <file>', 'every result as JSON; - for stdout')
    .option('--csv <file>', 'one line for each run as CSV; - for stdout')
    .addHelpText('after', COMPARE_EXAMPLES)
    .action(async (options: CompareFlags) => {
      const { compare } = await import('./commands/compare.ts');
      finish(await compare(options, terminal));
    });
}

function describeGenerate(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  program
    .command('generate')
    .description('Write a made-up cluster and workload in the shape of the openb trace.')
    .requiredOption('--out <folder>', 'where nodes.csv, pods.csv and arrivals.jsonl go')
    .option('--seed <number>', 'another seed, other pods and orders', seedOf, DEFAULT_GENERATED_SEED)
    .option('--scale <number>', '1 = 1,213 nodes and 8,152 pods before inflation', positive, 1)
    .option('--inflate <ratio>', 'arriving demand as a multiple of all GPUs', positive, DEFAULT_LOAD)
    .addHelpText('after', GENERATE_EXAMPLES)
    .action(async (options: GenerateFlags) => {
      const { generate } = await import('./commands/generate.ts');
      finish(await generate(options, terminal));
    });
}

function seedOf(text: string): number {
  return whole(text, 0, 2 ** 31 - 1);
}

function countOf(text: string): number {
  return whole(text, 1, 256);
}

function whole(text: string, least: number, most: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : -1;
  if (value >= least && value <= most) return value;
  throw new InvalidArgumentError(`Write a whole number from ${least} to ${most}.`);
}

function positive(text: string): number {
  const value = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : 0;
  if (value > 0 && value <= 1000) return value;
  throw new InvalidArgumentError('Write a number above 0 and up to 1000, such as 1.3.');
}

function words(text: string): readonly string[] {
  const list = text.split(',').map((word) => word.trim());
  if (list.every((word) => /^[A-Za-z0-9_-]{1,64}$/.test(word))) return [...new Set(list)];
  throw new InvalidArgumentError('Write names joined by commas.');
}

function seedsOf(text: string): readonly number[] {
  return words(text).map(seedOf);
}

function policyOf(text: string): PublishedPolicy {
  const policy = PUBLISHED_POLICIES.find((name) => name === text);
  if (policy !== undefined) return policy;
  throw new InvalidArgumentError(`There are ${PUBLISHED_POLICIES.join(', ')}.`);
}

function policiesOf(text: string): readonly PublishedPolicy[] {
  return words(text).map(policyOf);
}
