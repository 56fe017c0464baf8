// The private mount and process namespaces of one test node, and the programs in them. The kernel ends everything
// inside when the first process ends, and ends that when the owner's process dies. Signals go to the programs by the
// process ids that they have outside. One owner; calls may overlap.

import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import type { RunningProgram } from '../control-plane.ts';
import { ManagedProcess, eventually } from '../process.ts';
import { removeNodeCgroup } from './cgroups.ts';

export interface ProgramOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

export interface NodeProgram extends RunningProgram {
  /** Exit code or signal name, or undefined while it runs. */
  readonly end: string | undefined;
  /** Waits until `probe` says yes; rejects with the log's end when the program dies or the time is up. */
  untilReady(probe: () => Promise<boolean>, timeoutMillis: number): Promise<void>;
}

const SCRIPT = join(import.meta.dirname, 'node-namespace.sh');
const SETUP_TIMEOUT_MILLIS = 10_000;
const END_TIMEOUT_MILLIS = 10_000;

export class NodeNamespace {
  readonly #dir: string;
  readonly #cgroup: string;
  readonly #keeper: ManagedProcess;
  readonly #firstPid: number;

  private constructor(dir: string, cgroup: string, keeper: ManagedProcess, firstPid: number) {
    this.#dir = dir;
    this.#cgroup = cgroup;
    this.#keeper = keeper;
    this.#firstPid = firstPid;
  }

  /** `dir` gets the folders that are /var/lib/kubelet and /var/log inside; `cgroup` goes away with the namespaces. */
  static async create(dir: string, cgroup: string): Promise<NodeNamespace> {
    for (const folder of ['kubelet', 'log', 'sysctl']) await mkdir(join(dir, folder), { recursive: true });
    const keeper = await ManagedProcess.start({
      name: 'node-namespace',
      command: 'setpriv',
      // TERM in place of KILL, so that the script still removes the cgroup after the owner's death.
      args: ['--pdeathsig', 'TERM', 'bash', SCRIPT, dir, cgroup],
      logFile: join(dir, 'node-namespace.log'),
    });
    try {
      const ready = join(dir, 'ready');
      await keeper.untilReady(async () => (await readIds(ready)).length > 0, SETUP_TIMEOUT_MILLIS);
      const [firstPid] = await readIds(ready);
      if (firstPid === undefined) throw new Error(`${ready} names no process`);
      return new NodeNamespace(dir, cgroup, keeper, firstPid);
    } catch (cause) {
      await keeper.stop({ graceMillis: END_TIMEOUT_MILLIS });
      throw cause;
    }
  }

  /** How this process reaches a path as it is inside. */
  pathOutside(inside: string): string {
    return join(`/proc/${this.#firstPid}/root`, inside);
  }

  async start(options: ProgramOptions): Promise<NodeProgram> {
    const managed = await ManagedProcess.start({
      name: options.name,
      command: 'nsenter',
      args: [...this.#enter(), options.command, ...options.args],
      logFile: join(this.#dir, `${options.name}.log`),
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    const children = `/proc/${managed.pid}/task/${managed.pid}/children`;
    let pid: number | undefined;
    const forked = async (): Promise<boolean> => {
      [pid] = await readIds(children);
      return pid !== undefined || managed.end !== undefined;
    };
    if (!(await eventually(forked, SETUP_TIMEOUT_MILLIS)) || pid === undefined) {
      await managed.stop({ graceMillis: 0 });
      throw new Error(`${options.name} did not start\n${await managed.logTail()}`);
    }
    return nodeProgram(managed, pid);
  }

  /** Runs a program to its end and answers with what it wrote to standard output. */
  async run(command: string, args: readonly string[]): Promise<string> {
    const entered = [...this.#enter(), command, ...args];
    const { stdout } = await promisify(execFile)('nsenter', entered, { timeout: 60_000, killSignal: 'SIGKILL' });
    return stdout;
  }

  logTail(lines?: number): Promise<string> {
    return this.#keeper.logTail(lines);
  }

  /** Ends every program inside, and all containers with them. May be called more than once. */
  async stop(): Promise<void> {
    await this.#keeper.stop({ graceMillis: END_TIMEOUT_MILLIS });
    await removeNodeCgroup(this.#cgroup);
  }

  #enter(): readonly string[] {
    return ['--target', String(this.#firstPid), '--mount', '--pid', '--', 'setpriv', '--pdeathsig', 'KILL'];
  }
}

/** `managed` is nsenter, which waits for the program; as long as it runs, the program's id is not given to another. */
function nodeProgram(managed: ManagedProcess, pid: number): NodeProgram {
  const signal = (name: NodeJS.Signals): void => {
    try {
      if (managed.end === undefined) process.kill(pid, name);
    } catch (cause) {
      // It has just ended, and nsenter is about to tell so.
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'ESRCH')) throw cause;
    }
  };
  const thaw = (): void => {
    // nsenter stops itself when its child is stopped.
    managed.signal('SIGCONT');
    signal('SIGCONT');
  };
  const ended = async (): Promise<boolean> => managed.end !== undefined;
  const kill = async (): Promise<void> => {
    signal('SIGKILL');
    managed.signal('SIGCONT');
    await eventually(ended, END_TIMEOUT_MILLIS);
    await managed.stop({ graceMillis: 0 });
  };
  return {
    pid,
    logFile: managed.logFile,
    get end() {
      return managed.end;
    },
    freeze: () => signal('SIGSTOP'),
    thaw,
    logTail: (lines) => managed.logTail(lines),
    untilReady: (probe, timeoutMillis) => managed.untilReady(probe, timeoutMillis),
    stop: async () => {
      signal('SIGTERM');
      thaw();
      await eventually(ended, 3_000);
      await kill();
    },
    kill,
  };
}

async function readIds(file: string): Promise<readonly number[]> {
  try {
    const text = (await readFile(file, 'utf8')).trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ESRCH')) return [];
    throw cause;
  }
}
