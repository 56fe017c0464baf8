import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { HealthMonitor } from '../../device-plugin/health/monitor.ts';
import type { HealthTransition } from '../../device-plugin/health/monitor.ts';
import { afterFault, DEFAULT_HEALTH_POLICY, HEALTHY } from '../../device-plugin/health/state.ts';
import type { GpuHealthState } from '../../device-plugin/health/state.ts';
import { GpuEvents } from '../../device-plugin/inventory/events.ts';
import type { GpuEvent, GpuReading, InventoryReading, InventorySource } from '../../device-plugin/inventory/source.ts';
import { ManualTimers } from '../support/manual-timers.ts';

const INTERVAL = 5_000;

function readable(uuid: string, index: number): GpuReading {
  return {
    kind: 'readable',
    uuid,
    index,
    minor: index,
    model: 'NVIDIA T4',
    memoryMiB: 15_360,
    pciBusId: '',
    numa: -1,
    mig: 'unsupported',
    ecc: undefined,
    memoryUsedMiB: undefined,
    smUtilisation: undefined,
    memoryUtilisation: undefined,
    processes: undefined,
  };
}

/** A source whose readings and events the test decides. */
class ScriptedSource implements InventorySource {
  readonly name = 'scripted';
  readonly events = new GpuEvents();
  reads = 0;
  next: () => Promise<InventoryReading>;

  constructor(...uuids: readonly string[]) {
    this.next = () => Promise.resolve(this.reading(uuids));
  }

  reading(uuids: readonly string[], unreadable: readonly string[] = []): InventoryReading {
    const gpus = uuids.map((uuid, index): GpuReading =>
      unreadable.includes(uuid)
        ? { kind: 'unreadable', index, uuid, pciBusId: '', why: 'GPU_IS_LOST' }
        : readable(uuid, index),
    );
    return { source: this.name, driverVersion: '1', gpus, links: [] };
  }

  async read(): Promise<InventoryReading> {
    this.reads++;
    const reading = await this.next();
    this.events.observe(reading);
    return reading;
  }

  subscribe(listener: (event: GpuEvent) => void): () => void {
    return this.events.subscribe(listener);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Bench {
  readonly source: ScriptedSource;
  readonly timers: ManualTimers;
  readonly monitor: HealthMonitor;
  readonly transitions: HealthTransition[];
  readonly troubles: string[];
  /** Lets the given time pass in steps of one interval, with the probes in it. */
  readonly pass: (millis: number) => Promise<void>;
}

async function bench(
  uuids: readonly string[],
  known: readonly string[] = [],
  remembered: ReadonlyMap<string, GpuHealthState> = new Map(),
  initial: GpuHealthState = HEALTHY,
): Promise<Bench> {
  const source = new ScriptedSource(...uuids);
  const timers = new ManualTimers(1_000_000);
  const transitions: HealthTransition[] = [];
  const troubles: string[] = [];
  const monitor = new HealthMonitor({
    source,
    timers,
    intervalMillis: INTERVAL,
    known,
    remembered,
    initial,
    onTransition: (transition) => transitions.push(transition),
    onTrouble: (why) => troubles.push(why),
  });
  monitor.start();
  await settle();
  const pass = async (millis: number): Promise<void> => {
    for (let passed = 0; passed < millis; passed += INTERVAL) {
      timers.advance(Math.min(INTERVAL, millis - passed));
      await settle();
    }
  };
  return { source, timers, monitor, transitions, troubles, pass };
}

/** Lets promises that are already decided run to their ends. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

describe('the health monitor', () => {
  it('finds readable GPUs healthy with the first probe', async () => {
    const { monitor, transitions } = await bench(['GPU-a', 'GPU-b']);
    expect(transitions.map(({ uuid, from, to }) => [uuid, from, to.health])).toEqual([
      ['GPU-a', undefined, 'healthy'],
      ['GPU-b', undefined, 'healthy'],
    ]);
    expect(monitor.verdict('GPU-never-seen')).toMatchObject({
      health: 'unhealthy',
      reason: 'it has not been probed yet',
    });
  });

  it('tells an XID at once, with the reason, and leaves the other GPUs alone', async () => {
    const { source, transitions } = await bench(['GPU-a', 'GPU-b']);
    transitions.length = 0;
    source.events.publish({ kind: 'xid', uuid: 'GPU-b', xid: 79 });
    expect(transitions).toEqual([
      {
        uuid: 'GPU-b',
        from: { health: 'healthy', reason: '', overridden: false },
        to: { health: 'unhealthy', reason: 'XID 79 (GPU has fallen off the bus)', overridden: false },
      },
    ]);
  });

  it('ignores the XIDs of applications', async () => {
    const { source, transitions } = await bench(['GPU-a']);
    for (const xid of [13, 31, 43, 45, 68, 109]) source.events.publish({ kind: 'xid', uuid: 'GPU-a', xid });
    expect(transitions).toHaveLength(1);
  });

  it('suspects every GPU when an event names none', async () => {
    const { source, monitor } = await bench(['GPU-a', 'GPU-b']);
    source.events.publish({ kind: 'doubleBitEcc', uuid: undefined });
    expect([...monitor.verdicts().values()].map(({ health, reason }) => [health, reason])).toEqual([
      ['unhealthy', 'double-bit ECC error'],
      ['unhealthy', 'double-bit ECC error'],
    ]);
  });

  it('brings a GPU back after clean probes over a minute', async () => {
    const { source, monitor, transitions, pass } = await bench(['GPU-a']);
    source.events.publish({ kind: 'xid', uuid: 'GPU-a', xid: 79 });
    await pass(55_000);
    expect(monitor.verdict('GPU-a').health).toBe('unhealthy');
    await pass(10_000);
    expect(transitions.map(({ to }) => to.health)).toEqual(['healthy', 'unhealthy', 'healthy']);
  });

  it('follows a GPU that is lost, stays lost and comes back', async () => {
    const { source, monitor, pass } = await bench(['GPU-a', 'GPU-b']);
    const both = ['GPU-a', 'GPU-b'];
    source.next = () => Promise.resolve(source.reading(both, ['GPU-a']));
    await pass(600_000);
    expect(monitor.verdict('GPU-a')).toEqual({ health: 'unhealthy', reason: 'GPU_IS_LOST', overridden: false });
    expect(monitor.verdict('GPU-b').health).toBe('healthy');
    source.next = () => Promise.resolve(source.reading(both));
    await pass(70_000);
    expect(monitor.verdict('GPU-a').health).toBe('healthy');
  });

  it('finds a GPU unhealthy that the node had before and that is not there now', async () => {
    const { monitor } = await bench(['GPU-a'], ['GPU-a', 'GPU-gone']);
    expect(monitor.verdict('GPU-a').health).toBe('healthy');
    expect(monitor.verdict('GPU-gone')).toMatchObject({ health: 'unhealthy', reason: 'the driver no longer lists it' });
  });

  it('remembers what stood against a GPU before the agent restarted, and nothing of GPUs that are gone', async () => {
    const sick = afterFault(HEALTHY, 990_000, 'XID 79', DEFAULT_HEALTH_POLICY);
    const remembered = new Map([
      ['GPU-a', sick],
      ['GPU-gone', sick],
    ]);
    const { monitor, pass } = await bench(['GPU-a', 'GPU-b'], [], remembered);
    expect([...monitor.verdicts()].map(([uuid, { health }]) => [uuid, health])).toEqual([
      ['GPU-a', 'unhealthy'],
      ['GPU-b', 'healthy'],
    ]);
    await pass(60_000);
    expect(monitor.verdict('GPU-a').health).toBe('healthy');
  });

  it('trusts a GPU of unknown past only after its probes, and one that is remembered as it is remembered', async () => {
    const initial = afterFault(HEALTHY, 1_000_000, 'its past is not known', DEFAULT_HEALTH_POLICY);
    const { monitor, pass } = await bench(['GPU-a', 'GPU-b'], [], new Map([['GPU-b', HEALTHY]]), initial);
    expect(monitor.verdict('GPU-a')).toMatchObject({ health: 'unhealthy', reason: 'its past is not known' });
    expect(monitor.verdict('GPU-b').health).toBe('healthy');
    await pass(60_000);
    expect(monitor.verdict('GPU-a').health).toBe('healthy');
  });

  it('finds every GPU unhealthy when nothing can be read, and says why', async () => {
    const { source, monitor, troubles, pass } = await bench(['GPU-a', 'GPU-b']);
    source.next = () => Promise.reject(new Error('DRIVER_NOT_LOADED'));
    await pass(INTERVAL);
    expect([...monitor.verdicts().values()].every(({ reason }) => reason === 'DRIVER_NOT_LOADED')).toBe(true);
    expect(troubles).toEqual(['DRIVER_NOT_LOADED']);
  });

  it('finds every GPU unhealthy when its own probe never returns, and well again when it does', async () => {
    const { source, monitor, transitions, timers, troubles } = await bench(['GPU-a', 'GPU-b']);
    let answer: (reading: InventoryReading) => void = () => undefined;
    source.next = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    timers.advance(INTERVAL);
    await settle();
    transitions.length = 0;
    timers.advance(3 * INTERVAL);
    expect(transitions.map(({ uuid, to }) => [uuid, to.health])).toEqual([
      ['GPU-a', 'unhealthy'],
      ['GPU-b', 'unhealthy'],
    ]);
    expect(troubles).toHaveLength(1);
    expect(monitor.verdict('GPU-a').reason).toMatch(/last checked 20000 ms ago/);
    answer(source.reading(['GPU-a', 'GPU-b']));
    await settle();
    expect(monitor.verdict('GPU-a').health).toBe('healthy');
  });

  it('says so when not even the first probe returns', () => {
    const source = new ScriptedSource();
    source.next = () => new Promise(() => undefined);
    const timers = new ManualTimers();
    const troubles: string[] = [];
    const monitor = new HealthMonitor({
      source,
      timers,
      intervalMillis: INTERVAL,
      onTransition: () => undefined,
      onTrouble: (why) => troubles.push(why),
    });
    monitor.start();
    timers.advance(4 * INTERVAL);
    expect(troubles).toEqual(['no health probe has finished for 20000 ms; all GPUs are unhealthy']);
  });

  it('lets verdicts lapse after it was stopped', async () => {
    const { monitor, timers } = await bench(['GPU-a']);
    monitor.stop();
    expect(timers.pending).toBe(0);
    timers.advance(4 * INTERVAL);
    expect(monitor.verdict('GPU-a').health).toBe('unhealthy');
  });

  it('looks again at once when the inventory changed outside its own probe', async () => {
    const { source } = await bench(['GPU-a']);
    source.events.publish({ kind: 'inventoryChanged' });
    await settle();
    expect(source.reads).toBe(2);
  });

  it('obeys the operator over everything, and returns to its own judgement afterwards', async () => {
    const { source, monitor, transitions } = await bench(['GPU-a']);
    source.events.publish({ kind: 'xid', uuid: 'GPU-a', xid: 79 });
    monitor.setOverrides(new Map([['GPU-a', 'healthy']]));
    source.events.publish({ kind: 'xid', uuid: 'GPU-a', xid: 79 });
    expect(monitor.verdict('GPU-a')).toMatchObject({ health: 'healthy', overridden: true });
    monitor.setOverrides(new Map());
    expect(transitions.map(({ to }) => to.health)).toEqual(['healthy', 'unhealthy', 'healthy', 'unhealthy']);
  });

  it('ends a quarantine when the operator clears it', async () => {
    const { source, monitor, pass } = await bench(['GPU-a']);
    for (let failure = 0; failure < 3; failure++) {
      source.events.publish({ kind: 'xid', uuid: 'GPU-a', xid: 79 });
      await pass(70_000);
    }
    expect(monitor.verdict('GPU-a').reason).toMatch(/in quarantine after 3 failures/);
    monitor.setOverrides(new Map([['*', 'clear']]));
    await pass(INTERVAL);
    expect(monitor.verdict('GPU-a').health).toBe('healthy');
  });

  it('judges each GPU by its own faults, whatever happens to the others', async () => {
    const uuids = ['GPU-a', 'GPU-b', 'GPU-c'];
    const faults = fc.array(fc.tuple(fc.constantFrom('GPU-a', 'GPU-b'), fc.constantFrom(43, 48, 79)), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(faults, async (history) => {
        const { source, monitor, transitions, pass } = await bench(uuids);
        for (const [uuid, xid] of history) {
          source.events.publish({ kind: 'xid', uuid, xid });
          await pass(INTERVAL);
        }
        expect(transitions.filter(({ uuid }) => uuid === 'GPU-c')).toHaveLength(1);
        expect(monitor.verdict('GPU-c').health).toBe('healthy');
        for (const uuid of ['GPU-a', 'GPU-b']) {
          const failed = history.some(([gpu, xid]) => gpu === uuid && xid !== 43);
          expect(monitor.verdict(uuid).health).toBe(failed ? 'unhealthy' : 'healthy');
        }
      }),
      { seed: 14, numRuns: 40 },
    );
  });
});
