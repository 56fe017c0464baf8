// The NUMA node of a PCI device, from sysfs. Read once per device and remembered: it does not change while it is there.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { sysfsBusId } from './gpu-identity.ts';

export type NumaReader = (pciBusId: string) => Promise<number>;

/** -1 where the machine does not tell (no sysfs, one socket, virtual machines). */
export function sysfsNuma(sysfsRoot = '/sys'): NumaReader {
  const known = new Map<string, number>();
  return async (pciBusId) => {
    const place = sysfsBusId(pciBusId);
    if (place === undefined) return -1;
    const remembered = known.get(place);
    if (remembered !== undefined) return remembered;
    const numa = await readNumaFile(join(sysfsRoot, 'bus/pci/devices', place, 'numa_node'));
    if (numa !== undefined) known.set(place, numa);
    return numa ?? -1;
  };
}

async function readNumaFile(path: string): Promise<number | undefined> {
  try {
    const text = (await readFile(path, 'utf8')).trim();
    return /^-?\d{1,4}$/.test(text) ? Math.max(-1, Number(text)) : -1;
  } catch (error) {
    // A machine without sysfs, or a device that is gone: the caller answers -1.
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}
