// The extender as an operator runs it: a process of its own, seen only through its listeners and its log.
// One object is one replica over all its restarts, on the same two ports. Calls must not overlap.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Snapshot } from '../../extender/core/snapshot.ts';
import { readSnapshot } from '../../extender/core/snapshot.ts';
import type { ControlPlane, RunningProgram } from './control-plane.ts';
import { eventually, freePorts } from './process.ts';

export interface ExtenderOptions {
  readonly name: string;
  readonly kubeconfig: string;
  readonly args?: readonly string[];
}

const ENTRY = join(import.meta.dirname, '../../extender/main.ts');
const START_TIMEOUT_MILLIS = 60_000;

export class ExtenderProcess {
  readonly name: string;
  readonly verbsPort: number;
  readonly verbsOrigin: string;
  readonly opsOrigin: string;
  readonly #plane: ControlPlane;
  readonly #args: readonly string[];
  #program: RunningProgram | undefined;

  private constructor(plane: ControlPlane, options: ExtenderOptions, verbsPort: number, opsPort: number) {
    this.name = options.name;
    this.verbsPort = verbsPort;
    this.verbsOrigin = `http://127.0.0.1:${verbsPort}`;
    this.opsOrigin = `http://127.0.0.1:${opsPort}`;
    this.#plane = plane;
    this.#args = [
      `--kubeconfig=${options.kubeconfig}`,
      `--listen=127.0.0.1:${verbsPort}`,
      `--ops=127.0.0.1:${opsPort}`,
      ...(options.args ?? []),
    ];
  }

  /** Starts a replica and waits until it listens; whether it is ready is another question. */
  static async start(plane: ControlPlane, options: ExtenderOptions): Promise<ExtenderProcess> {
    const [verbsPort = 0, opsPort = 0] = await freePorts(2);
    const extender = new ExtenderProcess(plane, options, verbsPort, opsPort);
    await extender.start();
    return extender;
  }

  get isRunning(): boolean {
    return this.#program !== undefined;
  }

  async start(): Promise<void> {
    if (this.#program !== undefined) throw new Error(`${this.name} is running`);
    this.#program = await this.#plane.startProgram(this.name, process.execPath, [ENTRY, ...this.#args]);
    const listening = await eventually(() => this.#answers('/healthz'), START_TIMEOUT_MILLIS);
    if (!listening) throw new Error(`${this.name} does not listen\n${await this.#program.logTail()}`);
  }

  async untilReady(timeoutMillis = START_TIMEOUT_MILLIS): Promise<void> {
    if (await eventually(() => this.isReady(), timeoutMillis)) return;
    throw new Error(`${this.name} was not ready within ${timeoutMillis} ms\n${await this.#program?.logTail()}`);
  }

  isReady(): Promise<boolean> {
    return this.#answers('/readyz');
  }

  isLive(): Promise<boolean> {
    return this.#answers('/healthz');
  }

  /** As a rolling update ends it: SIGTERM and time to hand over. */
  async stop(): Promise<void> {
    await this.#program?.stop();
    this.#program = undefined;
  }

  /** Stops it from running while its connections stay open, until thaw. */
  freeze(): void {
    this.#program?.freeze();
  }

  thaw(): void {
    this.#program?.thaw();
  }

  /** As a machine failure ends it. */
  async kill(): Promise<void> {
    await this.#program?.kill();
    this.#program = undefined;
  }

  /** Lines of its log, over all its lives, that tell of a call the API server forbade. */
  async forbiddenCalls(): Promise<readonly string[]> {
    if (this.#program === undefined) throw new Error(`${this.name} is not running`);
    const lines = (await readFile(this.#program.logFile, 'utf8')).split('\n');
    return lines.filter((line) => /\b403\b|[Ff]orbidden/.test(line));
  }

  async snapshot(): Promise<Snapshot> {
    const answer = await fetch(`${this.opsOrigin}/snapshot`);
    const reading = readSnapshot(await answer.json());
    if (reading.kind === 'invalid') throw new Error(`${this.name}: ${reading.why}`);
    return reading.snapshot;
  }

  /** Values of one metric by its label text, such as `{outcome="bound"}`; the empty text where it has no labels. */
  async metric(name: string): Promise<ReadonlyMap<string, number>> {
    const text = await (await fetch(`${this.opsOrigin}/metrics`)).text();
    const values = new Map<string, number>();
    for (const line of text.split('\n')) {
      const match = /^(\w+)(\{.*\})? (\S+)$/.exec(line);
      if (match?.[1] === name) values.set(match[2] ?? '', Number(match[3]));
    }
    return values;
  }

  async #answers(path: string): Promise<boolean> {
    try {
      const answer = await fetch(this.opsOrigin + path, { signal: AbortSignal.timeout(2_000) });
      await answer.arrayBuffer();
      return answer.status === 200;
    } catch (cause) {
      // Refused, reset or timed out: it is not up, which is what the caller asks.
      if (cause instanceof Error) return false;
      throw cause;
    }
  }
}
