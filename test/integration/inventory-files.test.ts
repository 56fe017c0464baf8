// Sources at the mercy of others: an inventory file that a person edits, and an nvidia-smi that fails.

import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';

import { chooseInventory } from '../../device-plugin/inventory/choose.ts';
import { fileSource } from '../../device-plugin/inventory/file.ts';
import { smiSource } from '../../device-plugin/inventory/smi.ts';
import type { GpuEvent, InventorySource } from '../../device-plugin/inventory/source.ts';
import { inventoryFile, scene, sceneGpu, smiLog } from '../support/gpu-scene.ts';

const folder = mkdtempSync(join(tmpdir(), 'gpuloom-files-'));
const opened: InventorySource[] = [];
let names = 0;

afterEach(async () => {
  for (const source of opened.splice(0)) await source.close();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const TWO = inventoryFile(scene([sceneGpu(0), sceneGpu(1)]));

function editable(text: string): { readonly path: string; readonly write: (text: string) => void } {
  const path = join(folder, `gpus-${++names}.yaml`);
  const write = (next: string): void => {
    writeFileSync(`${path}.next`, next);
    renameSync(`${path}.next`, path);
  };
  write(text);
  return { path, write };
}

describe('an inventory file under edit', () => {
  const watch = async (
    text: string,
  ): Promise<{ source: InventorySource; events: GpuEvent[]; write: (text: string) => void }> => {
    const { path, write } = editable(text);
    const source = fileSource({ path, pollMillis: 20 });
    opened.push(source);
    await source.read();
    const events: GpuEvent[] = [];
    source.subscribe((event) => events.push(event));
    return { source, events, write };
  };

  it('tells what an edit changes without being asked', async () => {
    const { events, write } = await watch(TWO);
    write(inventoryFile(scene([sceneGpu(0, { broken: true }), sceneGpu(1)])));
    await vi.waitFor(() => {
      expect(events).toMatchObject([{ kind: 'lost', uuid: sceneGpu(0).uuid }, { kind: 'inventoryChanged' }]);
    });
  });

  it('tells an XID when the file gets one, and again when it gets another', async () => {
    const gpu = 'gpus:\n  - uuid: GPU-a\n    memoryMiB: 1024\n';
    const { events, write } = await watch(gpu);
    for (const xid of [79, 48]) {
      write(`${gpu}    xid: ${xid}\n`);
      await vi.waitFor(() => {
        expect(events.at(-1)).toEqual({ kind: 'xid', uuid: 'GPU-a', xid });
      });
    }
    expect(events).toHaveLength(2);
  });

  it('keeps the last good content through a wrong edit, and reports it once with its line', async () => {
    const { source, events, write } = await watch(TWO);
    const before = await source.read();
    write('gpus:\n  - uuid: GPU-a\n    memoryMiB: lots\n');
    expect(await source.read()).toEqual(before);
    await source.read();
    expect(events).toHaveLength(1);
    expect(events[0]?.kind === 'trouble' ? events[0].why : '').toMatch(/line 3: .*whole number.*stays in use/s);
    write(TWO);
    await source.read();
    write('gpus: 5\n');
    await source.read();
    expect(events).toHaveLength(2);
  });

  it('keeps the last good content while the file is missing', async () => {
    const { path } = editable(TWO);
    const source = fileSource({ path });
    opened.push(source);
    const before = await source.read();
    rmSync(path);
    expect(await source.read()).toEqual(before);
  });

  it('is refused at the start when it is wrong', async () => {
    const { path } = editable('gpus: 5\n');
    await expect(chooseInventory(`file:${path}`)).rejects.toThrow(/line 1: gpus needs a list/);
  });
});

describe('nvidia-smi that fails', () => {
  const program = (script: string): string => {
    const path = join(folder, `smi-${++names}`);
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const open = (script: string, timeoutMillis = 10_000): InventorySource => {
    const source = smiSource({ program: program(script), timeoutMillis, numa: () => Promise.resolve(-1) });
    opened.push(source);
    return source;
  };

  it('is quoted with its exit status', async () => {
    const source = open(
      'echo "NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver."; exit 9',
    );
    await expect(source.read()).rejects.toThrow(
      /ended with exit status 9; it said: NVIDIA-SMI has failed.*check the NVIDIA driver/s,
    );
  });

  it('is killed when it hangs, and asked again the next time', async () => {
    const source = open('exec sleep 60', 50);
    await expect(source.read()).rejects.toThrow(/did not finish within 50 ms/);
    await expect(source.read()).rejects.toThrow(/did not finish within 50 ms/);
  });

  it('is killed when the source is closed', async () => {
    const source = open('exec sleep 60');
    const reading = expect(source.read()).rejects.toThrow(/source was closed/);
    await source.close();
    await reading;
  });

  it('still gives the GPUs that it could read, each with the index it had', async () => {
    const log = join(folder, 'log.xml');
    writeFileSync(log, smiLog(scene([sceneGpu(0), sceneGpu(1)])));
    const note = join(folder, 'note.txt');
    writeFileSync(note, '');
    const source = open(`cat ${log} ${note}; [ -s ${note} ] && exit 15; exit 0`);
    await source.read();
    writeFileSync(log, smiLog(scene([sceneGpu(1)])));
    writeFileSync(note, 'Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost.\n');
    const { gpus } = await source.read();
    expect(gpus.map(({ kind, index, uuid }) => [kind, index, uuid])).toEqual([
      ['unreadable', 0, sceneGpu(0).uuid],
      ['readable', 1, sceneGpu(1).uuid],
    ]);
  });
});
