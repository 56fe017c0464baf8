// GPUs through NVML. Calls run on worker threads under a deadline: a GPU whose driver hangs becomes unreadable, is not
// asked again until the hung call returns, and never delays the event loop or the other GPUs for longer than that.
// GPUs that were lost come back only to a fresh NVML session, so one is opened while any GPU is unreadable.

import { DeadlineError, withDeadline } from './deadline.ts';
import { GpuEvents } from './events.ts';
import { cleanModel, isUsableUuid } from './gpu-identity.ts';
import { sysfsNuma } from './numa.ts';
import type { NumaReader } from './numa.ts';
import { loadNvml } from './nvml-binding.ts';
import { NvmlCalls } from './nvml-calls.ts';
import type { NvmlDevice } from './nvml-calls.ts';
import { NvmlError } from './nvml-codes.ts';
import { NvmlEventLoop } from './nvml-events.ts';
import { readLinks } from './nvml-links.ts';
import type { LinkedGpu } from './nvml-links.ts';
import { sharedReading } from './shared-reading.ts';
import type {
  GpuEventListener,
  GpuLink,
  GpuReading,
  InventoryReading,
  InventorySource,
  ReadableGpu,
  UnreadableGpu,
} from './source.ts';

export const NVML_NAME = 'nvml';
export const NVML_LIBRARY = 'libnvidia-ml.so.1';

export interface NvmlOptions {
  /** Path or name of the library; default as the dynamic loader finds it. */
  readonly library?: string;
  readonly numa?: NumaReader;
  /** How long one wait for events holds a worker thread. */
  readonly eventWaitMillis?: number;
  readonly eventRetryMillis?: number;
  /** Limit for everything that is asked of one GPU in one reading. */
  readonly deadlineMillis?: number;
  /** Least time between fresh sessions while a GPU is unreadable. */
  readonly renewMillis?: number;
  readonly monotonicMillis?: () => number;
}

/** Loads the library and opens a session. Rejects with an error that says why this node has no usable NVML. */
export async function openNvml(options: NvmlOptions = {}): Promise<InventorySource> {
  const path = options.library ?? NVML_LIBRARY;
  const deadlineMillis = options.deadlineMillis ?? 10_000;
  const calls = new NvmlCalls(load(path));
  await withDeadline(calls.init(), 'nvmlInit_v2', deadlineMillis);
  return new NvmlSource(calls, {
    numa: options.numa ?? sysfsNuma(),
    eventWaitMillis: options.eventWaitMillis ?? 500,
    eventRetryMillis: options.eventRetryMillis ?? 2_000,
    deadlineMillis,
    renewMillis: options.renewMillis ?? 10_000,
    monotonicMillis: options.monotonicMillis ?? (() => performance.now()),
  });
}

function load(path: string): ReturnType<typeof loadNvml> {
  try {
    return loadNvml(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(
      `cannot load ${path}: ${why}; run the agent where the NVIDIA container runtime injects the driver`,
      {
        cause: error,
      },
    );
  }
}

type Settings = Required<Omit<NvmlOptions, 'library'>>;

interface ReadGpu {
  readonly gpu: ReadableGpu;
  readonly device: NvmlDevice;
}

class NvmlSource implements InventorySource {
  readonly name = NVML_NAME;
  readonly read: () => Promise<InventoryReading>;
  readonly #calls: NvmlCalls;
  readonly #settings: Settings;
  readonly #events = new GpuEvents();
  readonly #loop: NvmlEventLoop;
  /** Work that outlived its deadline, by what it is about. */
  readonly #stuck = new Map<string, Promise<unknown>>();
  #links: { readonly key: string; readonly links: readonly GpuLink[] } = { key: '', links: [] };
  #renewAtMillis: number | undefined;
  #open = true;
  #closing = false;
  #closed: Promise<void> | undefined;

  constructor(calls: NvmlCalls, settings: Settings) {
    this.#calls = calls;
    this.#settings = settings;
    this.read = sharedReading(() => this.#read());
    this.#loop = new NvmlEventLoop({
      calls,
      waitMillis: settings.eventWaitMillis,
      retryMillis: settings.eventRetryMillis,
      bounded: (what, call) => this.#bounded(what, call),
      publish: (event) => {
        this.#events.publish(event);
      },
      suspect: () => {
        this.#readBecauseOfSuspicion();
      },
    });
  }

  subscribe(listener: GpuEventListener): () => void {
    return this.#events.subscribe(listener);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing = true;
    this.#events.clear();
    // Ends with the reading under way, or at once.
    await this.read().catch(() => undefined);
    try {
      await this.#bounded('the wait for GPU events', () => this.#loop.pause());
      // A driver that hangs would hang in the shutdown too; the session then ends with the process.
      if (this.#open && this.#stuck.size === 0) await this.#shutdown();
    } catch (error) {
      if (!(error instanceof DeadlineError)) throw error;
    }
  }

  async #read(): Promise<InventoryReading> {
    if (this.#closing) throw new Error('this NVML source is closed');
    await this.#renewIfDue();
    const driver = await this.#bounded('the NVIDIA driver', () => this.#askDriver());
    const read: ReadGpu[] = [];
    const unreadable: UnreadableGpu[] = [];
    for (let index = 0; index < driver.count; index++) {
      const result = await this.#readGpu(index);
      if ('device' in result) read.push(result);
      else unreadable.push(result);
    }
    const gpus: readonly GpuReading[] = [...read.map(({ gpu }) => gpu), ...unreadable];
    const reading = {
      source: NVML_NAME,
      driverVersion: driver.version,
      gpus: gpus.toSorted((a, b) => a.index - b.index),
      links: await this.#linksOf(read),
    };
    if (unreadable.length > 0) this.#renewLater();
    if (!this.#closing) this.#loop.watch(read.map(({ gpu, device }) => ({ uuid: gpu.uuid, device })));
    this.#events.observe(reading);
    return reading;
  }

  async #askDriver(): Promise<{ readonly version: string; readonly count: number }> {
    try {
      return { version: await this.#calls.driverVersion(), count: await this.#calls.deviceCount() };
    } catch (error) {
      this.#renewLater();
      throw error;
    }
  }

  async #readGpu(index: number): Promise<ReadGpu | UnreadableGpu> {
    try {
      return await this.#bounded(`GPU ${index}`, () => this.#askGpu(index));
    } catch (error) {
      if (!(error instanceof NvmlError || error instanceof DeadlineError)) throw error;
      const last = this.#events.lastSeen({ uuid: undefined, pciBusId: '', index });
      return {
        kind: 'unreadable',
        index,
        uuid: last?.uuid,
        pciBusId: last?.pciBusId ?? '',
        why: error.message,
      };
    }
  }

  async #askGpu(index: number): Promise<ReadGpu | UnreadableGpu> {
    const calls = this.#calls;
    const device = await calls.deviceAt(index);
    const uuid = await calls.uuid(device);
    const pciBusId = await calls.pciBusId(device);
    if (!isUsableUuid(uuid)) {
      const why = `the driver gives it the UUID ${JSON.stringify(uuid)}, which cannot be a device id`;
      return { kind: 'unreadable', index, uuid: undefined, pciBusId, why };
    }
    const memory = await calls.memory(device);
    const mig = await calls.migEnabled(device);
    const load = await calls.utilisation(device);
    const utilisation = (name: string, percent: number | undefined): ReadableGpu['smUtilisation'] =>
      percent === undefined ? undefined : { percent: Math.min(100, percent), source: `${NVML_NAME}/${name}` };
    return {
      device,
      gpu: {
        kind: 'readable',
        uuid,
        index,
        minor: (await calls.minor(device)) ?? index,
        model: cleanModel(await calls.model(device)),
        memoryMiB: memory.totalMiB,
        pciBusId,
        numa: await this.#settings.numa(pciBusId),
        mig: mig === undefined ? 'unsupported' : mig ? 'enabled' : 'disabled',
        ecc: await calls.eccTotals(device),
        memoryUsedMiB: memory.usedMiB,
        smUtilisation: utilisation('gpu_util', load?.gpu),
        memoryUtilisation: utilisation('memory_util', load?.memory),
        processes: await calls.processes(device),
      },
    };
  }

  async #linksOf(read: readonly ReadGpu[]): Promise<readonly GpuLink[]> {
    const gpus: readonly LinkedGpu[] = read.map(({ gpu: { uuid, pciBusId }, device }) => ({ uuid, pciBusId, device }));
    const key = gpus.map(({ uuid }) => uuid).join(' ');
    if (key === this.#links.key) return this.#links.links;
    try {
      this.#links = { key, links: await this.#bounded('the GPU topology', () => readLinks(this.#calls, gpus)) };
    } catch (error) {
      if (!(error instanceof DeadlineError)) throw error;
      this.#events.publish({ kind: 'trouble', why: error.message });
      return [];
    }
    return this.#links.links;
  }

  #renewLater(): void {
    this.#renewAtMillis ??= this.#settings.monotonicMillis() + this.#settings.renewMillis;
  }

  async #renewIfDue(): Promise<void> {
    const due = this.#renewAtMillis;
    if (due === undefined || this.#settings.monotonicMillis() < due || this.#stuck.size > 0) return;
    this.#renewAtMillis = undefined;
    try {
      await this.#bounded('the wait for GPU events', () => this.#loop.pause());
      if (this.#open) await this.#shutdown();
      await this.#bounded('the NVML session', () => this.#calls.init());
      this.#open = true;
    } catch (error) {
      this.#renewLater();
      throw error;
    } finally {
      this.#loop.resume();
    }
  }

  /** A session that the driver has already dropped needs no end. */
  async #shutdown(): Promise<void> {
    this.#open = false;
    try {
      await this.#bounded('the NVML session', () => this.#calls.shutdown());
    } catch (error) {
      if (!(error instanceof NvmlError)) throw error;
    }
  }

  /** When nothing at all can be read, every GPU is as good as lost. */
  #readBecauseOfSuspicion(): void {
    if (this.#closing) return;
    this.read().catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      this.#events.publish({ kind: 'lost', uuid: undefined, why });
    });
  }

  /** Work about one thing under the deadline; while it hangs, no more work about that thing is begun. */
  async #bounded<T>(what: string, begin: () => Promise<T>): Promise<T> {
    if (this.#stuck.has(what)) throw new DeadlineError(what, this.#settings.deadlineMillis);
    const work = begin();
    try {
      return await withDeadline(work, what, this.#settings.deadlineMillis);
    } catch (error) {
      if (error instanceof DeadlineError) this.#remember(what, work);
      throw error;
    }
  }

  #remember(what: string, work: Promise<unknown>): void {
    const settled = (): void => {
      this.#stuck.delete(what);
    };
    this.#stuck.set(what, work.then(settled, settled));
  }
}
