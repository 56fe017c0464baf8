// Runs one program of the control plane as a child process with its output in a file. Ends it by process id, and has
// the kernel end it when this process dies, however that happens. Must not know what the programs mean.

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface ProcessOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly logFile: string;
  readonly env?: NodeJS.ProcessEnv;
}

export interface StopOptions {
  /** How long after SIGTERM to wait before SIGKILL; 0 kills at once. */
  readonly graceMillis: number;
}

const LINE_LIMIT = 400;

/** One child process, from its start to its end. */
export class ManagedProcess {
  readonly name: string;
  readonly logFile: string;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #end: string | undefined;

  private constructor(options: ProcessOptions, child: ChildProcess, pid: number) {
    this.name = options.name;
    this.logFile = options.logFile;
    this.pid = pid;
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once('exit', (code, signalName) => {
        this.#end = String(code ?? signalName);
        resolve();
      });
    });
  }

  static async start(options: ProcessOptions): Promise<ManagedProcess> {
    const log = openSync(options.logFile, 'a');
    try {
      const child = spawn('setpriv', ['--pdeathsig', 'KILL', options.command, ...options.args], {
        stdio: ['ignore', log, log],
        env: options.env ?? process.env,
      });
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', (cause) => reject(new Error(`cannot start ${options.name} through setpriv`, { cause })));
      });
      if (child.pid === undefined) throw new Error(`${options.name} has no process id`);
      return new ManagedProcess(options, child, child.pid);
    } finally {
      closeSync(log);
    }
  }

  /** Exit code or signal name, or undefined while it runs. */
  get end(): string | undefined {
    return this.#end;
  }

  signal(name: NodeJS.Signals): void {
    if (this.#end === undefined) this.#child.kill(name);
  }

  async stop(options: StopOptions): Promise<void> {
    if (options.graceMillis > 0) {
      this.signal('SIGTERM');
      // A frozen process cannot act on SIGTERM.
      this.signal('SIGCONT');
      await Promise.race([this.#ended, delay(options.graceMillis, undefined, { ref: false })]);
    }
    this.signal('SIGKILL');
    await this.#ended;
  }

  async logTail(lines = 20): Promise<string> {
    const text = await readFile(this.logFile, 'utf8');
    const tail = text.trimEnd().split('\n').slice(-lines);
    const shortened = tail
      .map((line) => (line.length > LINE_LIMIT ? `${line.slice(0, LINE_LIMIT)} …` : line))
      .join('\n');
    return `--- last lines of ${this.name} (${this.#end === undefined ? 'running' : `ended: ${this.#end}`}) ---\n${shortened}`;
  }

  /** Waits until `probe` says yes; rejects with the log's end when the process dies or the time is up. */
  async untilReady(probe: () => Promise<boolean>, timeoutMillis: number): Promise<void> {
    const ready = await eventually(async () => this.#end !== undefined || (await probe()), timeoutMillis);
    if (this.#end !== undefined) throw new Error(`${this.name} died while starting\n${await this.logTail()}`);
    if (!ready) throw new Error(`${this.name} was not ready within ${timeoutMillis} ms\n${await this.logTail()}`);
  }
}

/** Asks until the answer is yes; false when it was not within the time. */
export async function eventually(condition: () => Promise<boolean>, timeoutMillis: number): Promise<boolean> {
  const deadlineMillis = performance.now() + timeoutMillis;
  while (performance.now() < deadlineMillis) {
    if (await condition()) return true;
    await delay(100);
  }
  return false;
}

/** Loopback TCP ports that were free a moment ago, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => {
            const address = server.address();
            if (address === null || typeof address === 'string') reject(new Error('no TCP address'));
            else resolve(address.port);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
