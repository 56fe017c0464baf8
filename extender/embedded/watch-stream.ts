// One watch: follows the store's history from a resourceVersion and writes JSON lines as fast as the client reads.
// Holds a position, not a queue: memory per watch is one batch plus the socket's buffer. A client that falls behind
// the history is cut off. pump() is synchronous and may be called at any time.

import type { ResourceDefinition } from './resources.ts';
import { apiVersionOf } from './resources.ts';
import type { Selection } from './selectors.ts';
import { selects } from './selectors.ts';
import type { Change, ChangeType, ObjectStore } from './store.ts';
import { StoredObject } from './store.ts';
import type { Timers } from './timers.ts';

/** The part of an HTTP response that a watch needs. */
export interface LineSink {
  /** False when the client is behind; `drained` is called once it caught up. */
  write(text: string, drained: () => void): boolean;
  /** Ends the response in order. */
  end(): void;
  /** Cuts the connection. */
  destroy(): void;
}

export interface WatchRequest {
  readonly definition: ResourceDefinition;
  readonly selection: Selection;
  /** Changes after this version are sent. */
  readonly fromVersion: number;
  /** The present state, sent as ADDED events first; empty when resuming. */
  readonly initial: readonly StoredObject[];
  /** Marks the end of the initial state with an annotated bookmark (sendInitialEvents). */
  readonly markInitialEnd: boolean;
  readonly bookmarks: boolean;
  readonly bookmarkMillis: number;
  readonly timeoutMillis: number;
}

const BATCH_CHARS = 128 * 1024;

export class WatchStream {
  readonly request: WatchRequest;
  readonly #store: ObjectStore;
  readonly #sink: LineSink;
  readonly #timers: Timers;
  #position: number;
  #initialSent = 0;
  #initialEndDue: boolean;
  #waitingForClient = false;
  #frozen = false;
  #closed = false;
  #cancelBookmark: () => void = () => undefined;
  #cancelTimeout: () => void = () => undefined;

  constructor(store: ObjectStore, sink: LineSink, timers: Timers, request: WatchRequest) {
    this.#store = store;
    this.#sink = sink;
    this.#timers = timers;
    this.request = request;
    this.#position = request.fromVersion;
    this.#initialEndDue = request.markInitialEnd;
    if (request.bookmarks) this.#bookmarkLater();
    this.#cancelTimeout = timers.after(request.timeoutMillis, () => {
      this.#timeUp();
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Sends what the client has not seen, as far as it keeps up. */
  pump(): void {
    const behind = this.#waitingForClient && this.#position < this.#store.compacted;
    if (behind && !this.#closed && !this.#frozen) this.cut();
    while (!this.#closed && !this.#frozen && !this.#waitingForClient) {
      const batch = this.#nextBatch();
      if (batch === '') return;
      this.#write(batch);
    }
  }

  /** Goes silent with the connection open, as a peer behind a dead link does. */
  freeze(): void {
    this.#frozen = true;
    this.#cancelTimers();
  }

  /** Ends the stream in order: what is already written arrives. */
  end(): void {
    if (this.#closed) return;
    this.release();
    this.#sink.end();
  }

  /** Cuts the connection in the middle of whatever was being sent. */
  cut(): void {
    this.release();
    this.#sink.destroy();
  }

  /** The connection is gone; nothing more is sent. */
  release(): void {
    this.#closed = true;
    this.#cancelTimers();
  }

  #nextBatch(): string {
    let batch = '';
    while (batch.length < BATCH_CHARS) {
      const line = this.#nextLine();
      if (line === undefined) return this.#closed ? '' : batch;
      batch += line;
    }
    return batch;
  }

  /** The next event line, '' for a change that this watch does not see, undefined at the end. */
  #nextLine(): string | undefined {
    const { initial, definition, selection } = this.request;
    const first = initial[this.#initialSent];
    if (first !== undefined) {
      this.#initialSent++;
      return eventLine('ADDED', first);
    }
    if (this.#initialEndDue) {
      this.#initialEndDue = false;
      return bookmarkLine(definition, this.#position, { 'k8s.io/initial-events-end': 'true' });
    }
    if (this.#position >= this.#store.resourceVersion) return undefined;
    const change = this.#store.changeAt(this.#position + 1);
    if (change === undefined) {
      this.cut();
      return undefined;
    }
    this.#position++;
    return change.resource === definition.resource ? lineFor(change, selection) : '';
  }

  #write(text: string): void {
    const flowing = this.#sink.write(text, () => {
      this.#waitingForClient = false;
      this.pump();
    });
    if (!flowing) this.#waitingForClient = true;
  }

  #bookmarkLater(): void {
    this.#cancelBookmark = this.#timers.after(this.request.bookmarkMillis, () => {
      this.#bookmark();
      if (!this.#closed) this.#bookmarkLater();
    });
  }

  #bookmark(): void {
    this.pump();
    if (this.#closed || this.#frozen || this.#waitingForClient) return;
    this.#write(bookmarkLine(this.request.definition, this.#position, undefined));
  }

  #timeUp(): void {
    if (this.request.bookmarks) this.#bookmark();
    else this.pump();
    this.end();
  }

  #cancelTimers(): void {
    this.#cancelBookmark();
    this.#cancelTimeout();
  }
}

/** An object that starts or stops matching arrives or leaves, as far as this watch can tell. */
function lineFor(change: Change, selection: Selection): string {
  const matched = change.previous !== undefined && selects(selection, change.previous.object);
  const matches = change.type !== 'DELETED' && selects(selection, change.current.object);
  if (matches) return eventLine(matched ? 'MODIFIED' : 'ADDED', change.current);
  return matched ? eventLine('DELETED', departure(change)) : '';
}

/** A leaving object is shown as it last matched, under the version of the change. */
function departure(change: Change): StoredObject {
  if (change.type === 'DELETED' || change.previous === undefined) return change.current;
  return new StoredObject(change.previous.object, change.resourceVersion);
}

function eventLine(type: ChangeType, stored: StoredObject): string {
  return `{"type":"${type}","object":${stored.json}}\n`;
}

function bookmarkLine(
  definition: ResourceDefinition,
  resourceVersion: number,
  annotations: Readonly<Record<string, string>> | undefined,
): string {
  const metadata = { resourceVersion: String(resourceVersion), creationTimestamp: null };
  const object = {
    kind: definition.kind,
    apiVersion: apiVersionOf(definition),
    metadata: annotations === undefined ? metadata : { ...metadata, annotations },
  };
  return `${JSON.stringify({ type: 'BOOKMARK', object })}\n`;
}
