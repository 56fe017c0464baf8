// Memory layouts of the NVML structures we read (nvml.h, 64-bit little-endian), as sizes and offsets. Pure.
// A wrong number here reads rubbish or corrupts memory; the tests compare each with what a C compiler says.

export const NVML_LAYOUT = {
  memory: { size: 24, total: 0, used: 16 },
  memoryV2: { size: 40, version: 0, total: 8, used: 32 },
  utilization: { size: 8, gpu: 0, memory: 4 },
  pciInfo: { size: 68, busIdLegacy: 0, busId: 36 },
  processInfoV1: { size: 16, pid: 0, usedGpuMemory: 8 },
  processInfo: { size: 24, pid: 0, usedGpuMemory: 8 },
  /** Drivers around 535.43 to 535.98 append a field to each entry under the same symbol. */
  processInfoWide: { size: 32, pid: 0, usedGpuMemory: 8 },
  eventData: { size: 32, device: 0, eventType: 8, eventData: 16 },
} as const;

/** A structure's version as NVML wants it: its size, and the version in the top byte. */
export const MEMORY_V2_VERSION: number = NVML_LAYOUT.memoryV2.size | (2 << 24);
export const EVENT_DOUBLE_BIT_ECC = 0x2n;
export const EVENT_XID = 0x8n;
const NOT_AVAILABLE = 0xffff_ffff_ffff_ffffn;
const MIB = 1024n * 1024n;

export interface NvmlMemory {
  readonly totalMiB: number;
  readonly usedMiB: number;
}

export interface NvmlProcess {
  readonly pid: number;
  readonly usedMemoryMiB: number | undefined;
}

export interface NvmlEvent {
  readonly device: bigint;
  readonly type: bigint;
  readonly data: bigint;
}

export function decodeMemory(buffer: Buffer, version: 'memory' | 'memoryV2'): NvmlMemory {
  const { total, used } = NVML_LAYOUT[version];
  return { totalMiB: mib(buffer.readBigUInt64LE(total)), usedMiB: mib(buffer.readBigUInt64LE(used)) };
}

/** The bus address as the driver writes it, `00000000:3B:00.0`. */
export function decodePciInfo(buffer: Buffer): string {
  const { busId, busIdLegacy, size } = NVML_LAYOUT.pciInfo;
  const long = cString(buffer.subarray(busId, size));
  return long === '' ? cString(buffer.subarray(busIdLegacy, 16)) : long;
}

export function decodeEvent(buffer: Buffer): NvmlEvent {
  const { device, eventType, eventData } = NVML_LAYOUT.eventData;
  return {
    device: buffer.readBigUInt64LE(device),
    type: buffer.readBigUInt64LE(eventType),
    data: buffer.readBigUInt64LE(eventData),
  };
}

/** `count` entries that the driver wrote under one of the versions of the process list. */
export function decodeProcesses(buffer: Buffer, count: number, version: 'v1' | 'v2' | 'v3'): readonly NvmlProcess[] {
  if (version === 'v1') return entries(buffer, count, NVML_LAYOUT.processInfoV1.size);
  const processes = entries(buffer, count, NVML_LAYOUT.processInfo.size);
  // No process has PID 0: finding it means that the driver's entries are wider than this.
  const wide = version === 'v3' && processes.some(({ pid }) => pid === 0);
  return wide ? entries(buffer, count, NVML_LAYOUT.processInfoWide.size) : processes;
}

function entries(buffer: Buffer, count: number, size: number): readonly NvmlProcess[] {
  const { pid, usedGpuMemory } = NVML_LAYOUT.processInfo;
  return Array.from({ length: count }, (_, at) => {
    const used = buffer.readBigUInt64LE(at * size + usedGpuMemory);
    return {
      pid: buffer.readUInt32LE(at * size + pid),
      usedMemoryMiB: used === NOT_AVAILABLE ? undefined : mib(used),
    };
  });
}

/** Text up to the first NUL. */
export function cString(buffer: Buffer): string {
  const end = buffer.indexOf(0);
  return buffer.toString('utf8', 0, end < 0 ? buffer.length : end).trim();
}

function mib(bytes: bigint): number {
  return Number(bytes / MIB);
}
