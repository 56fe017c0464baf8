// What a reflector has told its feed so far: slim records by namespace and name, with uid and resource version.
// Decides which deltas a list or a watch event amounts to; does no I/O and calls no feed. Single caller, synchronous.

import { messageOf, stringAt } from './kube-api.ts';

export type Change<T> = { readonly kind: 'upsert' | 'remove'; readonly key: string; readonly item: T };

export type KnownObjectsProblem = (kind: 'projection-threw' | 'went-backwards', key: string, message: string) => void;

interface Known<T> {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly item: T;
}

/** A list under construction. Nothing of it is visible before `commit`. */
export interface ListDraft<T> {
  readonly entries: Map<string, Known<T>>;
}

export class KnownObjects<T> {
  readonly #project: (raw: unknown) => T | undefined;
  readonly #problem: KnownObjectsProblem;
  #known = new Map<string, Known<T>>();

  constructor(project: (raw: unknown) => T | undefined, problem: KnownObjectsProblem) {
    this.#project = project;
    this.#problem = problem;
  }

  get size(): number {
    return this.#known.size;
  }

  addToDraft(draft: ListDraft<T>, raw: unknown): void {
    const key = keyOf(raw);
    const projected = this.#projected(key, raw);
    if (projected !== undefined) draft.entries.set(key, { ...versionOf(raw), item: projected });
  }

  /** Makes the draft the known state; `drift` counts the differences that no watch event had announced. */
  commit(draft: ListDraft<T>): { readonly items: readonly T[]; readonly drift: number } {
    const previous = this.#known;
    this.#known = draft.entries;
    let drift = 0;
    for (const [key, now] of draft.entries) {
      const before = previous.get(key);
      if (before?.uid !== now.uid || before.resourceVersion !== now.resourceVersion) drift += 1;
    }
    for (const key of previous.keys()) if (!draft.entries.has(key)) drift += 1;
    return { items: Array.from(draft.entries.values(), (entry) => entry.item), drift };
  }

  /** ADDED or MODIFIED. A new uid under a known name means that the deletion of the old object was never announced. */
  put(raw: unknown): readonly Change<T>[] {
    const key = keyOf(raw);
    const version = versionOf(raw);
    const before = this.#known.get(key);
    if (before?.uid === version.uid) {
      if (before.resourceVersion === version.resourceVersion) return [];
      if (isOlderVersion(version.resourceVersion, before.resourceVersion)) {
        this.#problem('went-backwards', key, `version ${version.resourceVersion} after ${before.resourceVersion}`);
        return [];
      }
    }
    const changes: Change<T>[] = [];
    const item = this.#projected(key, raw);
    if (before !== undefined && (item === undefined || before.uid !== version.uid)) {
      this.#known.delete(key);
      changes.push({ kind: 'remove', key, item: before.item });
    }
    if (item !== undefined) {
      this.#known.set(key, { ...version, item });
      changes.push({ kind: 'upsert', key, item });
    }
    return changes;
  }

  /** DELETED, which under a field selector also means "no longer selected". A late deletion of another uid is ignored. */
  drop(raw: unknown): readonly Change<T>[] {
    const key = keyOf(raw);
    const before = this.#known.get(key);
    if (before === undefined || before.uid !== versionOf(raw).uid) return [];
    this.#known.delete(key);
    return [{ kind: 'remove', key, item: before.item }];
  }

  // An object that cannot be read keeps its last good record: forgetting it would free what it still uses.
  #projected(key: string, raw: unknown): T | undefined {
    try {
      return this.#project(raw);
    } catch (error) {
      this.#problem('projection-threw', key, messageOf(error));
      const before = this.#known.get(key);
      return before?.uid === versionOf(raw).uid ? before.item : undefined;
    }
  }
}

function keyOf(raw: unknown): string {
  return `${stringAt(raw, 'metadata', 'namespace') ?? ''}/${stringAt(raw, 'metadata', 'name') ?? ''}`;
}

function versionOf(raw: unknown): { readonly uid: string; readonly resourceVersion: string } {
  return {
    uid: stringAt(raw, 'metadata', 'uid') ?? '',
    resourceVersion: stringAt(raw, 'metadata', 'resourceVersion') ?? '',
  };
}

const DECIMAL = /^(0|[1-9]\d*)$/;

/**
 * A hint only: versions are opaque by contract, though every API server counts upwards in decimal.
 * Without leading zeros, the longer number is the greater, and equal lengths compare as text.
 */
export function isOlderVersion(version: string, than: string): boolean {
  if (!DECIMAL.test(version) || !DECIMAL.test(than)) return false;
  return version.length === than.length ? version < than : version.length < than.length;
}
