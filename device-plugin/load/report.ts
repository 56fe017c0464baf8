// The node's load report, served as /report: what each GPU does now, for whom, and how busy the host is.
// A figure that is not known is absent, never zero. Reports are made on demand and kept for a second, so that many
// readers cost no more than one.

import type { HostLoad, HostReader } from '../inventory/host.ts';
import type { GpuProcess, GpuReading, InventoryReading, Utilisation } from '../inventory/source.ts';
import type { OwnerReader, ProcessOwner } from './cgroup.ts';
import type { MemoryUse } from './overuse.ts';

export const REPORT_VERSION = 1;

export interface ReportedProcess {
  readonly pid: number;
  readonly usedMemoryMiB?: number;
  /** Absent for a process of no pod. */
  readonly podUid?: string;
  readonly containerId?: string;
}

export interface ReportedGpu {
  readonly uuid: string;
  readonly index: number;
  /** Present when the GPU cannot be read; nothing else is known then. */
  readonly unreadable?: string;
  readonly memoryTotalMiB?: number;
  readonly memoryUsedMiB?: number;
  readonly sm?: Utilisation;
  readonly memory?: Utilisation;
  /** Absent where the source cannot list processes or their ids mean nothing here; empty on an idle GPU. */
  readonly processes?: readonly ReportedProcess[];
}

export interface LoadReport {
  readonly v: typeof REPORT_VERSION;
  readonly node: string;
  /** Wall clock of this node when the figures were read, milliseconds since the epoch. */
  readonly producedMillis: number;
  readonly source: string;
  readonly driverVersion?: string;
  readonly gpus: readonly ReportedGpu[];
  /** Present where no GPU has processes, because they could not be told apart by pod: why. */
  readonly processesOmitted?: string;
  readonly host?: HostLoad;
  /** Present instead of `host` when the host's figures cannot be had. */
  readonly hostUnreadable?: string;
}

export interface ReportOptions {
  readonly node: string;
  readonly read: () => Promise<InventoryReading>;
  readonly host: HostReader;
  readonly owner: OwnerReader;
  /** Why process ids mean nothing here; undefined where they are the node's. */
  readonly whyNoProcesses?: string | undefined;
  readonly clock: { wallMillis(): number; monotonicMillis(): number };
  readonly maxAgeMillis?: number;
}

export type LoadReporter = () => Promise<LoadReport>;

/** Rejects when the GPUs as a whole cannot be read; a host that cannot be read is told in the report. */
export function loadReporter(options: ReportOptions): LoadReporter {
  const { clock, maxAgeMillis = 1_000 } = options;
  let latest: Promise<LoadReport> | undefined;
  let expiresMillis = 0;
  const refresh = async (): Promise<LoadReport> => {
    try {
      const report = await makeReport(options);
      expiresMillis = clock.monotonicMillis() + maxAgeMillis;
      return report;
    } catch (error) {
      latest = undefined;
      throw error;
    }
  };
  return () => {
    if (latest !== undefined && clock.monotonicMillis() < expiresMillis) return latest;
    // Until the reading is done nobody starts another one.
    expiresMillis = Number.POSITIVE_INFINITY;
    latest = refresh();
    return latest;
  };
}

async function makeReport({ node, read, host, owner, whyNoProcesses, clock }: ReportOptions): Promise<LoadReport> {
  const [reading, hostFigures] = await Promise.all([read(), reportHost(host)]);
  const producedMillis = clock.wallMillis();
  const asked = whyNoProcesses === undefined ? owner : undefined;
  const gpus = await Promise.all(reading.gpus.map((gpu) => reportGpu(gpu, asked)));
  return {
    v: REPORT_VERSION,
    node,
    producedMillis,
    source: reading.source,
    ...present('driverVersion', reading.driverVersion),
    gpus: gpus.filter(({ uuid }) => uuid !== ''),
    ...present('processesOmitted', whyNoProcesses),
    ...hostFigures,
  };
}

/** GPUs matter more than the host: its failure is told in the report and ends nothing. */
async function reportHost(host: HostReader): Promise<Pick<LoadReport, 'host' | 'hostUnreadable'>> {
  try {
    return { host: await host() };
  } catch (error) {
    return { hostUnreadable: error instanceof Error ? error.message : String(error) };
  }
}

async function reportGpu(gpu: GpuReading, owner: OwnerReader | undefined): Promise<ReportedGpu> {
  const place = { uuid: gpu.uuid ?? '', index: gpu.index };
  if (gpu.kind === 'unreadable') return { ...place, unreadable: gpu.why };
  const processes =
    gpu.processes === undefined || owner === undefined
      ? undefined
      : await Promise.all(gpu.processes.map((one) => reportProcess(one, owner)));
  return {
    ...place,
    memoryTotalMiB: gpu.memoryMiB,
    ...present('memoryUsedMiB', gpu.memoryUsedMiB),
    ...present('sm', gpu.smUtilisation),
    ...present('memory', gpu.memoryUtilisation),
    ...present('processes', processes),
  };
}

async function reportProcess({ pid, usedMemoryMiB }: GpuProcess, owner: OwnerReader): Promise<ReportedProcess> {
  const found: ProcessOwner | undefined = await owner(pid);
  return {
    pid,
    ...present('usedMemoryMiB', usedMemoryMiB),
    ...present('podUid', found?.podUid),
    ...present('containerId', found?.containerId === '' ? undefined : found?.containerId),
  };
}

function present<K extends string, V>(key: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [key in K]: V });
}

/** What pods use, for findOveruse; undefined where that is not known. Processes of no pod are left out. */
export function podUses(report: LoadReport): readonly MemoryUse[] | undefined {
  if (report.processesOmitted !== undefined) return undefined;
  return report.gpus.flatMap(({ uuid, processes = [] }) =>
    processes.flatMap(({ podUid, usedMemoryMiB }): MemoryUse[] =>
      podUid === undefined ? [] : [{ podUid, gpuUuid: uuid, usedMemoryMiB }],
    ),
  );
}
