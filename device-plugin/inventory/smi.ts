// GPUs through the nvidia-smi program, for nodes where the NVML library cannot be loaded. Polling only: changes are
// found by the next read(). The program runs as a child with a deadline, so a driver that hangs never stops the agent.

import { execFile } from 'node:child_process';

import { GpuEvents } from './events.ts';
import { sysfsNuma } from './numa.ts';
import type { NumaReader } from './numa.ts';
import { sharedReading } from './shared-reading.ts';
import { parseSmiLog, parseTopology, SMI_NAME } from './smi-parse.ts';
import type { GpuLink, GpuReading, InventoryReading, InventorySource } from './source.ts';

export interface SmiOptions {
  /** Program to run; default `nvidia-smi` on the PATH. */
  readonly program?: string;
  readonly timeoutMillis?: number;
  readonly numa?: NumaReader;
}

const MAX_OUTPUT_BYTES = 32 * 1024 * 1024;

interface Output {
  readonly text: string;
  /** Why the program did not end well; its text may still be of use. */
  readonly failure: string | undefined;
}

/** Nothing runs until the first read(). */
export function smiSource(options: SmiOptions = {}): InventorySource {
  const { program = 'nvidia-smi', timeoutMillis = 20_000, numa = sysfsNuma() } = options;
  const events = new GpuEvents();
  const closing = new AbortController();
  const run = (args: readonly string[]): Promise<Output> => runProgram(program, args, timeoutMillis, closing.signal);
  const topology = new Topology(run);
  const read = sharedReading(async (): Promise<InventoryReading> => {
    const log = parsed(program, await run(['-q', '-x']));
    const located = await Promise.all(log.gpus.map((gpu) => locate(gpu, numa)));
    const gpus = located.map((gpu) => withIdentity(gpu, events)).toSorted((a, b) => a.index - b.index);
    const links = await topology.linksOf(gpus);
    const reading = { source: SMI_NAME, driverVersion: log.driverVersion, gpus, links };
    events.observe(reading);
    return reading;
  });
  return {
    name: SMI_NAME,
    read,
    subscribe: (listener) => events.subscribe(listener),
    close: async () => {
      events.clear();
      closing.abort();
      await Promise.resolve();
    },
  };
}

function parsed(program: string, { text, failure }: Output): NonNullable<ReturnType<typeof parseSmiLog>> {
  const log = parseSmiLog(text);
  // A lost GPU makes nvidia-smi exit with an error after it has printed the others.
  if (log !== undefined && (failure === undefined || log.gpus.length > 0)) return log;
  const said = text.trim().split('\n')[0] ?? '';
  throw new Error(
    `${program} -q -x ${failure ?? 'printed no GPU log'}${said === '' ? '' : `; it said: ${said.slice(0, 200)}`}; ` +
      'check the NVIDIA driver on this node, or describe the GPUs with --inventory file:PATH',
  );
}

async function locate(gpu: GpuReading, numa: NumaReader): Promise<GpuReading> {
  return gpu.kind === 'readable' ? { ...gpu, numa: await numa(gpu.pciBusId) } : gpu;
}

/**
 * nvidia-smi leaves out GPUs that it cannot open, so a GPU's place in the list may move: known GPUs keep their index,
 * and one that lost its name gets it back by its place on the bus.
 */
function withIdentity(gpu: GpuReading, events: GpuEvents): GpuReading {
  const known = events.lastSeen(gpu);
  if (known === undefined) return gpu;
  return gpu.kind === 'readable'
    ? { ...gpu, index: known.index }
    : { ...gpu, index: known.index, uuid: gpu.uuid ?? known.uuid };
}

/** Links are asked for again only when the set of GPUs changed. */
class Topology {
  readonly #run: (args: readonly string[]) => Promise<Output>;
  #key = '';
  #links: readonly GpuLink[] = [];

  constructor(run: (args: readonly string[]) => Promise<Output>) {
    this.#run = run;
  }

  async linksOf(gpus: readonly GpuReading[]): Promise<readonly GpuLink[]> {
    const uuids = gpus.map(({ uuid }) => uuid);
    const key = uuids.join(' ');
    if (key === this.#key) return this.#links;
    const { text, failure } = uuids.length > 1 ? await this.#run(['topo', '-m']) : { text: '', failure: undefined };
    this.#links = parseTopology(text, uuids);
    // After a failure the links stay unknown until the next read asks again.
    this.#key = failure === undefined ? key : '';
    return this.#links;
  }
}

function runProgram(
  program: string,
  args: readonly string[],
  timeoutMillis: number,
  signal: AbortSignal,
): Promise<Output> {
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { timeout: timeoutMillis, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT_BYTES, signal },
      (error, stdout, stderr) => {
        const text = `${stdout}${stderr}`;
        resolve({ text, failure: error === null ? undefined : failureText(error, timeoutMillis) });
      },
    );
  });
}

function failureText(error: Error & { code?: unknown; killed?: boolean }, timeoutMillis: number): string {
  if (error.name === 'AbortError') return 'was ended because the source was closed';
  if (error.killed === true) return `did not finish within ${timeoutMillis} ms`;
  if (error.code === 'ENOENT') return 'cannot be run: no such program';
  if (error.code === 'EACCES') return 'cannot be run: permission denied';
  return `ended with ${typeof error.code === 'number' ? `exit status ${error.code}` : error.message}`;
}
