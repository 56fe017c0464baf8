// CDI spec files in a folder that the runtime reads. Atomic: a reader sees the old file or the new one, never half of one.

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SpecStore } from '../ports.ts';

const PREFIX = 'gpuloom-';
const SUFFIX = '.json';
const KEY = /^[a-f0-9]{32}$/;

export function specFolder(folder: string): SpecStore {
  const fileOf = (key: string): string => {
    if (!KEY.test(key)) throw new Error(`"${key.slice(0, 40)}" is no device key`);
    return join(folder, `${PREFIX}${key}${SUFFIX}`);
  };
  return {
    async write(key, text) {
      const file = fileOf(key);
      // Runtimes load *.json and *.yaml; the name of the unfinished file is neither.
      const unfinished = `${file}.${process.pid}.tmp`;
      await mkdir(folder, { recursive: true });
      await writeFile(unfinished, text, { mode: 0o644 });
      await rename(unfinished, file);
    },
    async list() {
      const names = (await readdir(folder).catch(undefinedIfMissing)) ?? [];
      const keys = names
        .filter((name) => name.startsWith(PREFIX) && name.endsWith(SUFFIX))
        .map((name) => name.slice(PREFIX.length, -SUFFIX.length))
        .filter((key) => KEY.test(key));
      // One after the other: there may be thousands where pods come and go quickly.
      const specs: { readonly key: string; readonly text: string }[] = [];
      for (const key of keys) {
        const text = await readFile(fileOf(key), 'utf8').catch(undefinedIfMissing);
        // Removed since the folder was read.
        if (text !== undefined) specs.push({ key, text });
      }
      return specs;
    },
    remove: (key) => rm(fileOf(key), { force: true }),
  };
}

function undefinedIfMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
  throw error;
}
