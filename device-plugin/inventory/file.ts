// GPUs as a YAML file describes them, for tests, demos and nodes without GPUs. The file may be edited while we run: a
// watch of its folder and a poll find the edit. A wrong edit keeps the last good reading and is reported as trouble.

import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';

import { GpuEvents } from './events.ts';
import { FILE_NAME, InventoryFileError, parseInventoryFile } from './file-parse.ts';
import type { FileReading } from './file-parse.ts';
import { sharedReading } from './shared-reading.ts';
import type { GpuEventListener, InventoryReading, InventorySource } from './source.ts';

export interface FileOptions {
  readonly path: string;
  /** How often the file is looked at besides the watch, which misses edits on some file systems. */
  readonly pollMillis?: number;
}

/** Nothing is read or watched until the first read() or subscribe(). */
export function fileSource(options: FileOptions): InventorySource {
  return new FileSource(options);
}

class FileSource implements InventorySource {
  readonly name = FILE_NAME;
  readonly read: () => Promise<InventoryReading>;
  readonly #path: string;
  readonly #pollMillis: number;
  readonly #events = new GpuEvents();
  #good: FileReading | undefined;
  #trouble = '';
  #watching: (() => void) | undefined;
  #closed = false;

  constructor({ path, pollMillis = 1_000 }: FileOptions) {
    this.#path = path;
    this.#pollMillis = pollMillis;
    this.read = sharedReading(() => this.#readFile());
  }

  subscribe(listener: GpuEventListener): () => void {
    const end = this.#events.subscribe(listener);
    if (!this.#closed) this.#watching ??= this.#watch();
    return () => {
      end();
      if (!this.#events.hasListeners) this.#endWatch();
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#events.clear();
    this.#endWatch();
    await Promise.resolve();
  }

  async #readFile(): Promise<InventoryReading> {
    try {
      const next = parseInventoryFile(await readText(this.#path), this.#path);
      this.#accept(next);
      return next.reading;
    } catch (error) {
      if (!(error instanceof InventoryFileError) || this.#good === undefined) throw error;
      this.#report(error.message);
      return this.#good.reading;
    }
  }

  #accept(next: FileReading): void {
    const before = this.#good?.xids;
    this.#good = next;
    this.#trouble = '';
    this.#events.observe(next.reading);
    for (const [uuid, xid] of next.xids) {
      if (before !== undefined && before.get(uuid) !== xid) this.#events.publish({ kind: 'xid', uuid, xid });
    }
  }

  /** Tells a wrong edit once, not at every poll. */
  #report(trouble: string): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#events.publish({ kind: 'trouble', why: `${trouble}\n  the last good content stays in use` });
  }

  #watch(): () => void {
    const look = (): void => {
      this.read().catch((error: unknown) => {
        this.#report(error instanceof Error ? error.message : String(error));
      });
    };
    const timer = setInterval(look, this.#pollMillis);
    timer.unref();
    // The folder is watched, not the file: editors and config maps replace the file.
    const name = basename(this.#path);
    const stopWatch = watchFolder(dirname(this.#path), (changed) => {
      if (changed === null || changed === name || changed === '..data') look();
    });
    return () => {
      clearInterval(timer);
      stopWatch();
    };
  }

  #endWatch(): void {
    this.#watching?.();
    this.#watching = undefined;
  }
}

/** Where no watch can be had (no such folder, too many watches), the poll alone finds edits. */
function watchFolder(folder: string, changed: (name: string | null) => void): () => void {
  try {
    const watcher = watch(folder, { persistent: false }, (_kind, name) => {
      changed(name);
    });
    watcher.on('error', () => {
      watcher.close();
    });
    return () => {
      watcher.close();
    };
  } catch (error) {
    if (error instanceof Error && 'code' in error) return () => undefined;
    throw error;
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    const advice =
      code === 'ENOENT' ? 'create it, or name another file with --inventory file:PATH' : 'make it readable';
    throw new InventoryFileError(path, [`cannot be read (${code}); ${advice}`]);
  }
}
