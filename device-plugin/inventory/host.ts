// CPU, memory and load of the host, through systeminformation: the only file that imports it, and only for what is cheap.
// Its CPU figure needs two looks half a second apart and runs a short shell command, so figures are kept for a while and
// a fresh set is fetched at most once at a time.

import { createRequire } from 'node:module';
import type * as SystemInformation from 'systeminformation';

export interface HostLoad {
  readonly cores: number;
  /** Over all cores since the look before. */
  readonly cpuPercent: number;
  /** One-minute load average per core. */
  readonly loadPerCore: number;
  readonly memoryTotalMiB: number;
  /** In use and not reclaimable. */
  readonly memoryUsedMiB: number;
}

export type HostReader = () => Promise<HostLoad>;

/** What systeminformation is asked for. */
export interface HostFacts {
  readonly cpu: () => Promise<{
    readonly currentLoad: number;
    readonly avgLoad: number;
    readonly cpus: readonly unknown[];
  }>;
  readonly memory: () => Promise<{ readonly total: number; readonly available: number }>;
}

const MIB = 1024 * 1024;
const require = createRequire(import.meta.url);
// The entry point of the package would load its sixteen other parts too.
const { currentLoad } = require('systeminformation/lib/cpu.js') as Pick<typeof SystemInformation, 'currentLoad'>;
const { mem } = require('systeminformation/lib/memory.js') as Pick<typeof SystemInformation, 'mem'>;
const SYSTEM: HostFacts = { cpu: () => currentLoad(), memory: () => mem() };

/** Reads the host at most once per `maxAgeMillis`; calls in between get the same figures. */
export function hostReader(monotonicMillis: () => number, maxAgeMillis = 5_000, facts: HostFacts = SYSTEM): HostReader {
  let latest: Promise<HostLoad> | undefined;
  let expiresMillis = 0;
  return () => {
    if (latest !== undefined && monotonicMillis() < expiresMillis) return latest;
    expiresMillis = monotonicMillis() + maxAgeMillis;
    const reading = readHost(facts);
    latest = reading;
    reading.catch(() => {
      if (latest === reading) latest = undefined;
    });
    return reading;
  };
}

async function readHost({ cpu, memory }: HostFacts): Promise<HostLoad> {
  const [{ currentLoad: busy, avgLoad, cpus }, { total, available }] = await Promise.all([cpu(), memory()]);
  return {
    cores: cpus.length,
    cpuPercent: Math.min(100, Math.max(0, Math.round(busy * 10) / 10)),
    loadPerCore: avgLoad,
    memoryTotalMiB: Math.floor(total / MIB),
    memoryUsedMiB: Math.floor((total - available) / MIB),
  };
}
