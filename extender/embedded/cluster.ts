// The embedded cluster without HTTP: what its owner (demo, benchmark, test) calls in process.
// Owns the store and the registries. All methods are synchronous; objects handed out are frozen.

import { randomUUID } from 'node:crypto';

import type { KubeObject } from './objects.ts';
import { parseObject } from './objects.ts';
import type { DeleteOptions, PodPhase } from './pod-registry.ts';
import { PodRegistry } from './pod-registry.ts';
import type { ObjectRef } from './registry.ts';
import { Registry } from './registry.ts';
import type { ResourceName } from './resources.ts';
import { definitionOf } from './resources.ts';
import type { ChangeListener } from './store.ts';
import { ObjectStore } from './store.ts';
import type { Timers } from './timers.ts';
import { systemTimers } from './timers.ts';

export interface EmbeddedClusterOptions {
  /** Changes kept for watches to resume from; older resourceVersions get 410. */
  readonly historySize?: number;
  readonly timers?: Timers;
  readonly wallMillis?: () => number;
  readonly nextUid?: () => string;
  /** Who ends a terminating pod: its grace period (default) or the owner through finishTermination(). */
  readonly termination?: 'after-grace' | 'by-owner';
  /** False imitates servers before 1.21, which ignore uid and resourceVersion in a Binding. */
  readonly bindingPreconditions?: boolean;
}

export const DEFAULT_HISTORY_SIZE = 10_000;

export class EmbeddedCluster {
  readonly store: ObjectStore;
  readonly registry: Registry;
  readonly pods: PodRegistry;
  readonly timers: Timers;

  constructor(options: EmbeddedClusterOptions = {}) {
    this.timers = options.timers ?? systemTimers;
    this.store = new ObjectStore(options.historySize ?? DEFAULT_HISTORY_SIZE);
    this.registry = new Registry(this.store, {
      nextUid: options.nextUid ?? randomUUID,
      wallMillis: options.wallMillis ?? Date.now,
    });
    this.pods = new PodRegistry(this.registry, {
      timers: this.timers,
      termination: options.termination ?? 'after-grace',
      bindingPreconditions: options.bindingPreconditions ?? true,
    });
  }

  /** Stores `object` (and freezes it in depth). Keeps a uid, creationTimestamp and status that it carries. */
  create(resource: ResourceName, object: object): KubeObject {
    return this.registry.create(resource, undefined, object, 'owner').object;
  }

  /** Replaces the whole object, status included. Its resourceVersion, when set, must be the current one. */
  update(resource: ResourceName, object: object): KubeObject {
    const { name, namespace } = parseObject(object, definitionOf(resource)).metadata;
    return this.registry.update(refOf(resource, namespace, name), 'whole', object).stored.object;
  }

  /** Applies a JSON merge patch to the whole object, status included. */
  patch(resource: ResourceName, namespace: string | undefined, name: string, patch: object): KubeObject {
    return this.registry.patch(refOf(resource, namespace, name), 'whole', patch).object;
  }

  get(resource: ResourceName, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.registry.find(refOf(resource, namespace, name))?.object;
  }

  /** All objects in key order (`namespace/name`). */
  list(resource: ResourceName, namespace?: string): readonly KubeObject[] {
    const objects = this.store.list(resource).map((stored) => stored.object);
    return namespace === undefined ? objects : objects.filter((object) => object.metadata.namespace === namespace);
  }

  /** As a DELETE request: a bound pod terminates first unless the grace period is 0. */
  delete(resource: ResourceName, namespace: string | undefined, name: string, options: DeleteOptions = {}): void {
    const ref = refOf(resource, namespace, name);
    if (resource === 'pods') this.pods.delete(ref.namespace ?? 'default', name, options);
    else this.registry.remove(ref, options.preconditions);
  }

  /** Removes a terminating pod; false when there is none of that name. */
  finishTermination(namespace: string, name: string): boolean {
    return this.pods.finishTermination(namespace, name);
  }

  setPodPhase(namespace: string, name: string, phase: PodPhase): KubeObject {
    return this.pods.setPhase(namespace, name, phase).object;
  }

  /** Calls `listener` after every change, in order; the returned function ends it. */
  subscribe(listener: ChangeListener): () => void {
    return this.store.subscribe(listener);
  }

  /** Cancels pending timers; the objects stay readable. */
  close(): void {
    this.pods.close();
  }
}

function refOf(resource: ResourceName, namespace: string | undefined, name: string): ObjectRef {
  return { resource, name, namespace: definitionOf(resource).namespaced ? (namespace ?? 'default') : undefined };
}
