// Answers list requests: selection, paging, and the snapshots that keep the pages of one list consistent.
// A continue token lives as long as the history reaches back to its resourceVersion, like on a real server.
// Synchronous; at most SNAPSHOT_LIMIT snapshots (arrays of references) are held.

import { ApiError, badRequest, expired } from './api-error.ts';
import type { ResourceDefinition, ResourceName } from './resources.ts';
import { apiVersionOf } from './resources.ts';
import type { Selection } from './selectors.ts';
import { selects } from './selectors.ts';
import type { ObjectStore, StoredObject } from './store.ts';

export interface ListRequest {
  readonly definition: ResourceDefinition;
  readonly selection: Selection;
  /** 0 means all. */
  readonly limit: number;
  readonly continueToken: string;
  /** The asked resourceVersion; '' for the most recent. */
  readonly resourceVersion: string;
}

export interface ListPage {
  /** Everything up to and including `"items":[`. */
  readonly head: string;
  readonly items: readonly StoredObject[];
}

export const LIST_TAIL = ']}';

interface Snapshot {
  readonly resourceVersion: number;
  readonly items: readonly StoredObject[];
}

interface Position {
  readonly resourceVersion: number;
  readonly offset: number;
}

const SNAPSHOT_LIMIT = 16;

export class ListPages {
  readonly #store: ObjectStore;
  readonly #snapshots = new Map<string, Snapshot>();

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  read(request: ListRequest): ListPage {
    const position = request.continueToken === '' ? undefined : decodeToken(request.continueToken);
    const { resource } = request.definition;
    const snapshot = position === undefined ? this.#current(resource, request) : this.#past(resource, position);
    const { items, end } = takePage(snapshot.items, position?.offset ?? 0, request);
    const more = end < snapshot.items.length;
    if (more) this.#keep(resource, snapshot);
    const unfiltered = request.selection.fields.length === 0 && request.selection.labels.length === 0;
    const remaining = unfiltered && request.selection.namespace === undefined ? snapshot.items.length - end : undefined;
    const metadata = {
      resourceVersion: String(snapshot.resourceVersion),
      ...(more ? { continue: encodeToken({ resourceVersion: snapshot.resourceVersion, offset: end }) } : {}),
      ...(more && remaining !== undefined ? { remainingItemCount: remaining } : {}),
    };
    return { head: listHead(request.definition, metadata), items };
  }

  #current(resource: ResourceName, request: ListRequest): Snapshot {
    const asked = Number(request.resourceVersion === '' ? 0 : request.resourceVersion);
    const current = this.#store.resourceVersion;
    if (asked > current) {
      const details = {
        causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
        retryAfterSeconds: 1,
      };
      throw new ApiError(504, `Too large resource version: ${asked}, current: ${current}`, { details });
    }
    return { resourceVersion: current, items: this.#store.list(resource) };
  }

  #past(resource: ResourceName, position: Position): Snapshot {
    const snapshot = this.#snapshots.get(snapshotKey(resource, position.resourceVersion));
    if (snapshot === undefined || position.resourceVersion < this.#store.compacted) {
      throw expired(
        'The provided continue parameter is too old to display a consistent list result. You can start a new list ' +
          'without the continue parameter.',
      );
    }
    return snapshot;
  }

  #keep(resource: ResourceName, snapshot: Snapshot): void {
    for (const [key, kept] of this.#snapshots) {
      if (kept.resourceVersion < this.#store.compacted) this.#snapshots.delete(key);
    }
    const key = snapshotKey(resource, snapshot.resourceVersion);
    this.#snapshots.delete(key);
    this.#snapshots.set(key, snapshot);
    const oldest = this.#snapshots.keys().next().value;
    if (this.#snapshots.size > SNAPSHOT_LIMIT && oldest !== undefined) this.#snapshots.delete(oldest);
  }
}

/** The selected items from `offset` on, at most `limit`; `end` is the offset where the next page starts. */
function takePage(
  all: readonly StoredObject[],
  offset: number,
  { selection, limit }: ListRequest,
): { readonly items: readonly StoredObject[]; readonly end: number } {
  const items: StoredObject[] = [];
  let end = offset;
  while (end < all.length) {
    const stored = all[end];
    if (stored !== undefined && selects(selection, stored.object)) {
      // A full page ends before the next match, so that a token is given only when something follows.
      if (limit > 0 && items.length === limit) break;
      items.push(stored);
    }
    end++;
  }
  return { items, end };
}

function listHead(definition: ResourceDefinition, metadata: object): string {
  const kind = JSON.stringify(`${definition.kind}List`);
  const apiVersion = JSON.stringify(apiVersionOf(definition));
  return `{"kind":${kind},"apiVersion":${apiVersion},"metadata":${JSON.stringify(metadata)},"items":[`;
}

function snapshotKey(resource: ResourceName, resourceVersion: number): string {
  return `${resource}@${resourceVersion}`;
}

function encodeToken(position: Position): string {
  return Buffer.from(`${position.resourceVersion}:${position.offset}`).toString('base64url');
}

function decodeToken(token: string): Position {
  const match = /^(\d{1,15}):(\d{1,15})$/.exec(Buffer.from(token, 'base64url').toString());
  if (match === null) throw badRequest('continue key is not valid: send back the token of the previous page unchanged');
  return { resourceVersion: Number(match[1]), offset: Number(match[2]) };
}
