// NVML calls as typed functions: buffers in, records out, return codes turned into values or NvmlError.
// Stateless beyond the library; a call that the driver or the GPU does not support answers undefined.

import { isAbsence, NVML_SUCCESS, NvmlError } from './nvml-codes.ts';
import type { NvmlArgument, NvmlFunction, NvmlLibrary } from './nvml-binding.ts';
import {
  cString,
  decodeEvent,
  decodeMemory,
  decodePciInfo,
  decodeProcesses,
  MEMORY_V2_VERSION,
  NVML_LAYOUT,
} from './nvml-structs.ts';
import type { NvmlEvent, NvmlMemory, NvmlProcess } from './nvml-structs.ts';

export type NvmlDevice = bigint;

const TEXT_BYTES = 96;
const INITIAL_PROCESSES = 64;
const UNCORRECTED = 1;
const CORRECTED = 0;
const VOLATILE = 0;

/** At a distance of one call from the driver; every method may reject with NvmlError. */
export class NvmlCalls {
  readonly #library: NvmlLibrary;

  constructor(library: NvmlLibrary) {
    this.#library = library;
  }

  async init(): Promise<void> {
    await this.#do('nvmlInit_v2');
  }

  async shutdown(): Promise<void> {
    await this.#do('nvmlShutdown');
  }

  driverVersion(): Promise<string> {
    return this.#text('nvmlSystemGetDriverVersion');
  }

  deviceCount(): Promise<number> {
    return this.#uint('nvmlDeviceGetCount_v2');
  }

  async deviceAt(index: number): Promise<NvmlDevice> {
    const out = Buffer.alloc(8);
    await this.#do('nvmlDeviceGetHandleByIndex_v2', index, out);
    return out.readBigUInt64LE(0);
  }

  uuid(device: NvmlDevice): Promise<string> {
    return this.#text('nvmlDeviceGetUUID', device);
  }

  model(device: NvmlDevice): Promise<string> {
    return this.#text('nvmlDeviceGetName', device);
  }

  minor(device: NvmlDevice): Promise<number | undefined> {
    return optional(this.#uint('nvmlDeviceGetMinorNumber', device));
  }

  async pciBusId(device: NvmlDevice): Promise<string> {
    const out = Buffer.alloc(NVML_LAYOUT.pciInfo.size);
    await this.#do('nvmlDeviceGetPciInfo_v3', device, out);
    return decodePciInfo(out);
  }

  /** Version 2 tells memory in use apart from memory the driver keeps; version 1 counts that as used. */
  async memory(device: NvmlDevice): Promise<NvmlMemory> {
    if (this.#library.has('nvmlDeviceGetMemoryInfo_v2')) {
      const second = await optional(this.#memoryV2(device));
      if (second !== undefined) return second;
    }
    const out = Buffer.alloc(NVML_LAYOUT.memory.size);
    await this.#do('nvmlDeviceGetMemoryInfo', device, out);
    return decodeMemory(out, 'memory');
  }

  async #memoryV2(device: NvmlDevice): Promise<NvmlMemory> {
    const out = Buffer.alloc(NVML_LAYOUT.memoryV2.size);
    out.writeUInt32LE(MEMORY_V2_VERSION, NVML_LAYOUT.memoryV2.version);
    await this.#do('nvmlDeviceGetMemoryInfo_v2', device, out);
    return decodeMemory(out, 'memoryV2');
  }

  /** `undefined` on GPUs without MIG. */
  async migEnabled(device: NvmlDevice): Promise<boolean | undefined> {
    const current = Buffer.alloc(4);
    const done = await optional(this.#do('nvmlDeviceGetMigMode', device, current, Buffer.alloc(4)));
    return done === undefined ? undefined : current.readUInt32LE(0) === 1;
  }

  async utilisation(device: NvmlDevice): Promise<{ readonly gpu: number; readonly memory: number } | undefined> {
    const { size, gpu, memory } = NVML_LAYOUT.utilization;
    const out = Buffer.alloc(size);
    const done = await optional(this.#do('nvmlDeviceGetUtilizationRates', device, out));
    return done === undefined ? undefined : { gpu: out.readUInt32LE(gpu), memory: out.readUInt32LE(memory) };
  }

  /** Since the driver was loaded; `undefined` without ECC. */
  async eccTotals(device: NvmlDevice): Promise<{ corrected: number; uncorrected: number } | undefined> {
    const corrected = await optional(this.#ecc(device, CORRECTED));
    const uncorrected = await optional(this.#ecc(device, UNCORRECTED));
    return corrected === undefined || uncorrected === undefined ? undefined : { corrected, uncorrected };
  }

  async #ecc(device: NvmlDevice, kind: number): Promise<number> {
    const out = Buffer.alloc(8);
    await this.#do('nvmlDeviceGetTotalEccErrors', device, kind, VOLATILE, out);
    return Number(out.readBigUInt64LE(0));
  }

  /** Compute processes, with clients of MPS; `undefined` where the driver keeps them to itself. */
  async processes(device: NvmlDevice): Promise<readonly NvmlProcess[] | undefined> {
    const direct = await this.#computeProcesses(device);
    if (direct === undefined) return undefined;
    const clients = await optional(this.#processList('nvmlDeviceGetMPSComputeRunningProcesses_v3', device, 'v3'));
    const known = new Set(direct.map(({ pid }) => pid));
    return [...direct, ...(clients ?? []).filter(({ pid }) => !known.has(pid))];
  }

  async #computeProcesses(device: NvmlDevice): Promise<readonly NvmlProcess[] | undefined> {
    const versions = [
      ['nvmlDeviceGetComputeRunningProcesses_v3', 'v3'],
      ['nvmlDeviceGetComputeRunningProcesses_v2', 'v2'],
      ['nvmlDeviceGetComputeRunningProcesses', 'v1'],
    ] as const;
    const newest = versions.find(([name]) => this.#library.has(name));
    return newest === undefined ? undefined : optional(this.#processList(newest[0], device, newest[1]));
  }

  async #processList(
    name: NvmlFunction,
    device: NvmlDevice,
    version: 'v1' | 'v2' | 'v3',
  ): Promise<readonly NvmlProcess[]> {
    for (let capacity = INITIAL_PROCESSES; ; capacity *= 4) {
      const count = Buffer.alloc(4);
      count.writeUInt32LE(capacity, 0);
      // Sized for the widest entry any driver writes.
      const out = Buffer.alloc(capacity * NVML_LAYOUT.processInfoWide.size);
      const code = await this.#library.call(name, device, count, out);
      if (code === NVML_SUCCESS) return decodeProcesses(out, Math.min(capacity, count.readUInt32LE(0)), version);
      const error = new NvmlError(name, code);
      if (error.code !== 'INSUFFICIENT_SIZE' || capacity > 4096) throw error;
    }
  }

  /** Whether an NVLink is up; `undefined` where the GPU has no link of that number. */
  async linkUp(device: NvmlDevice, link: number): Promise<boolean | undefined> {
    const state = await optional(this.#uint('nvmlDeviceGetNvLinkState', device, link));
    return state === undefined ? undefined : state === 1;
  }

  /** Bus address at the far end of an NVLink. */
  async linkPeer(device: NvmlDevice, link: number): Promise<string | undefined> {
    const out = Buffer.alloc(NVML_LAYOUT.pciInfo.size);
    const done = await optional(this.#do('nvmlDeviceGetNvLinkRemotePciInfo_v2', device, link, out));
    return done === undefined ? undefined : decodePciInfo(out);
  }

  /** 0 GPU, 1 NPU, 2 switch. */
  linkPeerType(device: NvmlDevice, link: number): Promise<number | undefined> {
    return optional(this.#uint('nvmlDeviceGetNvLinkRemoteDeviceType', device, link));
  }

  /** Topology level: 0 same board, 10, 20, 30, 40, 50 across sockets. */
  commonAncestor(left: NvmlDevice, right: NvmlDevice): Promise<number | undefined> {
    return optional(this.#uint('nvmlDeviceGetTopologyCommonAncestor', left, right));
  }

  async supportedEvents(device: NvmlDevice): Promise<bigint> {
    const out = Buffer.alloc(8);
    const done = await optional(this.#do('nvmlDeviceGetSupportedEventTypes', device, out));
    return done === undefined ? 0n : out.readBigUInt64LE(0);
  }

  async createEventSet(): Promise<bigint> {
    const out = Buffer.alloc(8);
    await this.#do('nvmlEventSetCreate', out);
    return out.readBigUInt64LE(0);
  }

  async registerEvents(device: NvmlDevice, types: bigint, set: bigint): Promise<void> {
    await this.#do('nvmlDeviceRegisterEvents', device, types, set);
  }

  async freeEventSet(set: bigint): Promise<void> {
    await this.#do('nvmlEventSetFree', set);
  }

  /** The next event, or `undefined` when none came in time. Holds a worker thread while it waits. */
  async waitForEvent(set: bigint, timeoutMillis: number): Promise<NvmlEvent | undefined> {
    const out = Buffer.alloc(NVML_LAYOUT.eventData.size);
    const code = await this.#library.call('nvmlEventSetWait_v2', set, out, timeoutMillis);
    if (code === NVML_SUCCESS) return decodeEvent(out);
    const error = new NvmlError('nvmlEventSetWait_v2', code);
    if (error.code === 'TIMEOUT') return undefined;
    throw error;
  }

  async #uint(name: NvmlFunction, ...args: readonly NvmlArgument[]): Promise<number> {
    const out = Buffer.alloc(4);
    await this.#do(name, ...args, out);
    return out.readUInt32LE(0);
  }

  async #text(name: NvmlFunction, ...args: readonly NvmlArgument[]): Promise<string> {
    const out = Buffer.alloc(TEXT_BYTES);
    await this.#do(name, ...args, out, TEXT_BYTES);
    return cString(out);
  }

  /** Resolves to true so that optional() can tell it from an absence. */
  async #do(name: NvmlFunction, ...args: readonly NvmlArgument[]): Promise<true> {
    const code = await this.#library.call(name, ...args);
    if (code !== NVML_SUCCESS) throw new NvmlError(name, code);
    return true;
  }
}

/** `undefined` for what the GPU or driver does not have; faults of the GPU still throw. */
async function optional<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof NvmlError && isAbsence(error)) return undefined;
    throw error;
  }
}
