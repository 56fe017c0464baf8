#!/usr/bin/env node
// Entry of `npm start`: flags, signals, exit code. The demo itself is in demo/.

import { fillOnce, runUntilStopped } from './demo/commands.ts';
import { readFlags } from './demo/flags.ts';
import { TraceFault } from './demo/openb.ts';
import { ExtenderFault } from './demo/run-once.ts';

const EXIT_USAGE = 2;
const EXIT_AT_ONCE = 130;
const STOP_LIMIT_MILLIS = 5000;
const ECHO_MILLIS = 300;

const parsed = readFlags(process.argv.slice(2));
if (parsed.kind === 'help') {
  process.stdout.write(parsed.text);
} else if (parsed.kind === 'errors') {
  fail(`${parsed.errors.join('\n')}\nTry: npm start -- --help`, EXIT_USAGE);
} else {
  const io = { stdout: process.stdout, stderr: process.stderr, env: process.env };
  const command = parsed.flags.once ? fillOnce : runUntilStopped;
  try {
    process.exitCode = await command(parsed.flags, io, stopSignal());
  } catch (error) {
    if (error instanceof TraceFault) fail(`--trace: ${error.message}`, EXIT_USAGE);
    else if (error instanceof ExtenderFault) fail(`the demo stopped: ${error.message}`, 1);
    else fail(`the demo stopped: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`, 1);
  }
}

/** The first SIGINT or SIGTERM stops in order, within a limit; another one ends at once. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  let stoppedAtMillis = 0;
  const stop = (): void => {
    if (controller.signal.aborted) {
      // npm passes on the signal that the terminal has already sent to every process of the group.
      if (performance.now() - stoppedAtMillis > ECHO_MILLIS) process.exit(EXIT_AT_ONCE);
      return;
    }
    stoppedAtMillis = performance.now();
    controller.abort();
    setTimeout(() => process.exit(0), STOP_LIMIT_MILLIS).unref();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  // The reader of a pipe may leave at any time (`npm start | head`); there is nobody to tell then.
  process.stdout.on('error', () => process.exit(0));
  return controller.signal;
}

function fail(message: string, code: number): void {
  process.stderr.write(`${message}\n`);
  process.exitCode = code;
}
