// What the agent must still know after it was killed: what stands against GPUs, and which GPUs the node had. Kept in one
// file, written whole whenever any of it changes. What cannot be read is never taken for good news.

import { open, mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../extender/app/ports.ts';
import { decodeInventory, encodeInventory } from '../extender/core/inventory-codec.ts';
import type { Inventory } from '../extender/core/model.ts';
import { isRecord, messageOf } from '../extender/kube/kube-api.ts';
import type { AgentLog, AgentOptions } from './agent-options.ts';
import { decodeHealth, encodeHealth, type Moment } from './health/memory.ts';
import type { HealthMonitor } from './health/monitor.ts';
import { HEALTHY, type GpuHealthState } from './health/state.ts';

const FILE = 'agent-state.json';
const VERSION = 1;
const MAX_CHARACTERS = 256 * 1024;
const START: Moment = { monotonicMillis: 0, wallMillis: 0 };

/** What an earlier run of the agent left behind. */
export interface FormerLife {
  readonly health: ReadonlyMap<string, GpuHealthState>;
  /** What a GPU starts with that nothing is remembered of. */
  readonly initial: GpuHealthState;
  readonly known: Inventory | undefined;
}

export type MemoryOptions = Pick<AgentOptions, 'stateDir' | 'inventory' | 'procRoot' | 'log'>;

/** What a health monitor has seen so far. */
export type SeenHealth = Pick<HealthMonitor, 'reading' | 'states'>;

export interface AgentMemory {
  readonly former: FormerLife;
  /** Writes what changed since it was last written; what could not be written is tried again at the next call. */
  keep(seen: SeenHealth, inventory: Inventory): void;
  /** Resolves when no write is under way. */
  written(): Promise<void>;
}

export async function openAgentMemory(
  { stateDir, inventory = '', procRoot = '/proc', log }: MemoryOptions,
  clock: Clock,
): Promise<AgentMemory> {
  const moment = (): Moment => ({ monotonicMillis: clock.monotonicMillis(), wallMillis: clock.wallMillis() });
  if (stateDir === undefined) {
    return { former: firstLife(), keep: () => undefined, written: () => Promise.resolve() };
  }
  const hardware = `${inventory} since boot ${await bootId(procRoot)}`;
  const former = await recollect(join(stateDir, FILE), hardware, moment(), log);
  return new StateFile(stateDir, hardware, former, moment, log);
}

function firstLife(): FormerLife {
  return { health: new Map(), initial: HEALTHY, known: undefined };
}

/** GPUs can be taken out of a node that is off, so GPUs of an earlier boot are none that went missing. */
async function bootId(procRoot: string): Promise<string> {
  try {
    return (await readFile(join(procRoot, 'sys/kernel/random/boot_id'), 'utf8')).trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return 'unknown';
    throw error;
  }
}

async function recollect(file: string, hardware: string, now: Moment, log: AgentLog): Promise<FormerLife> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return firstLife();
    return suspicious(`cannot be read: ${messageOf(error)}`, file, now, log);
  }
  const raw = text.length > MAX_CHARACTERS ? undefined : parsed(text);
  if (!isRecord(raw) || raw['v'] !== VERSION) return suspicious('is damaged or of another version', file, now, log);
  const health = decodeHealth(JSON.stringify(raw['health'] ?? null), now);
  const known = raw['hardware'] === hardware ? decodeInventory(JSON.stringify(raw['gpus'] ?? null)) : undefined;
  if (known?.kind === 'closed') log.warn(`${file}: which GPUs there were cannot be read: ${known.why}`);
  const inventory = known?.kind === 'inventory' ? known.inventory : undefined;
  if (health.kind === 'invalid')
    return { ...suspicious(`has no use: ${health.why}`, file, now, log), known: inventory };
  return { health: health.states, initial: HEALTHY, known: inventory };
}

/** A GPU that may have been sick must show that it is well. */
function suspicious(what: string, file: string, now: Moment, log: AgentLog): FormerLife {
  log.warn(`${file} ${what}; every GPU is unhealthy until it has passed its probes`);
  const ailment = {
    reason: 'what stood against it before the agent restarted is not known',
    lastFaultMillis: now.monotonicMillis,
    cleanProbes: 0,
    quarantinedUntilMillis: undefined,
  };
  return { ...firstLife(), initial: { ailment, failures: [] } };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

class StateFile implements AgentMemory {
  readonly former: FormerLife;
  readonly #folder: string;
  readonly #hardware: string;
  readonly #moment: () => Moment;
  readonly #log: AgentLog;
  /** `mark` is the same for the same knowledge at whatever time. */
  #wanted = { mark: '', text: '' };
  #landed = '';
  #told = '';
  #writing: Promise<void> | undefined;

  constructor(folder: string, hardware: string, former: FormerLife, moment: () => Moment, log: AgentLog) {
    this.#folder = folder;
    this.#hardware = hardware;
    this.former = former;
    this.#moment = moment;
    this.#log = log;
  }

  keep({ reading, states }: SeenHealth, inventory: Inventory): void {
    // Before the first reading nothing is known that would not take the place of something better.
    if (reading === undefined) return;
    const health = new Map([...this.former.health, ...states]);
    const gpus = encodeInventory(inventory);
    const mark = `${encodeHealth(health, START)}${gpus}`;
    if (mark !== this.#wanted.mark) {
      const text = `{"v":${VERSION},"hardware":${JSON.stringify(this.#hardware)},"health":${encodeHealth(health, this.#moment())},"gpus":${gpus}}\n`;
      this.#wanted = { mark, text };
    }
    if (this.#wanted.mark !== this.#landed) this.#writing ??= this.#write();
  }

  async written(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    try {
      while (this.#wanted.mark !== this.#landed) {
        const { mark, text } = this.#wanted;
        await replaceFile(this.#folder, FILE, text);
        this.#landed = mark;
      }
      this.#told = '';
    } catch (error) {
      const trouble = `the health of GPUs would be forgotten if the agent ended now: ${messageOf(error)}; is --state-dir a folder of the host that can be written?`;
      if (trouble !== this.#told) this.#log.warn(trouble);
      this.#told = trouble;
    } finally {
      this.#writing = undefined;
    }
  }
}

/** A reader sees the old file or the new one, also after the machine lost its power. */
async function replaceFile(folder: string, name: string, text: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const unfinished = join(folder, `${name}.tmp`);
  const file = await open(unfinished, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(unfinished, join(folder, name));
}
