// Create, update, patch and delete as kube-apiserver does them for every resource: identity and timestamps on create,
// optimistic concurrency on update, no write and no event when nothing changes.
// Pod life cycle rules are pod-registry.ts. Synchronous throughout, so each call is one transaction.

import { isDeepStrictEqual } from 'node:util';

import { alreadyExists, badRequest, conflict, invalid, notFound, staleVersion } from './api-error.ts';
import { mergePatch } from './merge-patch.ts';
import type { KubeObject } from './objects.ts';
import { checkName, isRecord, parseObject, textAt } from './objects.ts';
import type { ResourceDefinition, ResourceName } from './resources.ts';
import { definitionOf } from './resources.ts';
import type { ObjectStore, StoredObject } from './store.ts';
import { storeKey } from './store.ts';

export interface ObjectRef {
  readonly resource: ResourceName;
  /** Undefined for cluster-wide resources. */
  readonly namespace: string | undefined;
  readonly name: string;
}

/** The owner may set uid, creationTimestamp and status at creation; a client gets them assigned. */
export type Author = 'owner' | 'client';

/** `whole` is for the owner: spec and status in one write. */
export type WriteScope = 'main' | 'status' | 'whole';

export interface Preconditions {
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface RegistryOptions {
  readonly nextUid: () => string;
  readonly wallMillis: () => number;
}

export interface Updated {
  readonly stored: StoredObject;
  readonly created: boolean;
}

/** RFC 3339 with whole seconds, as Kubernetes writes times. */
export function timestamp(wallMillis: number): string {
  return new Date(wallMillis).toISOString().replace(/\.\d+Z$/, 'Z');
}

export class Registry {
  readonly store: ObjectStore;
  readonly #options: RegistryOptions;
  #generatedNames = 0;

  constructor(store: ObjectStore, options: RegistryOptions) {
    this.store = store;
    this.#options = options;
  }

  now(): string {
    return timestamp(this.#options.wallMillis());
  }

  wallMillis(): number {
    return this.#options.wallMillis();
  }

  find(ref: ObjectRef): StoredObject | undefined {
    return this.store.get(ref.resource, keyOf(ref));
  }

  get(ref: ObjectRef): StoredObject {
    const stored = this.find(ref);
    if (stored === undefined) throw notFound(definitionOf(ref.resource), ref.name);
    return stored;
  }

  create(resource: ResourceName, namespace: string | undefined, input: unknown, author: Author): StoredObject {
    const definition = definitionOf(resource);
    const parsed = parseObject(input, definition);
    const name = parsed.metadata.name === '' ? this.#generateName(parsed) : parsed.metadata.name;
    const ref = { resource, namespace: this.#namespaceFor(definition, parsed, namespace, author), name };
    checkName(definition, name);
    if (this.find(ref) !== undefined) throw alreadyExists(definition, name);
    if (parsed.metadata.resourceVersion !== undefined) {
      throw badRequest('resourceVersion should not be set on objects to be created');
    }
    return this.#insert(ref, parsed, author);
  }

  /** Full replacement (PUT). A uid is a precondition. Without a resourceVersion the write is unconditional where the resource allows it. */
  update(ref: ObjectRef, scope: WriteScope, input: unknown): Updated {
    const definition = definitionOf(ref.resource);
    const parsed = parseObject(input, definition);
    checkIdentity(ref, parsed);
    const old = this.find(ref);
    if (old === undefined) {
      if (!definition.createOnUpdate || scope === 'status') throw notFound(definition, ref.name);
      checkName(definition, ref.name);
      return { stored: this.#insert(ref, parsed, 'client'), created: true };
    }
    if (parsed.metadata.resourceVersion === undefined && !definition.unconditionalUpdate) {
      throw invalid(
        definition,
        ref.name,
        'metadata.resourceVersion',
        'Invalid value: 0x0: must be specified for an update',
      );
    }
    return { stored: this.#replace(ref, old, parsed, scope), created: false };
  }

  /** Merge patch. A resourceVersion in the patch is a precondition; the uid cannot be patched. */
  patch(ref: ObjectRef, scope: WriteScope, patch: unknown): StoredObject {
    const old = this.get(ref);
    if (!isRecord(patch)) throw badRequest('a merge patch must be a JSON object');
    const definition = definitionOf(ref.resource);
    const parsed = parseObject(mergePatch(old.object, patch), definition);
    checkIdentity(ref, parsed);
    const { uid } = parsed.metadata;
    if (uid !== old.object.metadata.uid) {
      throw invalid(definition, ref.name, 'metadata.uid', `Invalid value: "${uid ?? ''}": field is immutable`);
    }
    return this.#replace(ref, old, parsed, scope);
  }

  /** Writes a state that the caller derived from `old`, unless it equals it. */
  commit(ref: ObjectRef, old: StoredObject, next: KubeObject): StoredObject {
    const metadata = { ...next.metadata, resourceVersion: String(old.resourceVersion) };
    if (isDeepStrictEqual({ ...next, metadata }, old.object)) return old;
    return this.store.put(ref.resource, keyOf(ref), next);
  }

  /** Removes at once, whatever the life cycle says. */
  remove(ref: ObjectRef, preconditions: Preconditions = {}): StoredObject {
    const definition = definitionOf(ref.resource);
    const old = this.get(ref);
    checkDeletion(definition, old, preconditions);
    const removed = this.store.remove(ref.resource, keyOf(ref));
    if (removed === undefined) throw notFound(definition, ref.name);
    return removed;
  }

  #insert(ref: ObjectRef, parsed: KubeObject, author: Author): StoredObject {
    const given = parsed.metadata;
    const trusted = author === 'owner';
    const metadata = {
      ...given,
      name: ref.name,
      ...(ref.namespace === undefined ? {} : { namespace: ref.namespace }),
      uid: trusted && given.uid !== undefined ? given.uid : this.#options.nextUid(),
      creationTimestamp: trusted && given.creationTimestamp !== undefined ? given.creationTimestamp : this.now(),
    };
    const object = withInitialStatus({ ...parsed, metadata }, ref.resource, trusted);
    const stored = this.store.put(ref.resource, keyOf(ref), object);
    const oldest = this.store.oldestKey(ref.resource);
    if (this.store.count(ref.resource) > definitionOf(ref.resource).maxObjects && oldest !== undefined) {
      this.store.remove(ref.resource, oldest);
    }
    return stored;
  }

  #replace(ref: ObjectRef, old: StoredObject, parsed: KubeObject, scope: WriteScope): StoredObject {
    const definition = definitionOf(ref.resource);
    const before = old.object.metadata;
    checkPreconditions(definition, old, parsed.metadata);
    const { deletionTimestamp: _, deletionGracePeriodSeconds: __, ...metadata } = parsed.metadata;
    const next = withinScope(definition, old.object, scope, {
      ...parsed,
      metadata: { ...metadata, ...identityOf(before) },
    });
    const moved = textAt(next.spec, 'nodeName') !== textAt(old.object.spec, 'nodeName');
    if (ref.resource === 'pods' && scope !== 'whole' && moved) {
      throw invalid(
        definition,
        ref.name,
        'spec',
        'Forbidden: spec.nodeName may not be changed; post a Binding instead',
      );
    }
    return this.commit(ref, old, next);
  }

  #generateName(parsed: KubeObject): string {
    const prefix = parsed.metadata.generateName;
    if (prefix === undefined) return '';
    this.#generatedNames++;
    return prefix + this.#generatedNames.toString(36).padStart(5, '0');
  }

  #namespaceFor(
    definition: ResourceDefinition,
    parsed: KubeObject,
    asked: string | undefined,
    author: Author,
  ): string | undefined {
    if (!definition.namespaced) return undefined;
    const own = parsed.metadata.namespace;
    if (asked === undefined) return own ?? 'default';
    if (own !== undefined && own !== asked && author === 'client') {
      throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
    }
    return asked;
  }
}

export function keyOf(ref: ObjectRef): string {
  return storeKey(ref.namespace, ref.name);
}

function withInitialStatus(object: KubeObject, resource: ResourceName, trusted: boolean): KubeObject {
  if (resource !== 'pods') return object;
  return { ...object, status: trusted ? { phase: 'Pending', ...object.status } : { phase: 'Pending' } };
}

function checkIdentity(ref: ObjectRef, parsed: KubeObject): void {
  const { name, namespace } = parsed.metadata;
  if (name !== ref.name) {
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${ref.name})`);
  }
  if (namespace !== undefined && namespace !== ref.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
}

/** What no update may change. */
function identityOf(before: KubeObject['metadata']): Partial<KubeObject['metadata']> {
  const kept: Record<string, unknown> = {};
  for (const field of ['uid', 'creationTimestamp', 'deletionTimestamp', 'deletionGracePeriodSeconds', 'namespace']) {
    if (before[field] !== undefined) kept[field] = before[field];
  }
  return kept;
}

function withinScope(definition: ResourceDefinition, old: KubeObject, scope: WriteScope, next: KubeObject): KubeObject {
  if (!definition.statusSubresource || scope === 'whole') return next;
  const kept = scope === 'status' ? 'spec' : 'status';
  const { [kept]: _, ...rest } = next;
  const value = old[kept];
  return { ...rest, ...(value === undefined ? {} : { [kept]: value }), metadata: next.metadata };
}

export function checkPreconditions(definition: ResourceDefinition, old: StoredObject, asked: Preconditions): void {
  const { name, uid } = old.object.metadata;
  if (asked.uid !== undefined && asked.uid !== uid) {
    throw conflict(
      definition,
      name,
      `Precondition failed: UID in precondition: ${asked.uid}, UID in object meta: ${uid ?? ''}`,
    );
  }
  if (asked.resourceVersion !== undefined && asked.resourceVersion !== String(old.resourceVersion)) {
    throw staleVersion(definition, name);
  }
}

export function checkDeletion(definition: ResourceDefinition, old: StoredObject, asked: Preconditions): void {
  const { name, uid } = old.object.metadata;
  if (asked.uid !== undefined && asked.uid !== uid) {
    throw conflict(
      definition,
      name,
      `the UID in the precondition (${asked.uid}) does not match the UID in record (${uid ?? ''}). ` +
        'The object might have been deleted and then recreated',
    );
  }
  const version = String(old.resourceVersion);
  if (asked.resourceVersion !== undefined && asked.resourceVersion !== version) {
    throw conflict(
      definition,
      name,
      `the ResourceVersion in the precondition (${asked.resourceVersion}) does not match the ResourceVersion ` +
        `in record (${version}). The object might have been modified`,
    );
  }
}
