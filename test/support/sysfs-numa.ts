// A folder that looks like the part of sysfs that tells NUMA nodes of PCI devices.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { sysfsBusId } from '../../device-plugin/inventory/gpu-identity.ts';

export function writeSysfsNuma(
  root: string,
  devices: readonly { readonly busId: string; readonly numa: number }[],
): void {
  for (const { busId, numa } of devices) {
    const folder = join(root, 'bus/pci/devices', sysfsBusId(busId) ?? 'unknown');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'numa_node'), `${numa}\n`);
  }
}
