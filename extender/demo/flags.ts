// The demo's flags: parsed, checked, and every fault told at once with how to mend it. Pure; exits nowhere.

import { Command, CommanderError } from 'commander';

import { didYouMean } from '../config/suggest.ts';
import { POLICY_NAMES, type PolicyName } from '../core/model.ts';
import { DEFAULT_NODES, DEFAULT_SEED } from './embedded-cluster.ts';

export interface DemoFlags {
  readonly once: boolean;
  readonly json: boolean;
  readonly seed: number;
  /** Undefined: the default of the workload. */
  readonly nodes: number | undefined;
  readonly pods: number | undefined;
  readonly policy: PolicyName;
  readonly trace: string | undefined;
}

export type FlagsResult =
  | { readonly kind: 'flags'; readonly flags: DemoFlags }
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'errors'; readonly errors: readonly string[] };

/** Enough to fill the generated nodes and have some refused. */
export const PODS_PER_NODE = 25;
const DEFAULT_POLICY: PolicyName = 'fragmentation';
const MAX_SEED = 2 ** 31 - 1;
const MAX_NODES = 5000;
const MAX_PODS = 1_000_000;

const EXAMPLES = `
Examples:
  npm start                                         watch pods come and go; Ctrl-C ends
  npm start -- --once                               fill the cluster once, print the GPU map and a summary
  npm start -- --once --nodes 20 --pods 500 --policy binpack
  npm start --silent -- --once --json | jq .reasons
  npm start -- --once --trace ../traces/openb       the openb trace (cluster-trace-gpu-v2023) on 1,213 nodes

A real cluster: npm run extender -- --help, and deploy/scheduler/ for kube-scheduler's configuration.
`;

export function readFlags(argv: readonly string[]): FlagsResult {
  const command = describeFlags();
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return { kind: 'errors', errors: [`${argv.at(-1) ?? ''}: a value is missing; --help shows its form`] };
  }
  const values: Record<string, unknown> = command.opts();
  if (values['help'] === true) return { kind: 'help', text: command.helpInformation() + EXAMPLES };
  const errors = strangers(command);
  const number = (name: string, least: number, most: number, example: number): number | undefined => {
    const text = values[name];
    if (typeof text !== 'string') return undefined;
    const value = /^\d{1,10}$/.test(text) ? Number(text) : -1;
    if (value >= least && value <= most) return value;
    errors.push(
      `--${name}: "${text.slice(0, 40)}" is not a whole number from ${least} to ${most}; for example --${name} ${example}`,
    );
    return undefined;
  };
  const flags: DemoFlags = {
    once: values['once'] === true,
    json: values['json'] === true,
    seed: number('seed', 0, MAX_SEED, 7) ?? DEFAULT_SEED,
    nodes: number('nodes', 1, MAX_NODES, 20),
    pods: number('pods', 1, MAX_PODS, 500),
    policy: policyOf(values['policy'], errors),
    trace: typeof values['trace'] === 'string' ? values['trace'] : undefined,
  };
  if (flags.json && !flags.once) errors.push('--json: the continuous demo has no end to report; add --once');
  if (flags.trace === '') errors.push('--trace: the folder is empty; for example --trace ../traces/openb');
  return errors.length > 0 ? { kind: 'errors', errors } : { kind: 'flags', flags };
}

function describeFlags(): Command {
  return new Command('npm start --')
    .description(
      'The gpuloom extender on a cluster inside this process: an embedded API server, a model of kube-scheduler that calls ' +
        'the extender over HTTP, and online and batch pods that share GPUs. Needs no cluster, no GPU and no network.',
    )
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments()
    .exitOverride()
    .configureOutput({ writeErr: () => {}, writeOut: () => {} })
    .configureHelp({ helpWidth: 110 })
    .option('--once', 'end when the arrivals end; print the GPU map and a summary')
    .option('--json', 'with --once: the summary as one JSON object on stdout, everything else on stderr')
    .option('--seed <number>', `another cluster and other arrivals (default: ${DEFAULT_SEED})`)
    .option('--nodes <number>', `nodes in the cluster (default: ${DEFAULT_NODES}; with --trace all of its nodes)`)
    .option(
      '--pods <number>',
      `pods that arrive (default with --once: ${PODS_PER_NODE} for each node, with --trace all of its pods; else no limit)`,
    )
    .option('--policy <name>', `placement policy: ${POLICY_NAMES.join(', ')} (default: ${DEFAULT_POLICY})`)
    .option('--trace <folder>', 'nodes and pods from the CSV files of the openb trace instead of generated ones')
    .option('-h, --help', 'print this text and exit');
}

function policyOf(value: unknown, errors: string[]): PolicyName {
  if (value === undefined) return DEFAULT_POLICY;
  const policy = POLICY_NAMES.find((name) => name === value);
  if (policy !== undefined) return policy;
  const text = typeof value === 'string' ? value.slice(0, 40) : '';
  errors.push(`--policy: "${text}" is not one of ${POLICY_NAMES.join(', ')}${didYouMean(text, POLICY_NAMES)}`);
  return DEFAULT_POLICY;
}

function strangers(command: Command): string[] {
  const known = command.options.flatMap((option) => (option.long ? [option.long] : []));
  const errors: string[] = [];
  let followsStranger = false;
  for (const word of command.args) {
    const isFlag = word.startsWith('-');
    const [flag = word] = word.split('=', 1);
    if (isFlag && known.includes(flag)) errors.push(`${flag}: takes no value; write it alone`);
    else if (isFlag) errors.push(`${flag}: unknown flag${didYouMean(flag, known)}; --help lists all`);
    else if (!followsStranger) errors.push(`${word}: unexpected argument; every setting is a flag, --help lists all`);
    followsStranger = isFlag;
  }
  return errors;
}
