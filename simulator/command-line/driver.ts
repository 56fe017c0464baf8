// The flags that say who chooses the node, the same for every command that places pods.

import { Option, type Command } from 'commander';

import { DRIVERS, IN_TREE_SCORES } from '../commands/driver-flags.ts';

import { narrowOf, percentOf, weightOf } from './values.ts';

const SCHEDULER_ONLY = 'with --driver scheduler:';

export function addDriverOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--driver <name>',
        'direct: the node that the policy puts first; scheduler: what a stock kube-scheduler makes of our answers',
      )
        .choices(DRIVERS)
        .default('direct'),
    )
    .addOption(
      new Option(
        '--ranking <how>',
        `${SCHEDULER_ONLY} decisive (the best node alone scores 10; default) or advisory`,
      ).choices(['decisive', 'advisory']),
    )
    .option('--narrow <nodes>', `${SCHEDULER_ONLY} how many nodes filter hands back, 0 = all (32)`, narrowOf)
    .option('--weight <number>', `${SCHEDULER_ONLY} weight of the extender in kube-scheduler (200)`, weightOf)
    .option(
      '--percentage-of-nodes-to-score <percent>',
      `${SCHEDULER_ONLY} how many suitable nodes it looks for, 0 = its own formula (100, as in deploy/scheduler)`,
      percentOf,
    )
    .addOption(
      new Option(
        '--in-tree-scores <which>',
        `${SCHEDULER_ONLY} stock (LeastAllocated and BalancedAllocation; default), most-allocated, or none`,
      ).choices(IN_TREE_SCORES),
    )
    .addOption(
      new Option(
        '--cpu-pods <who>',
        `${SCHEDULER_ONLY} pods without GPUs go by the policy (default), or by in-tree scores alone, as where they share GPU nodes and kube-scheduler asks the extender about GPU pods only`,
      ).choices(['in-tree', 'policy']),
    );
}
