// Reads the kubeconfig files that the control plane harness writes: one cluster, one user with a token.

import { readFile } from 'node:fs/promises';

import { parse } from 'yaml';

import type { ApiAccess } from './api.ts';

interface HarnessKubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly 'certificate-authority': string } },
  ];
  readonly users: readonly [{ readonly user: { readonly token: string } }];
}

export async function readKubeconfig(file: string): Promise<ApiAccess> {
  const config = parse(await readFile(file, 'utf8')) as HarnessKubeconfig;
  const { cluster } = config.clusters[0];
  const ca = await readFile(cluster['certificate-authority'], 'utf8');
  return { url: cluster.server, ca, token: config.users[0].user.token };
}
