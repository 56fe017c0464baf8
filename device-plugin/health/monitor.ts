// Drives the health of each GPU from an inventory source: probes at an interval, events as they come.
// Faults are told at once, from the event itself. A probe that never returns is noticed: after some intervals without one
// every GPU is unhealthy, because nobody is looking. Single-threaded; callbacks run synchronously and must not throw.

import type { GpuEvent, InventoryReading, InventorySource } from '../inventory/source.ts';
import { overrideFor } from './override.ts';
import type { GpuOverride } from './override.ts';
import { afterCleanProbe, afterFault, afterRelease, DEFAULT_HEALTH_POLICY, HEALTHY, verdictOf } from './state.ts';
import type { GpuHealthState, HealthPolicy, HealthVerdict } from './state.ts';
import { DEFAULT_XID_SETTINGS, describeXid, ignoredXids } from './xids.ts';
import type { XidSettings } from './xids.ts';

export interface HealthTransition {
  readonly uuid: string;
  readonly from: HealthVerdict | undefined;
  readonly to: HealthVerdict;
}

export interface MonitorTimers {
  /** Monotonic milliseconds. */
  now(): number;
  /** Runs the action once after the delay; the returned function takes it back. */
  after(delayMillis: number, action: () => void): () => void;
}

export interface MonitorOptions {
  readonly source: InventorySource;
  readonly timers: MonitorTimers;
  readonly policy?: HealthPolicy;
  readonly xids?: XidSettings;
  readonly intervalMillis?: number;
  /** So many intervals without a finished probe make every GPU unhealthy. */
  readonly heartbeatIntervals?: number;
  /** GPUs that the node had before; those that the first reading lacks start unhealthy. */
  readonly known?: readonly string[];
  /** What an earlier run of the agent knew against GPUs (see memory.ts). */
  readonly remembered?: ReadonlyMap<string, GpuHealthState>;
  /** What every other GPU starts with when it is first seen: healthy unless told. */
  readonly initial?: GpuHealthState;
  readonly onTransition: (transition: HealthTransition) => void;
  /** Every reading, after the verdicts have been brought up to date. */
  readonly onReading?: (reading: InventoryReading) => void;
  readonly onTrouble?: (why: string) => void;
}

const NOT_PROBED: HealthVerdict = { health: 'unhealthy', reason: 'it has not been probed yet', overridden: false };
const NO_LONGER_LISTED = 'the driver no longer lists it';

export class HealthMonitor {
  readonly #options: MonitorOptions;
  readonly #policy: HealthPolicy;
  readonly #intervalMillis: number;
  readonly #silenceMillis: number;
  readonly #ignored: ReadonlySet<number>;
  readonly #states = new Map<string, GpuHealthState>();
  /** Used when a GPU is first seen, so that GPUs of another life never show up. */
  readonly #remembered: ReadonlyMap<string, GpuHealthState>;
  readonly #told = new Map<string, HealthVerdict>();
  #overrides: ReadonlyMap<string, GpuOverride> = new Map();
  #reading: InventoryReading | undefined;
  #lastBeatMillis: number;
  #probing = false;
  #stopped = true;
  #endings: (() => void)[] = [];
  #cancelProbe: () => void = () => undefined;
  #cancelWatchdog: () => void = () => undefined;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#policy = options.policy ?? DEFAULT_HEALTH_POLICY;
    this.#intervalMillis = options.intervalMillis ?? 5_000;
    this.#silenceMillis = this.#intervalMillis * (options.heartbeatIntervals ?? 4);
    this.#ignored = ignoredXids(options.xids ?? DEFAULT_XID_SETTINGS);
    this.#lastBeatMillis = options.timers.now();
    this.#remembered = options.remembered ?? new Map();
  }

  /** Begins with a probe at once. */
  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#lastBeatMillis = this.#options.timers.now();
    this.#endings = [
      this.#options.source.subscribe((event) => {
        this.#onEvent(event);
      }),
    ];
    this.#watchSilence();
    this.probe();
  }

  /** Verdicts stay as they are and lapse with the heartbeat. */
  stop(): void {
    this.#stopped = true;
    this.#cancelProbe();
    this.#cancelWatchdog();
    for (const end of this.#endings.splice(0)) end();
  }

  /** The latest reading; `undefined` before the first. */
  get reading(): InventoryReading | undefined {
    return this.#reading;
  }

  /** Milliseconds since the last finished probe. */
  get silentMillis(): number {
    return this.#options.timers.now() - this.#lastBeatMillis;
  }

  readonly verdict = (uuid: string): HealthVerdict => {
    const state = this.#states.get(uuid);
    const override = overrideFor(uuid, this.#overrides);
    const own = state === undefined ? NOT_PROBED : verdictOf(state, override);
    if (own.overridden || this.silentMillis < this.#silenceMillis) return own;
    return { health: 'unhealthy', reason: `health was last checked ${this.silentMillis} ms ago`, overridden: false };
  };

  /** GPUs that have ever been seen, with what to tell of each. */
  verdicts(): ReadonlyMap<string, HealthVerdict> {
    return new Map([...this.#states.keys()].map((uuid) => [uuid, this.verdict(uuid)]));
  }

  /** For memory.ts: what stands against each GPU. */
  get states(): ReadonlyMap<string, GpuHealthState> {
    return this.#states;
  }

  /** An operator's overrides replace the earlier ones. */
  setOverrides(overrides: ReadonlyMap<string, GpuOverride>): void {
    this.#overrides = overrides;
    this.#release();
    this.#tell();
  }

  /** Looks at the GPUs now instead of at the next interval; nothing when that is already happening. */
  probe(): void {
    if (this.#probing || this.#stopped) return;
    this.#probing = true;
    this.#cancelProbe();
    void this.#probeOnce();
  }

  async #probeOnce(): Promise<void> {
    let reading: InventoryReading | undefined;
    let failure = '';
    try {
      reading = await this.#options.source.read();
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    if (reading === undefined) this.#onFailure(failure);
    else this.#onReading(reading);
    this.#onFinished();
  }

  #onFinished(): void {
    this.#probing = false;
    if (this.#stopped) return;
    this.#cancelProbe = this.#options.timers.after(this.#intervalMillis, () => {
      this.probe();
    });
  }

  #onReading(reading: InventoryReading): void {
    if (this.#stopped) return;
    const first = this.#reading === undefined;
    this.#beat();
    this.#reading = reading;
    const present = new Set<string>();
    for (const gpu of reading.gpus) {
      if (gpu.uuid === undefined) continue;
      present.add(gpu.uuid);
      if (gpu.kind === 'readable') this.#clean(gpu.uuid);
      else this.#fault(gpu.uuid, gpu.why);
    }
    const expected = [...this.#states.keys(), ...(first ? (this.#options.known ?? []) : [])];
    for (const uuid of expected) if (!present.has(uuid)) this.#fault(uuid, NO_LONGER_LISTED);
    this.#release();
    this.#tell();
    this.#options.onReading?.(reading);
  }

  /** Nothing could be read: every GPU failed this probe. */
  #onFailure(why: string): void {
    if (this.#stopped) return;
    this.#beat();
    for (const uuid of this.#states.keys()) this.#fault(uuid, why);
    this.#options.onTrouble?.(why);
    this.#tell();
  }

  #onEvent(event: GpuEvent): void {
    switch (event.kind) {
      case 'xid':
        if (!this.#ignored.has(event.xid)) this.#faultOf(event.uuid, describeXid(event.xid));
        break;
      case 'doubleBitEcc':
        this.#faultOf(event.uuid, 'double-bit ECC error');
        break;
      case 'lost':
        this.#faultOf(event.uuid, event.why);
        break;
      case 'trouble':
        this.#options.onTrouble?.(event.why);
        break;
      case 'recovered':
      case 'inventoryChanged':
        this.probe();
        break;
    }
  }

  /** A fault that names no GPU is a fault of all. */
  #faultOf(uuid: string | undefined, reason: string): void {
    const suspects = uuid === undefined ? [...this.#states.keys()] : [uuid];
    for (const suspect of suspects) this.#fault(suspect, reason);
    this.#tell();
  }

  #fault(uuid: string, reason: string): void {
    const state = this.#stateOf(uuid);
    this.#states.set(uuid, afterFault(state, this.#options.timers.now(), reason, this.#policy));
  }

  #clean(uuid: string): void {
    const state = this.#stateOf(uuid);
    this.#states.set(uuid, afterCleanProbe(state, this.#options.timers.now(), this.#policy));
  }

  #stateOf(uuid: string): GpuHealthState {
    return this.#states.get(uuid) ?? this.#remembered.get(uuid) ?? this.#options.initial ?? HEALTHY;
  }

  #release(): void {
    for (const [uuid, state] of this.#states) {
      if (overrideFor(uuid, this.#overrides) === 'clear') this.#states.set(uuid, afterRelease(state));
    }
  }

  #beat(): void {
    this.#lastBeatMillis = this.#options.timers.now();
    this.#watchSilence();
  }

  #watchSilence(): void {
    this.#cancelWatchdog();
    this.#cancelWatchdog = this.#options.timers.after(this.#silenceMillis, () => {
      this.#options.onTrouble?.(`no health probe has finished for ${this.#silenceMillis} ms; all GPUs are unhealthy`);
      this.#tell();
    });
  }

  /** Tells every verdict whose health changed since it was last told. */
  #tell(): void {
    for (const [uuid, to] of this.verdicts()) {
      const from = this.#told.get(uuid);
      if (from?.health === to.health) continue;
      this.#told.set(uuid, to);
      this.#options.onTransition({ uuid, from, to });
    }
  }
}
