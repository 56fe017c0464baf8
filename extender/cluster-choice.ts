// Which cluster to serve: what was asked for, else a real one if there is any sign of it. Never an embedded one unasked.

import type { ExtenderConfig } from './config.ts';
import { startEmbeddedCluster } from './demo/embedded-cluster.ts';
import { findCluster, type ClusterTarget } from './kube/client.ts';

export type ClusterChoice =
  | {
      readonly kind: 'chosen';
      readonly cluster: 'kube' | 'embedded';
      readonly target: ClusterTarget;
      close(): Promise<void>;
    }
  | { readonly kind: 'none'; readonly why: string };

const nothingToClose = (): Promise<void> => Promise.resolve();

export async function chooseCluster(config: Pick<ExtenderConfig, 'cluster' | 'kubeconfig'>): Promise<ClusterChoice> {
  if (config.cluster === 'embedded') {
    const embedded = await startEmbeddedCluster({});
    const target: ClusterTarget = { kind: 'loopback', server: embedded.server.url };
    return { kind: 'chosen', cluster: 'embedded', target, close: () => embedded.close() };
  }
  const found = findCluster(config.kubeconfig);
  if (found.kind !== 'none') return { kind: 'chosen', cluster: 'kube', target: found, close: nothingToClose };
  return {
    kind: 'none',
    why: [
      'no cluster found; looked at:',
      ...found.looked.map((place) => `  ${place}`),
      'Name one with --kubeconfig FILE, or try an in-process one with --cluster embedded.',
    ].join('\n'),
  };
}
