// Objects of the embedded cluster read as the manifests the rest of gpuloom reads: outside input, every field optional,
// nothing validated. The one place of the demo where their types change.

import type { NodeManifest, PodManifest } from '../core/manifest.ts';
import type { KubeObject } from '../embedded/objects.ts';

export function asPod(object: KubeObject): PodManifest {
  const pod: unknown = object;
  return pod as PodManifest;
}

export function asNode(object: KubeObject): NodeManifest {
  const node: unknown = object;
  return node as NodeManifest;
}

export interface PodIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export function identityOf({ metadata }: PodManifest): PodIdentity {
  return { namespace: metadata?.namespace ?? 'default', name: metadata?.name ?? '', uid: metadata?.uid ?? '' };
}

export function isTerminal({ status }: PodManifest): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}
