// Finds the Kubernetes programs for the real-control-plane tests: a folder named by KUBEBUILDER_ASSETS, else the
// user's cache, else a one-time build. Answers with a reason in words where none of these works; never throws for
// a missing prerequisite.

import { constants } from 'node:fs';
import { access, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

import { BUILT_PROGRAMS, KUBERNETES_VERSION, buildKubernetes, buildObstacle, whichTool } from './kubernetes-build.ts';

export interface KubernetesBinaries {
  readonly folder: string;
  readonly etcd: string;
  readonly kubeApiserver: string;
  readonly kubeControllerManager: string;
  readonly kubeScheduler: string;
  /** Absent in a folder that somebody else provided without it. */
  readonly kubelet?: string;
}

export type BinariesResult =
  | { readonly kind: 'ready'; readonly binaries: KubernetesBinaries }
  | { readonly kind: 'skip'; readonly reason: string };

export interface ObtainOptions {
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
}

const REQUIRED = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;
const REMEDY =
  'Mend: set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kube-scheduler, ' +
  'or run on Debian, where they are built once from source packages.';

/** Ready programs, building them when that is possible here and needed. */
export async function obtainBinaries(options: ObtainOptions): Promise<BinariesResult> {
  if ((await whichTool('setpriv')) === undefined) {
    return {
      kind: 'skip',
      reason: 'setpriv is missing; it ends the control plane together with the tests. Mend: install util-linux.',
    };
  }
  const present = await locateBinaries(options.progress);
  if (present.kind === 'ready') return present;
  const target = cacheFolder();
  const obstacle = await buildObstacle(dirname(target));
  if (obstacle !== undefined) return { kind: 'skip', reason: `no Kubernetes programs, and ${obstacle}. ${REMEDY}` };
  try {
    // What is there lacks a program (see above), and a folder that exists would keep the result out.
    await rm(target, { recursive: true, force: true });
    await buildKubernetes({ target, ...options });
  } catch (cause) {
    if (options.signal.aborted) throw cause;
    const detail = cause instanceof Error ? cause.message : String(cause);
    options.progress(detail);
    return {
      kind: 'skip',
      reason: `building Kubernetes failed (${detail.split('\n', 1)[0] ?? ''}; see above). ${REMEDY}`,
    };
  }
  return await locateBinaries(options.progress);
}

/** Programs that are already there; starts nothing. */
export async function locateBinaries(progress: (line: string) => void = () => {}): Promise<BinariesResult> {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets !== undefined && assets !== '') {
    const missing = await missingPrograms(assets, REQUIRED);
    if (missing.length === 0) return { kind: 'ready', binaries: await describe(assets) };
    progress(`KUBEBUILDER_ASSETS=${assets} lacks ${missing.join(', ')}; using the cache instead`);
  }
  const cached = cacheFolder();
  const missing = await missingPrograms(cached, ['etcd', ...BUILT_PROGRAMS]);
  if (missing.length === 0) return { kind: 'ready', binaries: await describe(cached) };
  return { kind: 'skip', reason: `${cached} lacks ${missing.join(', ')}. ${REMEDY}` };
}

/** For tests: the programs, or an error that says how to get them. */
export async function requireBinaries(): Promise<KubernetesBinaries> {
  const found = await locateBinaries();
  if (found.kind === 'ready') return found.binaries;
  throw new Error(`${found.reason} \`npm run e2e\` prepares them.`);
}

function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'];
  const cache = base === undefined || base === '' ? join(homedir(), '.cache') : base;
  return join(cache, 'gpuloom', `kubernetes-${KUBERNETES_VERSION}`);
}

async function describe(folder: string): Promise<KubernetesBinaries> {
  const withoutKubelet = (await missingPrograms(folder, ['kubelet'])).length > 0;
  return {
    folder,
    etcd: join(folder, 'etcd'),
    kubeApiserver: join(folder, 'kube-apiserver'),
    kubeControllerManager: join(folder, 'kube-controller-manager'),
    kubeScheduler: join(folder, 'kube-scheduler'),
    ...(withoutKubelet ? {} : { kubelet: join(folder, 'kubelet') }),
  };
}

async function missingPrograms(folder: string, names: readonly string[]): Promise<readonly string[]> {
  const checks = names.map((name) =>
    access(join(folder, name), constants.X_OK).then(
      () => [],
      () => [name],
    ),
  );
  return (await Promise.all(checks)).flat();
}
