// Versioned objects of the embedded cluster: one resourceVersion counter, one bounded change history.
// Owns storage and order only; what a write may do is decided by the registries above.
// Every call is synchronous and complete when it returns; subscribers run after the commit, in commit order.

import type { KubeObject } from './objects.ts';
import { deepFreeze } from './objects.ts';
import type { ResourceName } from './resources.ts';

/** An object at one version, with its JSON text made at most once for all lists and watches. */
export class StoredObject {
  readonly object: KubeObject;
  readonly resourceVersion: number;
  #json: string | undefined;

  constructor(object: KubeObject, resourceVersion: number) {
    const metadata = { ...object.metadata, resourceVersion: String(resourceVersion) };
    this.object = deepFreeze({ ...object, metadata });
    this.resourceVersion = resourceVersion;
  }

  get json(): string {
    this.#json ??= JSON.stringify(this.object);
    return this.#json;
  }
}

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

export interface Change {
  readonly type: ChangeType;
  readonly resource: ResourceName;
  readonly resourceVersion: number;
  /** The new state; at DELETED the last state under the version of the deletion. */
  readonly current: StoredObject;
  readonly previous: StoredObject | undefined;
}

export type ChangeListener = (change: Change) => void;

interface Collection {
  readonly objects: Map<string, StoredObject>;
  /** Keys in list order; undefined after a key came or went. */
  sortedKeys: readonly string[] | undefined;
}

/** `namespace/name`, or the name alone for cluster-wide objects. Also the order of lists. */
export function storeKey(namespace: string | undefined, name: string): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

export class ObjectStore {
  readonly #historySize: number;
  readonly #collections = new Map<ResourceName, Collection>();
  readonly #listeners = new Set<ChangeListener>();
  /** Changes with consecutive versions; the first has version #firstLogged. */
  #log: Change[] = [];
  #firstLogged = 2;
  // Lists of an empty cluster must not answer "0": on a watch that means "from any version".
  #resourceVersion = 1;
  #compacted = 1;
  readonly #undelivered: Change[] = [];
  #delivering = false;

  constructor(historySize: number) {
    if (!Number.isInteger(historySize) || historySize < 1) {
      throw new RangeError(`historySize must be a positive integer, got ${historySize}`);
    }
    this.#historySize = historySize;
  }

  get resourceVersion(): number {
    return this.#resourceVersion;
  }

  /** The oldest version a watch or a continued list may still start from. */
  get compacted(): number {
    return this.#compacted;
  }

  get(resource: ResourceName, key: string): StoredObject | undefined {
    return this.#collections.get(resource)?.objects.get(key);
  }

  count(resource: ResourceName): number {
    return this.#collections.get(resource)?.objects.size ?? 0;
  }

  /** The key of the object that has been in the collection longest. */
  oldestKey(resource: ResourceName): string | undefined {
    return this.#collections.get(resource)?.objects.keys().next().value;
  }

  /** All objects in key order, as a new array. */
  list(resource: ResourceName): readonly StoredObject[] {
    const collection = this.#collections.get(resource);
    if (collection === undefined) return [];
    collection.sortedKeys ??= [...collection.objects.keys()].sort();
    const items: StoredObject[] = [];
    for (const key of collection.sortedKeys) {
      const stored = collection.objects.get(key);
      if (stored !== undefined) items.push(stored);
    }
    return items;
  }

  /** Adds or replaces. The object gets the next resourceVersion. */
  put(resource: ResourceName, key: string, object: KubeObject): StoredObject {
    const collection = this.#collection(resource);
    const previous = collection.objects.get(key);
    const current = new StoredObject(object, this.#resourceVersion + 1);
    collection.objects.set(key, current);
    if (previous === undefined) collection.sortedKeys = undefined;
    this.#commit({ type: previous === undefined ? 'ADDED' : 'MODIFIED', resource, current, previous });
    return current;
  }

  /** Removes; undefined when there was nothing. The answer carries the version of the deletion. */
  remove(resource: ResourceName, key: string): StoredObject | undefined {
    const collection = this.#collection(resource);
    const previous = collection.objects.get(key);
    if (previous === undefined) return undefined;
    const current = new StoredObject(previous.object, this.#resourceVersion + 1);
    collection.objects.delete(key);
    collection.sortedKeys = undefined;
    this.#commit({ type: 'DELETED', resource, current, previous });
    return current;
  }

  /** The change that made `resourceVersion`, unless it lies in the future or was compacted away. */
  changeAt(resourceVersion: number): Change | undefined {
    if (resourceVersion <= this.#compacted) return undefined;
    return this.#log[resourceVersion - this.#firstLogged];
  }

  /** Forgets all history up to now. */
  compact(): void {
    this.#log = [];
    this.#firstLogged = this.#resourceVersion + 1;
    this.#compacted = this.#resourceVersion;
  }

  /** Calls `listener` after every commit until the returned function is called. */
  subscribe(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #collection(resource: ResourceName): Collection {
    let collection = this.#collections.get(resource);
    if (collection === undefined) {
      collection = { objects: new Map(), sortedKeys: undefined };
      this.#collections.set(resource, collection);
    }
    return collection;
  }

  #commit(change: Omit<Change, 'resourceVersion'>): void {
    this.#resourceVersion++;
    const committed: Change = { ...change, resourceVersion: this.#resourceVersion };
    this.#log.push(committed);
    this.#compacted = Math.max(this.#compacted, this.#resourceVersion - this.#historySize);
    // Trimming a quarter late keeps the cost per change constant.
    if (this.#log.length > this.#historySize * 1.25) {
      this.#log = this.#log.slice(-this.#historySize);
      this.#firstLogged = this.#resourceVersion - this.#log.length + 1;
    }
    this.#undelivered.push(committed);
    this.#deliver();
  }

  /** A subscriber that writes must not overtake the change being delivered. */
  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let change = this.#undelivered.shift(); change !== undefined; change = this.#undelivered.shift()) {
        // A listener that subscribes another must not show it this change.
        for (const listener of Array.from(this.#listeners)) listener(change);
      }
    } finally {
      this.#delivering = false;
    }
  }
}
