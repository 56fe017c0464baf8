// The command line of the simulator; each command's flags are in command-line/. Commands are loaded when they are
// called, so that `run` does not wait for what only `compare` needs.

import { Command, CommanderError } from 'commander';

import { describeBound } from './command-line/bound.ts';
import { describeCompare } from './command-line/compare.ts';
import { describeGenerate } from './command-line/generate.ts';
import { describeReplay } from './command-line/replay.ts';
import { describeReport } from './command-line/report.ts';
import { describeRun } from './command-line/run.ts';
import { describeTune } from './command-line/tune.ts';
import type { Terminal } from './commands/terminal.ts';
import { TraceFault } from './trace/fault.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const COMMANDS = [
  describeRun,
  describeCompare,
  describeGenerate,
  describeBound,
  describeReplay,
  describeReport,
  describeTune,
];

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
  for (const command of COMMANDS) command(program, terminal, finish);
  return program.addHelpText('after', '\nEach command has its own --help, with examples.');
}
