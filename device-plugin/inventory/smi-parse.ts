// What `nvidia-smi -q -x` and `nvidia-smi topo -m` say, as inventory records. Pure: text in, records out.
// Written against the formats of drivers 390 to 590 (DTD v10 to v13); a field that is missing is unknown, not zero.

import { stripVTControlCharacters } from 'node:util';

import { cleanModel, isUsableUuid } from './gpu-identity.ts';
import { nvlinkWeight, pcieWeight } from './links.ts';
import type { PciePath } from './links.ts';
import { elementAt, numberAt, parseXml, textAt } from './smi-xml.ts';
import type { XmlElement } from './smi-xml.ts';
import type { EccCounters, GpuLink, GpuProcess, GpuReading, MigMode, Utilisation } from './source.ts';

export const SMI_NAME = 'smi';

export interface SmiReading {
  readonly driverVersion: string | undefined;
  readonly gpus: readonly GpuReading[];
}

/** `undefined` when the text is no nvidia-smi log at all. */
export function parseSmiLog(text: string): SmiReading | undefined {
  const log = elementAt(parseXml(text), 'nvidia_smi_log');
  if (log === undefined) return undefined;
  const gpus = log.children.filter(({ name }) => name === 'gpu').map(parseGpu);
  return { driverVersion: textAt(log, 'driver_version'), gpus: [...gpus, ...deniedGpus(text, gpus.length)] };
}

const BROKEN = /GPU is lost|GPU requires reset|Unknown Error|ERR!|fallen off the bus/i;

function parseGpu(gpu: XmlElement, index: number): GpuReading {
  const uuid = textAt(gpu, 'uuid');
  const memoryMiB = numberAt(gpu, 'fb_memory_usage', 'total');
  const pciBusId = textAt(gpu, 'pci', 'pci_bus_id') ?? gpu.attributes['id'] ?? '';
  const named = uuid !== undefined && isUsableUuid(uuid) ? uuid : undefined;
  const why = troubleOf(gpu);
  if (why !== undefined || named === undefined || memoryMiB === undefined) {
    const lacks = named === undefined ? 'a usable UUID' : 'its memory size';
    return { kind: 'unreadable', index, uuid: named, pciBusId, why: why ?? `nvidia-smi does not tell ${lacks}` };
  }
  return {
    kind: 'readable',
    uuid: named,
    index,
    minor: numberAt(gpu, 'minor_number') ?? index,
    model: cleanModel(textAt(gpu, 'product_name') ?? ''),
    memoryMiB,
    pciBusId,
    numa: -1,
    mig: migMode(textAt(gpu, 'mig_mode', 'current_mig')),
    ecc: eccCounters(gpu),
    memoryUsedMiB: numberAt(gpu, 'fb_memory_usage', 'used'),
    smUtilisation: utilisation(gpu, 'gpu_util'),
    memoryUtilisation: utilisation(gpu, 'memory_util'),
    processes: processes(gpu),
  };
}

/** Why a GPU that is listed cannot be used, in nvidia-smi's own words. */
function troubleOf(gpu: XmlElement): string | undefined {
  const places = [
    ['uuid'],
    ['product_name'],
    ['fb_memory_usage'],
    ['fb_memory_usage', 'total'],
    ['utilization', 'gpu_util'],
  ];
  for (const place of places) {
    const text = elementAt(gpu, ...place)?.text ?? '';
    if (BROKEN.test(text)) return `nvidia-smi reports ${JSON.stringify(text)}`;
  }
  if (/^yes$/i.test(textAt(gpu, 'gpu_reset_status', 'reset_required') ?? ''))
    return 'nvidia-smi says a reset is required';
  const action = textAt(gpu, 'gpu_recovery_action') ?? '';
  return /^(GPU |Node )?Re(set|boot)$/i.test(action) ? `nvidia-smi says the GPU needs: ${action}` : undefined;
}

/** GPUs that nvidia-smi could not open are missing in the XML and named in a line of text beside it. */
function deniedGpus(text: string, listed: number): readonly GpuReading[] {
  const lines = text.matchAll(
    /Unable to determine the device handle for (?:GPU|gpu)\s*(\d*:?[0-9A-F:.]+): (.{1,200})/g,
  );
  return [...lines].map(([, place = '', why = ''], at) => ({
    kind: 'unreadable',
    index: listed + at,
    uuid: undefined,
    pciBusId: place,
    why: `nvidia-smi cannot open the GPU at ${place}: ${why.trim()}`,
  }));
}

function migMode(text: string | undefined): MigMode {
  if (text === undefined) return 'unsupported';
  return /^enabled$/i.test(text) ? 'enabled' : 'disabled';
}

function utilisation(gpu: XmlElement, field: string): Utilisation | undefined {
  const percent = numberAt(gpu, 'utilization', field);
  return percent === undefined ? undefined : { percent: Math.min(100, percent), source: `smi/${field}` };
}

/** Volatile counters, summed over the places where a driver counts them; `undefined` without ECC. */
function eccCounters(gpu: XmlElement): EccCounters | undefined {
  const volatile = elementAt(gpu, 'ecc_errors', 'volatile');
  if (volatile === undefined) return undefined;
  const old = [numberAt(volatile, 'single_bit', 'total'), numberAt(volatile, 'double_bit', 'total')] as const;
  const corrected = old[0] ?? sum(volatile, /^(sram|dram)_correctable$/);
  const uncorrected = old[1] ?? sum(volatile, /^(sram|dram)_uncorrectable(_parity|_secded)?$/);
  return corrected === undefined || uncorrected === undefined ? undefined : { corrected, uncorrected };
}

function sum(parent: XmlElement, names: RegExp): number | undefined {
  const values = parent.children.flatMap(({ name }) => (names.test(name) ? [numberAt(parent, name)] : []));
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((total, value) => total + value, 0);
}

/** Compute processes; graphics-only ones hold no grant and are left out. */
function processes(gpu: XmlElement): readonly GpuProcess[] | undefined {
  const list = elementAt(gpu, 'processes');
  if (list === undefined || /^N\/A/i.test(list.text)) return undefined;
  return list.children.flatMap((info) => {
    const pid = numberAt(info, 'pid');
    if (info.name !== 'process_info' || pid === undefined || textAt(info, 'type') === 'G') return [];
    return [{ pid, usedMemoryMiB: numberAt(info, 'used_memory') }];
  });
}

const PATHS: Readonly<Record<string, PciePath | undefined>> = {
  PIX: 'PIX',
  PXB: 'PXB',
  PHB: 'PHB',
  NODE: 'NODE',
  SYS: 'SYS',
  SOC: 'SYS',
};

/** Links from the matrix of `nvidia-smi topo -m`; `uuids[i]` names the GPU in row and column `GPUi`. */
export function parseTopology(text: string, uuids: readonly (string | undefined)[]): readonly GpuLink[] {
  const lines = stripVTControlCharacters(text).split('\n');
  const header = lines.find((line) => /^\s*GPU\d+/.test(line)) ?? '';
  const columns = [...header.matchAll(/GPU(\d+)/g)].map(([, column]) => Number(column));
  return lines.flatMap((line) => {
    const [row = '', ...cells] = line.trim().split(/\s+/);
    const from = uuids[Number(/^GPU(\d+)$/.exec(row)?.[1])];
    if (from === undefined || line === header) return [];
    return columns.flatMap((column, at): GpuLink[] => {
      const to = uuids[column];
      const weight = weightOf(cells[at] ?? '');
      return to === undefined || weight === undefined || from >= to ? [] : [{ between: [from, to], weight }];
    });
  });
}

function weightOf(cell: string): number | undefined {
  const links = /^NV(\d{1,2})$/.exec(cell)?.[1];
  if (links !== undefined) return nvlinkWeight(Number(links));
  const path = PATHS[cell];
  return path === undefined ? undefined : pcieWeight(path);
}
