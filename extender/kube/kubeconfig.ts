// Credentials from a kubeconfig or the in-cluster service account. The only file that loads @kubernetes/client-node,
// which is large and slow to import, so it is itself imported only when needed.
// client-node re-reads token and certificate files and runs exec and OIDC plugins; sending is transport.ts's business.

import { readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { delimiter, dirname, resolve } from 'node:path';

import { KubeConfig } from '@kubernetes/client-node';
import { parse, stringify } from 'yaml';

import { isRecord, messageOf } from './kube-api.ts';
import type { Authorization, Credentials, TlsMaterial } from './transport.ts';

export interface KubeconfigCredentials extends Credentials {
  /** Namespace of the context, or of the service account. */
  readonly namespace: string | undefined;
}

/** `path` may list several files, as KUBECONFIG does; the first one decides the current context. */
export function credentialsFromFiles(path: string, context?: string): KubeconfigCredentials {
  const merged = new KubeConfig();
  const files = path.split(delimiter).filter((file) => file !== '');
  for (const [index, file] of files.entries()) {
    const loaded = new KubeConfig();
    try {
      loaded.loadFromString(stringify(withTokenFiles(parse(readFileSync(file, 'utf8')), dirname(file))));
      loaded.makePathsAbsolute(dirname(file));
      merged.mergeConfig(loaded, index > 0);
    } catch (error) {
      throw new Error(`kubeconfig ${file} cannot be used: ${messageOf(error)}`, { cause: error });
    }
  }
  if (context !== undefined) merged.setCurrentContext(context);
  return credentialsOf(merged, path);
}

export function credentialsFromObject(kubeconfig: unknown): KubeconfigCredentials {
  const loaded = new KubeConfig();
  loaded.loadFromString(stringify(withTokenFiles(kubeconfig, '.')));
  return credentialsOf(loaded, 'the given kubeconfig');
}

export function credentialsInCluster(): KubeconfigCredentials {
  const loaded = new KubeConfig();
  loaded.loadFromCluster();
  return credentialsOf(loaded, 'the service account');
}

// client-node ignores the standard `tokenFile` of a user, though it knows how to re-read a token file.
function withTokenFiles(document: unknown, directory: string): unknown {
  if (!isRecord(document) || !Array.isArray(document['users'])) return document;
  const users = document['users'].map((entry: unknown) => {
    const user = isRecord(entry) ? entry['user'] : undefined;
    if (!isRecord(entry) || !isRecord(user) || typeof user['tokenFile'] !== 'string') return entry;
    const provider = { name: 'tokenFile', config: { tokenFile: resolve(directory, user['tokenFile']) } };
    return { ...entry, user: { ...user, 'auth-provider': provider } };
  });
  return { ...document, users };
}

function credentialsOf(config: KubeConfig, source: string): KubeconfigCredentials {
  const context = config.getContextObject(config.getCurrentContext());
  const cluster = config.getCurrentCluster();
  if (context === null || cluster === null) {
    throw new Error(
      `${source} has no usable current context ("${config.getCurrentContext()}"); set one with kubectl config use-context`,
    );
  }
  const server = new URL(cluster.server);
  checkScheme(server, cluster.skipTLSVerify, source);
  // client-node refuses plain http unless verification is off, which changes nothing on a connection without TLS.
  if (server.protocol === 'http:') {
    config.clusters = config.clusters.map((one) => (one === cluster ? { ...one, skipTLSVerify: true } : one));
  }
  return {
    origin: server.origin,
    basePath: server.pathname.replace(/\/+$/, ''),
    namespace: context.namespace?.trim(),
    authorize: singleFlight(() => readAuthorization(config, cluster.proxyUrl)),
  };
}

function checkScheme(server: URL, skipTlsVerify: boolean, source: string): void {
  if (server.protocol === 'https:') return;
  const loopback = ['127.0.0.1', '[::1]', 'localhost'].includes(server.hostname);
  if (server.protocol === 'http:' && (loopback || skipTlsVerify)) return;
  throw new Error(
    `${source} names ${server.origin}, where credentials would travel unencrypted; use https, or a loopback address`,
  );
}

async function readAuthorization(config: KubeConfig, proxyUrl: string | undefined): Promise<Authorization> {
  const options: RequestOptions = {};
  await config.applyToHTTPSOptions(options);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = String(value).trim();
  if (typeof options.auth === 'string') {
    headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  }
  const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = options;
  const tls: TlsMaterial = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(pfx === undefined ? {} : { pfx }),
    ...(passphrase === undefined ? {} : { passphrase }),
    ...(servername === undefined ? {} : { servername }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  };
  return { headers, tls, ...(proxyUrl === undefined ? {} : { proxyUrl }) };
}

// Concurrent requests would otherwise each spawn the exec plugin when its token runs out. One that hangs is shared for
// a while only, so that a later request tries anew.
const LONGEST_SHARED_WAIT_MILLIS = 30_000;

function singleFlight<T>(work: () => Promise<T>): () => Promise<T> {
  let running: { readonly promise: Promise<T>; readonly since: number } | undefined;
  return () => {
    const now = performance.now();
    if (running !== undefined && now - running.since < LONGEST_SHARED_WAIT_MILLIS) return running.promise;
    const mine = { promise: work(), since: now };
    running = mine;
    const clear = (): void => {
      if (running === mine) running = undefined;
    };
    mine.promise.then(clear, clear);
    return mine.promise;
  };
}
