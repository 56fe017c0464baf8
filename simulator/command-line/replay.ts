// The flags of `simulator replay`.

import { InvalidArgumentError, Option, type Command } from 'commander';

import { POLICY_NAMES } from '../../extender/core/model.ts';
import { PROFILES } from '../../extender/core/resources.ts';
import type { ReplayFlags } from '../commands/replay.ts';
import type { Terminal } from '../commands/terminal.ts';
import { parseNodeAddition, type NodeAddition } from '../replay/node-changes.ts';
import type { Order } from '../replay/placing.ts';

import { seedOf } from './values.ts';
import { addWeightsOption } from './weights.ts';

const EXAMPLES = `
Stranded slices are free slices that the average typical request cannot use. Node selectors, taints and other rules of
kube-scheduler itself are not replayed; CPU and memory requests are.

Examples:
  node simulator/main.ts replay --kubectl cluster.json             how full it is, and why pods wait
  kubectl get nodes,pods -A -o json | node simulator/main.ts replay --kubectl - --profile gpushare
  curl -s http://127.0.0.1:12346/snapshot | node simulator/main.ts replay --snapshot - --repack
  node simulator/main.ts replay --snapshot s.json --policy binpack --order size --placements anew.csv
  node simulator/main.ts replay --snapshot s.json --remove-nodes gpu-7,gpu-8         could they be drained?
  node simulator/main.ts replay --snapshot s.json --add-nodes gpu-1=2 --add-nodes H100:8x80Gi=4 \\
      --add-pods gpu-mem=40,gpus=2,count=20,class=batch --add-pods deployment.yaml=3`;

export function describeReplay(program: Command, terminal: Terminal, finish: (code: number) => void): void {
  const command = program
    .command('replay')
    .description('Answer what-if questions about a live cluster: full as it is, placed anew, changed, or repacked.')
    .option('--snapshot <file>', "the JSON of a live extender's /snapshot; - for stdin")
    .option('--kubectl <file>', 'kubectl get nodes,pods -A -o json (configmaps too for unhealthy GPUs); - for stdin')
    .addOption(
      new Option('--profile <name>', 'names that pods ask by, for --kubectl and --add-pods')
        .choices(Object.keys(PROFILES))
        .default('gpuloom'),
    )
    .option('--skip-orphans', 'leave out GPU pods on nodes that the document does not have')
    .addOption(
      new Option('--policy <name>', 'place every GPU pod anew from empty, by this policy').choices(POLICY_NAMES),
    )
    .option('--order <order>', 'place anew in this order: creation, size (biggest first) or seed:N (shuffled)', orderOf)
    .option('--add-nodes <shape=count>', 'copies of a node by name, or MODEL:GPUSxMEMORY[:CPU:MEMORY]', addition)
    .option('--remove-nodes <names>', 'nodes to drain and remove', names)
    .option('--add-pods <pods>', 'manifests FILE[=COUNT], or gpu-mem=8,count=20,class=batch', collected)
    .option('--repack', 'how much of the stranded capacity another packing would free, and how many pods would move')
    .addOption(
      new Option('--mix <source>', 'typical requests: learned by the extender, or of the pods listed').choices([
        'learned',
        'pods',
      ]),
    )
    .option('--batch-beside-online <pods>', 'co-location rules, where the extender has others than its defaults', limit)
    .option('--batch-share-beside-online-percent <percent>', 'likewise', limit)
    .option('--batch-per-gpu <pods>', 'likewise', limit)
    .option('--pods-per-gpu <pods>', 'likewise', limit)
    .option('--placements <file>', 'where each pod went in the last what-if, as CSV; - for stdout')
    .option('--json <file>', 'the report as JSON; - for stdout');
  addWeightsOption(command)
    .addHelpText('after', EXAMPLES)
    .action(async (options: ReplayFlags) => {
      const { replay } = await import('../commands/replay.ts');
      finish(await replay(options, terminal));
    });
}

function orderOf(text: string): Order {
  if (text === 'creation' || text === 'size') return { kind: text };
  if (text.startsWith('seed:')) return { kind: 'seed', seed: seedOf(text.slice('seed:'.length)) };
  throw new InvalidArgumentError('Write creation, size or seed:N.');
}

function addition(text: string, before: readonly NodeAddition[] = []): readonly NodeAddition[] {
  const parsed = parseNodeAddition(text);
  if (parsed !== undefined) return [...before, parsed];
  throw new InvalidArgumentError('Write SHAPE=COUNT, such as gpu-1=2 or A100:8x80Gi=4.');
}

function names(text: string, before: readonly string[] = []): readonly string[] {
  const list = text.split(',').map((each) => each.trim());
  if (list.every((each) => /^[\x21-\x7e]{1,253}$/.test(each))) return [...new Set([...before, ...list])];
  throw new InvalidArgumentError('Write node names joined by commas.');
}

function collected(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

function limit(text: string): number {
  const value = /^\d{1,4}$/.test(text) ? Number(text) : -1;
  if (value >= 0) return value;
  throw new InvalidArgumentError('Write a whole number from 0 to 9999.');
}
