// The event loop over NVML's event set: XIDs and double-bit ECC errors, as they happen.
// One wait at a time, on a worker thread and short, so that the loop ends soon after close() and the set of GPUs can change.
// Driver state is touched only between pause() and resume(), when no wait is under way.

import { DeadlineError } from './deadline.ts';
import { EVENT_DOUBLE_BIT_ECC, EVENT_XID } from './nvml-structs.ts';
import type { NvmlEvent } from './nvml-structs.ts';
import type { NvmlCalls, NvmlDevice } from './nvml-calls.ts';
import { NvmlError } from './nvml-codes.ts';
import type { GpuEvent } from './source.ts';

export interface WatchedGpu {
  readonly uuid: string;
  readonly device: NvmlDevice;
}

export interface EventLoopOptions {
  readonly calls: NvmlCalls;
  readonly waitMillis: number;
  /** Pause after a failed wait. */
  readonly retryMillis: number;
  /** Runs a call under a deadline; rejects with DeadlineError while an earlier call about the same thing hangs. */
  readonly bounded: <T>(what: string, call: () => Promise<T>) => Promise<T>;
  readonly publish: (event: GpuEvent) => void;
  /** The driver said that something is wrong with some GPU; a reading will tell which. */
  readonly suspect: () => void;
}

export class NvmlEventLoop {
  readonly #options: EventLoopOptions;
  #gpus: readonly WatchedGpu[] = [];
  #set: bigint | undefined;
  #isReleasable = true;
  #running: Promise<void> | undefined;
  #stopping = false;
  #stale = false;
  #told = '';
  #wake: () => void = () => undefined;

  constructor(options: EventLoopOptions) {
    this.#options = options;
  }

  /** Watches these GPUs from the next wait on. */
  watch(gpus: readonly WatchedGpu[]): void {
    const same = gpus.length === this.#gpus.length && gpus.every((gpu, at) => sameGpu(gpu, this.#gpus[at]));
    this.#gpus = gpus;
    if (!same) this.#stale = true;
    if (!this.#stopping && gpus.length > 0) this.resume();
  }

  resume(): void {
    this.#stopping = false;
    if (this.#gpus.length > 0) this.#running ??= this.#run();
  }

  /** Resolves when no wait is under way and the event set is released. */
  async pause(): Promise<void> {
    this.#stopping = true;
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      try {
        await this.#step();
      } catch (error) {
        await this.#recover(error);
      }
    }
    await this.#free();
    this.#running = undefined;
  }

  async #step(): Promise<void> {
    if (this.#stale) await this.#free();
    this.#set ??= await this.#register();
    const event = await this.#options.calls.waitForEvent(this.#set, this.#options.waitMillis);
    if (event !== undefined && !this.#stopping) await this.#tell(event);
  }

  async #register(): Promise<bigint> {
    const { calls, publish, bounded } = this.#options;
    this.#stale = false;
    const set = await calls.createEventSet();
    this.#set = set;
    this.#isReleasable = true;
    const deaf: string[] = [];
    for (const { uuid, device } of this.#gpus) {
      try {
        const supported = await bounded(`event support of ${uuid}`, () => calls.supportedEvents(device));
        const types = supported & (EVENT_XID | EVENT_DOUBLE_BIT_ECC);
        if (types === 0n) deaf.push(uuid);
        else await bounded(`event registration of ${uuid}`, () => calls.registerEvents(device, types, set));
      } catch (error) {
        // A call that hangs may still use the set, which then is never released.
        if (error instanceof DeadlineError) this.#isReleasable = false;
        else if (!(error instanceof NvmlError)) throw error;
        deaf.push(`${uuid} (${error.message})`);
      }
    }
    if (deaf.length > 0) {
      const why = `no XID or ECC events from ${deaf.join(', ')}; their faults show only when they cannot be read`;
      if (why !== this.#told) publish({ kind: 'trouble', why });
      this.#told = why;
    }
    return set;
  }

  async #tell(event: NvmlEvent): Promise<void> {
    const uuid = await this.#uuidOf(event.device);
    if ((event.type & EVENT_DOUBLE_BIT_ECC) !== 0n) this.#options.publish({ kind: 'doubleBitEcc', uuid });
    if ((event.type & EVENT_XID) !== 0n) this.#options.publish({ kind: 'xid', uuid, xid: Number(event.data) });
  }

  async #uuidOf(device: NvmlDevice): Promise<string | undefined> {
    const known = this.#gpus.find((gpu) => gpu.device === device);
    if (known !== undefined) return known.uuid;
    try {
      return await this.#options.calls.uuid(device);
    } catch (error) {
      if (error instanceof NvmlError) return undefined;
      throw error;
    }
  }

  /** A failed wait ends nothing: the set is made anew after a while. */
  async #recover(error: unknown): Promise<void> {
    const why = `waiting for GPU events failed: ${error instanceof Error ? error.message : String(error)}`;
    if (why !== this.#told) this.#options.publish({ kind: 'trouble', why });
    this.#told = why;
    this.#stale = true;
    this.#options.suspect();
    if (this.#stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#options.retryMillis);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #free(): Promise<void> {
    const set = this.#set;
    this.#set = undefined;
    if (set === undefined || !this.#isReleasable) return;
    try {
      await this.#options.calls.freeEventSet(set);
    } catch (error) {
      // A set that the driver has already dropped needs no release.
      if (!(error instanceof NvmlError)) throw error;
    }
  }
}

function sameGpu(left: WatchedGpu, right: WatchedGpu | undefined): boolean {
  return left.uuid === right?.uuid && left.device === right.device;
}
