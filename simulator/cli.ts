// The command line of the simulator; each command's flags are in command-line/. Flags and commands are loaded when they
// are called, so that `run` does not wait for what only `compare` needs.

import { Command, CommanderError } from 'commander';

import type { Terminal } from './commands/terminal.ts';
import { TraceFault } from './trace/fault.ts';

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/** Adds a command to the program; the code of its result goes to `finish`. */
type Describe = (program: Command, terminal: Terminal, finish: (code: number) => void) => void;

/** In the order of the help. */
const COMMANDS: ReadonlyMap<string, () => Promise<Describe>> = new Map([
  ['run', async () => (await import('./command-line/run.ts')).describeRun],
  ['compare', async () => (await import('./command-line/compare.ts')).describeCompare],
  ['generate', async () => (await import('./command-line/generate.ts')).describeGenerate],
  ['bound', async () => (await import('./command-line/bound.ts')).describeBound],
  ['replay', async () => (await import('./command-line/replay.ts')).describeReplay],
  ['report', async () => (await import('./command-line/report.ts')).describeReport],
  ['tune', async () => (await import('./command-line/tune.ts')).describeTune],
]);

/** Runs one command; the result is the exit code. */
export async function simulate(argv: readonly string[], terminal: Terminal): Promise<number> {
  let code = 0;
  try {
    const program = await describe(argv[0], terminal, (result) => (code = result));
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

/** The program with the command that is called, or with all of them where the first word names none. */
async function describe(
  called: string | undefined,
  terminal: Terminal,
  finish: (code: number) => void,
): Promise<Command> {
  const program = new Command('simulator')
    .description('Placement policies of the extender, offline: the same engine over traces or a generated cluster.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    })
    .configureHelp({ helpWidth: 110 });
  const command = COMMANDS.get(called ?? '');
  for (const load of command === undefined ? COMMANDS.values() : [command]) (await load())(program, terminal, finish);
  return program.addHelpText('after', '\nEach command has its own --help, with examples.');
}
