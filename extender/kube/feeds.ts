// Reflectors for the collections the extender follows, with the selectors that keep them small.
// The record types belong to whoever composes the service; this file knows only paths, selectors and manifests.

import type { ConfigMapManifest, NodeManifest, PodManifest } from '../core/manifest.ts';
import { apiPath, isRecord, stringAt } from './kube-api.ts';
import { startReflector } from './reflector.ts';
import type { Reflector, ReflectorOptions } from './reflector-options.ts';

export type FeedOptions<T, Manifest> = Omit<ReflectorOptions<T>, 'path' | 'query' | 'project'> & {
  /** A slim record, or undefined for an object that does not matter (any more). */
  readonly project: (manifest: Manifest) => T | undefined;
};

/** Pods that are not over yet: one that ends is delivered as a removal. */
export function startPodFeed<T>(options: FeedOptions<T, PodManifest>): Reflector {
  return startReflector({
    ...options,
    path: apiPath('v1', 'pods'),
    query: { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' },
    project: (raw) => (isRecord(raw) ? options.project(raw as PodManifest) : undefined),
  });
}

export function startNodeFeed<T>(options: FeedOptions<T, NodeManifest>): Reflector {
  return startReflector({
    ...options,
    path: apiPath('v1', 'nodes'),
    project: (raw) => (isRecord(raw) ? options.project(raw as NodeManifest) : undefined),
  });
}

export interface ConfigMapFeedOptions<T> extends FeedOptions<T, ConfigMapManifest> {
  readonly namespace: string;
  readonly namePrefix: string;
}

/** ConfigMaps of one namespace whose name starts with a prefix. No selector can say that, so the others are dropped. */
export function startConfigMapFeed<T>(options: ConfigMapFeedOptions<T>): Reflector {
  return startReflector({
    ...options,
    path: apiPath('v1', 'namespaces', options.namespace, 'configmaps'),
    project: (raw) => {
      const wanted = (stringAt(raw, 'metadata', 'name') ?? '').startsWith(options.namePrefix);
      return wanted && isRecord(raw) ? options.project(raw) : undefined;
    },
  });
}
