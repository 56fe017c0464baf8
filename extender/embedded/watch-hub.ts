// All open watches of one server: wakes them after changes and lets tests disturb them.
// Wake-ups are coalesced into one microtask, so a burst of commits is sent in one batch per watch.

import type { ResourceName } from './resources.ts';
import type { ObjectStore } from './store.ts';
import type { WatchStream } from './watch-stream.ts';

export class WatchHub {
  readonly #streams = new Set<WatchStream>();
  readonly #unsubscribe: () => void;
  #wakeUpDue = false;

  constructor(store: ObjectStore) {
    this.#unsubscribe = store.subscribe(() => {
      this.#wakeUp();
    });
  }

  get size(): number {
    return this.#streams.size;
  }

  add(stream: WatchStream): void {
    this.#streams.add(stream);
    stream.pump();
  }

  remove(stream: WatchStream): void {
    stream.release();
    this.#streams.delete(stream);
  }

  /** Brings every watch up to date now, as far as its client keeps up. */
  pumpAll(): void {
    for (const stream of this.#streams) {
      stream.pump();
      if (stream.closed) this.#streams.delete(stream);
    }
  }

  of(resource: ResourceName | undefined): readonly WatchStream[] {
    return [...this.#streams].filter(
      (stream) => resource === undefined || stream.request.definition.resource === resource,
    );
  }

  close(): void {
    this.#unsubscribe();
    for (const stream of this.#streams) stream.cut();
    this.#streams.clear();
  }

  #wakeUp(): void {
    if (this.#wakeUpDue || this.#streams.size === 0) return;
    this.#wakeUpDue = true;
    queueMicrotask(() => {
      this.#wakeUpDue = false;
      this.pumpAll();
    });
  }
}
