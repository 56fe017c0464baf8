// An embedded cluster with the demo's GPU nodes and nothing else: for the demo and for `--cluster embedded`.

import type { NodeManifest } from '../core/manifest.ts';
import { EmbeddedApiServer } from '../embedded/api-server.ts';
import { seededNodes } from './gpu-nodes.ts';

export const DEFAULT_NODES = 8;
export const DEFAULT_SEED = 1;

export interface EmbeddedClusterSeed {
  readonly seed?: number;
  readonly nodes?: number;
}

export interface StartedCluster {
  readonly server: EmbeddedApiServer;
  close(): Promise<void>;
}

/** Listens on a free loopback port when it resolves. The same seed gives the same nodes. */
export function startEmbeddedCluster({
  seed = DEFAULT_SEED,
  nodes = DEFAULT_NODES,
}: EmbeddedClusterSeed = {}): Promise<StartedCluster> {
  return startClusterOf(seededNodes(seed, nodes));
}

/** The same with given nodes. UIDs are numbered, so that nothing depends on chance. */
export async function startClusterOf(nodes: readonly NodeManifest[]): Promise<StartedCluster> {
  let uids = 0;
  const nextUid = (): string => `00000000-0000-4000-8000-${String(++uids).padStart(12, '0')}`;
  const server = new EmbeddedApiServer({ nextUid });
  for (const node of nodes) server.cluster.create('nodes', node);
  await server.listen();
  return { server, close: () => server.close() };
}
