// Notices that something may have happened in the kubelet's directory: inotify for speed, a poll for certainty.
// Decides nothing: it only calls `onChange`, at least once per poll interval, and often for nothing.
// Survives a directory that is missing, removed or replaced. Calls are synchronous, on the event loop.

import { statSync, watch } from 'node:fs';
import type { FSWatcher } from 'node:fs';
import type { KubeletClock } from './clock.ts';

export interface KubeletWatchOptions {
  readonly directory: string;
  readonly clock: KubeletClock;
  readonly pollMillis: number;
  readonly onChange: () => void;
}

export interface KubeletWatch {
  stop(): void;
}

export function watchKubeletDirectory(options: KubeletWatchOptions): KubeletWatch {
  const watching = new DirectoryWatch(options);
  watching.poll();
  return watching;
}

class DirectoryWatch implements KubeletWatch {
  readonly #options: KubeletWatchOptions;
  #watcher: FSWatcher | undefined;
  /** Inode of the directory that the watcher is attached to. */
  #inode: number | undefined;
  #cancelPoll: () => void = () => undefined;
  #isStopped = false;

  constructor(options: KubeletWatchOptions) {
    this.#options = options;
  }

  poll(): void {
    if (this.#isStopped) return;
    const { clock, directory, onChange, pollMillis } = this.#options;
    this.#cancelPoll = clock.after(pollMillis, () => {
      this.poll();
    });
    const inode = inodeOf(directory);
    if (inode !== this.#inode || this.#watcher === undefined) this.#attach(inode);
    onChange();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelPoll();
    this.#detach();
  }

  #attach(inode: number | undefined): void {
    this.#detach();
    if (inode === undefined) return;
    try {
      const watcher = watch(this.#options.directory, () => {
        if (!this.#isStopped) this.#options.onChange();
      });
      watcher.on('error', () => {
        this.#detach();
      });
      this.#watcher = watcher;
      this.#inode = inode;
    } catch {
      // No inotify instance left, or the directory went away just now: the poll goes on and attaches again.
      this.#detach();
    }
  }

  #detach(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#inode = undefined;
  }
}

function inodeOf(directory: string): number | undefined {
  try {
    return statSync(directory, { throwIfNoEntry: false })?.ino;
  } catch {
    // A path that cannot be looked at is told by the registration loop, which looks at the same directory.
    return undefined;
  }
}
