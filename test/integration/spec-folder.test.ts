// The folder of CDI specs on a node where pods come and go quickly.

import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { specFolder } from '../../device-plugin/binding/spec-folder.ts';

const OPEN_FILES = '/proc/self/fd';
const keyOf = (at: number): string => at.toString(16).padStart(32, '0');

describe('the folder of CDI specs', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gpuloom-specs-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('lists what was written to it and not removed, and nothing of others', async () => {
    const specs = specFolder(join(folder, 'made-when-needed'));
    expect(await specs.list()).toEqual([]);
    await specs.write(keyOf(1), 'one');
    await specs.write(keyOf(2), 'two');
    await specs.remove(keyOf(1));
    symlinkSync('nothing', join(folder, 'made-when-needed/other.json'));
    expect(await specs.list()).toEqual([{ key: keyOf(2), text: 'two' }]);
  });

  it('lists the others where one is removed while it is read', async () => {
    const specs = specFolder(folder);
    await specs.write(keyOf(2), 'two');
    // In the folder, and nothing to read.
    symlinkSync('removed', join(folder, `gpuloom-${keyOf(1)}.json`));
    expect(await specs.list()).toEqual([{ key: keyOf(2), text: 'two' }]);
  });

  it.skipIf(!existsSync(OPEN_FILES))('has few files open at a time, however many there are', async () => {
    const specs = specFolder(folder);
    const count = 300;
    for (let at = 0; at < count; at++) await specs.write(keyOf(at), 'text');
    const before = readdirSync(OPEN_FILES).length;
    let most = 0;
    let isDone = false;
    const listed = specs.list().finally(() => {
      isDone = true;
    });
    while (!isDone) {
      most = Math.max(most, readdirSync(OPEN_FILES).length - before);
      await new Promise(setImmediate);
    }
    expect(await listed).toHaveLength(count);
    expect(most).toBeLessThan(20);
  });
});
