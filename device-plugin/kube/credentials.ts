// Who the agent is to the API server: its service account, or the current context of a kubeconfig with a token or a
// client certificate. Exec plugins and login providers have no place on a node; they are refused with advice.

import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { yamlLibrary } from '../../extender/config/yaml-library.ts';

export interface KubeCredentials {
  readonly server: URL;
  readonly tls: {
    readonly ca?: Buffer;
    readonly cert?: Buffer;
    readonly key?: Buffer;
    readonly rejectUnauthorized?: boolean;
  };
  /** Read anew at each call, because service account tokens rotate. */
  token(): Promise<string | undefined>;
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The service account mounted into this pod; undefined where there is none. */
export function inClusterCredentials(
  env: Readonly<Record<string, string | undefined>>,
  folder: string = SERVICE_ACCOUNT,
): KubeCredentials | undefined {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
  if (host === undefined || host === '' || !existsSync(`${folder}/token`)) return undefined;
  return {
    server: new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`),
    tls: { ca: readFileSync(`${folder}/ca.crt`) },
    token: async () => (await readFile(`${folder}/token`, 'utf8')).trim(),
  };
}

/** The current context of a kubeconfig. Throws a sentence that says what is wrong with it. */
export function kubeconfigCredentials(file: string): KubeCredentials {
  const config = record(yamlLibrary().parse(readFileSync(file, 'utf8')), file);
  const context = named(config['contexts'], config['current-context'], 'context', file);
  const cluster = named(config['clusters'], context['cluster'], 'cluster', file);
  const user = context['user'] === undefined ? {} : named(config['users'], context['user'], 'user', file);
  for (const unsupported of ['exec', 'auth-provider']) {
    if (user[unsupported] !== undefined) {
      throw new Error(
        `${file}: user "${String(context['user'])}" uses ${unsupported}; the node agent reads tokens and client certificates only`,
      );
    }
  }
  const material = (holder: Record<string, unknown>, key: string): Buffer | undefined =>
    readMaterial(holder, key, file);
  const ca = material(cluster, 'certificate-authority');
  const cert = material(user, 'client-certificate');
  const key = material(user, 'client-key');
  const tokenFile = user['tokenFile'];
  const token = user['token'];
  return {
    server: new URL(String(cluster['server'])),
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(cluster['insecure-skip-tls-verify'] === true ? { rejectUnauthorized: false } : {}),
    },
    token: async () =>
      typeof tokenFile === 'string'
        ? (await readFile(resolve(dirname(file), tokenFile), 'utf8')).trim()
        : typeof token === 'string'
          ? token
          : undefined,
  };
}

function readMaterial(holder: Record<string, unknown>, key: string, file: string): Buffer | undefined {
  const inline = holder[`${key}-data`];
  if (typeof inline === 'string') return Buffer.from(inline, 'base64');
  const path = holder[key];
  return typeof path === 'string' ? readFileSync(resolve(dirname(file), path)) : undefined;
}

/** The `cluster`, `context` or `user` of an entry in one of the kubeconfig's lists. */
function named(
  list: unknown,
  name: unknown,
  kind: 'context' | 'cluster' | 'user',
  file: string,
): Record<string, unknown> {
  const entries = Array.isArray(list) ? (list as readonly unknown[]) : [];
  for (const entry of entries) {
    const each = record(entry, file);
    if (each['name'] === name) return record(each[kind], file);
  }
  throw new Error(`${file} has no ${kind} named "${String(name)}"; check current-context and its entries`);
}

function record(value: unknown, file: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${file} is not a kubeconfig`);
  return value as Record<string, unknown>;
}
