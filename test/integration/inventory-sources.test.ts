// The three inventory sources against their contract: NVML over a stand-in library, a stand-in nvidia-smi, a file.

import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe } from 'vitest';

import { fileSource } from '../../device-plugin/inventory/file.ts';
import { sysfsNuma } from '../../device-plugin/inventory/numa.ts';
import { openNvml } from '../../device-plugin/inventory/nvml.ts';
import { smiSource } from '../../device-plugin/inventory/smi.ts';
import { inventorySourceContract } from '../contract/inventory-source.ts';
import type { InventorySubject } from '../contract/inventory-source.ts';
import { FakeNvmlBuilder, missingCompiler } from '../support/fake-nvml/fake-nvml.ts';
import { inventoryFile, nvmlState, sceneGpu, smiLog, smiTopology } from '../support/gpu-scene.ts';
import type { Scene } from '../support/gpu-scene.ts';
import { writeSysfsNuma } from '../support/sysfs-numa.ts';

const folder = mkdtempSync(join(tmpdir(), 'gpuloom-inventory-'));
const builder = new FakeNvmlBuilder();
const sysfs = join(folder, 'sys');
writeSysfsNuma(sysfs, [sceneGpu(0), sceneGpu(1), sceneGpu(2)]);

afterAll(() => {
  builder.remove();
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(missingCompiler !== '')(`over a stand-in NVML ${missingCompiler}`, () => {
  inventorySourceContract('nvml', async (scene): Promise<InventorySubject> => {
    const nvml = builder.create(nvmlState(scene));
    const source = await openNvml({
      library: nvml.library,
      numa: sysfsNuma(sysfs),
      eventWaitMillis: 10,
      renewMillis: 0,
    });
    return {
      source,
      show: (next) => {
        nvml.setState(nvmlState(next));
      },
      close: () => source.close(),
    };
  });
});

let scripts = 0;

inventorySourceContract('smi', (scene): Promise<InventorySubject> => {
  const base = join(folder, `smi-${++scripts}`);
  writeFileSync(base, `#!/bin/sh\nif [ "$1" = topo ]; then cat "${base}.topo"; else cat "${base}.xml"; fi\n`);
  chmodSync(base, 0o755);
  const show = (next: Scene): void => {
    writeFileSync(`${base}.xml`, smiLog(next));
    writeFileSync(`${base}.topo`, smiTopology(next));
  };
  show(scene);
  const source = smiSource({ program: base, numa: sysfsNuma(sysfs) });
  return Promise.resolve({ source, show, close: () => source.close() });
});

let files = 0;

inventorySourceContract('file', (scene): Promise<InventorySubject> => {
  const path = join(folder, `gpus-${++files}.yaml`);
  const show = (next: Scene): void => {
    writeFileSync(`${path}.next`, inventoryFile(next));
    renameSync(`${path}.next`, path);
  };
  show(scene);
  const source = fileSource({ path });
  return Promise.resolve({ source, show, close: () => source.close() });
});
