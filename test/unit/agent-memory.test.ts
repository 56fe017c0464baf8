import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openAgentMemory, type AgentMemory } from '../../device-plugin/agent-memory.ts';
import { afterFault, DEFAULT_HEALTH_POLICY, HEALTHY, type GpuHealthState } from '../../device-plugin/health/state.ts';
import type { InventoryReading } from '../../device-plugin/inventory/source.ts';
import type { Inventory } from '../../extender/core/model.ts';
import { gpusOf } from '../support/builders.ts';
import { inventoryOf } from '../support/node-stand.ts';

const FILE = 'agent-state.json';
const GPUS = inventoryOf(gpusOf(2, 16));
const READING: InventoryReading = { source: 'file', driverVersion: undefined, gpus: [], links: [] };
const SICK = afterFault(HEALTHY, 1000, 'XID 79', DEFAULT_HEALTH_POLICY);

let folder: string;
let proc: string;
let warnings: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gpuloom-memory-'));
  proc = join(folder, 'proc');
  warnings = [];
  bootAs('first');
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function bootAs(id: string): void {
  mkdirSync(join(proc, 'sys/kernel/random'), { recursive: true });
  writeFileSync(join(proc, 'sys/kernel/random/boot_id'), `${id}\n`);
}

/** The agent of one process, whose monotonic clock begins at 0. */
function start(nowMillis = 0, inventory = 'auto'): Promise<AgentMemory> {
  const log = { info: () => undefined, warn: (message: string) => warnings.push(message), error: () => undefined };
  const options = { stateDir: join(folder, 'state'), inventory, procRoot: proc, log };
  return openAgentMemory(options, {
    monotonicMillis: () => nowMillis,
    wallMillis: () => 1_900_000_000_000 + nowMillis,
  });
}

async function keep(memory: AgentMemory, states: Record<string, GpuHealthState>, inventory: Inventory = GPUS) {
  memory.keep({ reading: READING, states: new Map(Object.entries(states)) }, inventory);
  await memory.written();
}

function stateFile(): string {
  return readFileSync(join(folder, 'state', FILE), 'utf8');
}

describe('what an agent leaves to the next one', () => {
  it('is nothing at first, and then what stands against GPUs and which GPUs there were', async () => {
    const first = await start();
    expect(first.former).toEqual({ health: new Map(), initial: HEALTHY, known: undefined });
    await keep(await start(2000), { 'GPU-this-0': SICK, 'GPU-this-1': HEALTHY });
    const { health, initial, known } = (await start()).former;
    expect(health.get('GPU-this-0')?.ailment).toMatchObject({ reason: 'XID 79', lastFaultMillis: -1000 });
    expect([health.has('GPU-this-1'), initial]).toEqual([false, HEALTHY]);
    expect(known).toEqual(GPUS);
    expect(warnings).toEqual([]);
  });

  it('keeps what stands against a GPU that this run has not seen yet', async () => {
    await keep(await start(2000), { 'GPU-this-0': SICK });
    await keep(await start(2000), { 'GPU-this-1': HEALTHY });
    expect((await start()).former.health.get('GPU-this-0')?.ailment?.reason).toBe('XID 79');
  });

  it.each<[string, () => Promise<AgentMemory>]>([
    ['after the node was booted again', () => (bootAs('second'), start())],
    ['read from elsewhere', () => start(0, 'file:gpus.yaml')],
  ])('has no GPUs that would be missed %s, but all that stands against GPUs', async (_, restart) => {
    await keep(await start(2000), { 'GPU-this-0': SICK });
    const { former } = await restart();
    expect(former.known).toBeUndefined();
    expect(former.health.has('GPU-this-0')).toBe(true);
  });

  it('writes nothing while nothing changes, and a fault at once', async () => {
    const memory = await start(2000);
    await keep(memory, { 'GPU-this-0': HEALTHY });
    rmSync(join(folder, 'state', FILE));
    await keep(memory, { 'GPU-this-0': HEALTHY });
    expect(readdirSync(join(folder, 'state'))).toEqual([]);
    await keep(memory, { 'GPU-this-0': SICK });
    expect(stateFile()).toContain('XID 79');
  });

  it('knows better than to replace what it knows before anything has been read', async () => {
    const memory = await start();
    memory.keep({ reading: undefined, states: new Map() }, { ...GPUS, gpus: [] });
    await memory.written();
    expect(readdirSync(folder)).not.toContain('state');
  });

  it.each([
    ['', 'damaged'],
    ['{"v":1', 'damaged'],
    ['null', 'damaged'],
    ['{"v":2}', 'of another version'],
    ['{"v":1}', 'remembered health'],
    ['{"v":1,"health":{"v":1,"writtenMillis":1,"gpus":{"GPU-this-0":1}}}', 'is left out'],
    [' '.repeat(300_000), 'damaged'],
  ])('makes every GPU prove itself when it is damaged (%#), and says so', async (text, why) => {
    mkdirSync(join(folder, 'state'));
    writeFileSync(join(folder, 'state', FILE), text);
    const { initial, health } = (await start(500)).former;
    expect([health.size, initial.ailment?.lastFaultMillis]).toEqual([0, 500]);
    expect(warnings).toEqual([expect.stringContaining(why)]);
    expect(warnings[0]).toContain('every GPU is unhealthy until it has passed its probes');
  });

  it('keeps the health when only the list of GPUs is damaged', async () => {
    await keep(await start(2000), { 'GPU-this-0': SICK });
    writeFileSync(join(folder, 'state', FILE), stateFile().replace('"unitMiB":1024', '"unitMiB":"much"'));
    const { known, health, initial } = (await start()).former;
    expect([known, health.size, initial]).toEqual([undefined, 1, HEALTHY]);
    expect(warnings[0]).toMatch(/which GPUs there were cannot be read: .*unitMiB/);
  });

  it('says once that it cannot be written, and writes it when it can be', async () => {
    writeFileSync(join(folder, 'state'), 'a file in the place of the folder');
    const memory = await start();
    warnings.length = 0;
    await keep(memory, { 'GPU-this-0': SICK });
    await keep(memory, { 'GPU-this-0': SICK });
    expect(warnings).toEqual([expect.stringMatching(/would be forgotten .* --state-dir/)]);
    rmSync(join(folder, 'state'));
    await keep(memory, { 'GPU-this-0': SICK });
    expect(stateFile()).toContain('XID 79');
  });

  it('replaces the file as a whole: who has the old one open reads all of it', async () => {
    const memory = await start(2000);
    await keep(memory, { 'GPU-this-0': HEALTHY });
    const before = stateFile();
    const opened = openSync(join(folder, 'state', FILE), 'r');
    await keep(memory, { 'GPU-this-0': SICK });
    expect(readFileSync(opened, 'utf8')).toBe(before);
    closeSync(opened);
    expect(stateFile()).not.toBe(before);
  });

  it('survives an end in the middle of a write: the unfinished file is never read', async () => {
    await keep(await start(2000), { 'GPU-this-0': SICK });
    writeFileSync(join(folder, 'state', `${FILE}.tmp`), '{"v":1,"hea');
    expect((await start()).former.health.size).toBe(1);
    expect(warnings).toEqual([]);
  });
});
