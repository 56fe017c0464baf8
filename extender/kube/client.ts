// Finds a cluster and opens a connection to its API server. Looks at files and environment only when called.
// It must not print or exit: what was looked at is returned, so that the caller can explain it.

import { accessSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

import { createTransport } from './transport.ts';
import type { Credentials, KubeTransport } from './transport.ts';

export type FoundCluster =
  | { readonly kind: 'kubeconfig'; readonly path: string }
  | { readonly kind: 'in-cluster' }
  | { readonly kind: 'none'; readonly looked: readonly string[] };

export type ClusterTarget =
  | { readonly kind: 'kubeconfig'; readonly path: string; readonly context?: string }
  | { readonly kind: 'in-cluster' }
  | { readonly kind: 'kubeconfig-object'; readonly kubeconfig: unknown }
  /** An API server without TLS or credentials on this machine, such as the embedded one. */
  | { readonly kind: 'loopback'; readonly server: string };

export interface ConnectOptions {
  readonly version: string;
  readonly connections?: number;
  readonly credentialsKeptMillis?: number;
  readonly report?: (message: string) => void;
}

export interface KubeClient extends KubeTransport {
  readonly origin: string;
  /** Namespace of the kubeconfig context or of the service account, where there is one. */
  readonly namespace: string | undefined;
}

const TOKEN_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** Looks where operators expect: the given path alone, else KUBECONFIG, the service account, then `~/.kube/config`. */
export function findCluster(explicitPath?: string, environment: NodeJS.ProcessEnv = process.env): FoundCluster {
  if (explicitPath !== undefined) return kubeconfigAt([explicitPath]) ?? { kind: 'none', looked: [explicitPath] };
  const looked: string[] = [];
  const listed = (environment['KUBECONFIG'] ?? '').split(delimiter).filter((path) => path !== '');
  const fromEnvironment = kubeconfigAt(listed);
  if (fromEnvironment !== undefined) return fromEnvironment;
  looked.push(listed.length === 0 ? 'KUBECONFIG (not set)' : `KUBECONFIG (${listed.join(delimiter)})`);
  if ((environment['KUBERNETES_SERVICE_HOST'] ?? '') !== '' && isReadable(TOKEN_FILE)) return { kind: 'in-cluster' };
  looked.push(`service account (${TOKEN_FILE})`);
  const home = join(environment['HOME'] ?? homedir(), '.kube', 'config');
  looked.push(home);
  return kubeconfigAt([home]) ?? { kind: 'none', looked };
}

function kubeconfigAt(paths: readonly string[]): FoundCluster | undefined {
  const readable = paths.filter(isReadable);
  return readable.length === 0 ? undefined : { kind: 'kubeconfig', path: readable.join(delimiter) };
}

function isReadable(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    // Absent and unreadable are the same to a search; the caller reports where it looked.
    return false;
  }
}

export async function connectKube(target: ClusterTarget, options: ConnectOptions): Promise<KubeClient> {
  const credentials = await credentialsFor(target);
  const transport = createTransport(credentials, {
    userAgent: `gpuloom-extender/${options.version}`,
    ...(options.connections === undefined ? {} : { connections: options.connections }),
    ...(options.credentialsKeptMillis === undefined ? {} : { credentialsKeptMillis: options.credentialsKeptMillis }),
    ...(options.report === undefined ? {} : { report: options.report }),
  });
  return { ...transport, origin: credentials.origin, namespace: credentials.namespace };
}

async function credentialsFor(target: ClusterTarget): Promise<Credentials & { namespace: string | undefined }> {
  if (target.kind === 'loopback') return loopbackCredentials(target.server);
  const kubeconfig = await import('./kubeconfig.ts');
  if (target.kind === 'kubeconfig') return kubeconfig.credentialsFromFiles(target.path, target.context);
  if (target.kind === 'kubeconfig-object') return kubeconfig.credentialsFromObject(target.kubeconfig);
  return kubeconfig.credentialsInCluster();
}

function loopbackCredentials(server: string): Credentials & { namespace: undefined } {
  const url = new URL(server);
  if (url.protocol !== 'http:' || !['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname)) {
    throw new Error(`${server} is not an http address on this machine; use a kubeconfig for any other API server`);
  }
  const authorization = { headers: {}, tls: {} };
  return { origin: url.origin, basePath: '', namespace: undefined, authorize: () => Promise.resolve(authorization) };
}
