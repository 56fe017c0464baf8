// Finds the programs that make this machine a Kubernetes node: the kubelet built with the control plane, and containerd,
// runc, the loopback network plugin and busybox from Debian packages, unpacked once into the user's cache and never
// installed. Answers with a reason in words where a node cannot run; never throws for a missing prerequisite.

import { constants } from 'node:fs';
import { access, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { locateBinaries } from '../binaries.ts';
import { isRunning, whichTool } from '../kubernetes-build.ts';
import { cgroupObstacle } from './cgroups.ts';
import { packagesObstacle, unpackPackages } from './debian-packages.ts';

/** 1.7 knows CDI; 1.6 does not. */
export type ContainerRuntime = 'containerd-1.7' | 'containerd-1.6';

export interface NodeBinaries {
  readonly kubelet: string;
  readonly runc: string;
  readonly busybox: string;
  /** Folder of the CNI plugins. */
  readonly networkPlugins: string;
  /** Folder with containerd, its shims and ctr. */
  readonly runtimes: Readonly<Record<ContainerRuntime, string>>;
}

export type NodeBinariesResult =
  { readonly kind: 'ready'; readonly binaries: NodeBinaries } | { readonly kind: 'skip'; readonly reason: string };

export interface ObtainNodeOptions {
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Changes whenever the packages below do, so that an older cache is not taken for them. */
const CACHE_NAME = 'node-1';
const TOOLS = ['setpriv', 'unshare', 'nsenter', 'mount', 'bash'];

/** Ready programs, fetching them (about 70 MB, once) where that is possible and needed. */
export async function obtainNodeBinaries(options: ObtainNodeOptions): Promise<NodeBinariesResult> {
  const obstacle = await nodeObstacle();
  if (obstacle !== undefined) return { kind: 'skip', reason: `no node can run here: ${obstacle}` };
  const programs = await locateBinaries();
  if (programs.kind === 'skip') return programs;
  const { kubelet, folder } = programs.binaries;
  if (kubelet === undefined) return { kind: 'skip', reason: `${folder} has no kubelet. Mend: put one there.` };
  const target = join(cacheFolder(), CACHE_NAME);
  const binaries = describe(target, kubelet);
  if ((await missing(binaries)).length === 0) return { kind: 'ready', binaries };
  const unfetchable = await packagesObstacle();
  if (unfetchable !== undefined) return { kind: 'skip', reason: `no container runtime, and ${unfetchable}` };
  await fetchPackages(target, options);
  const absent = await missing(binaries);
  if (absent.length > 0) throw new Error(`the packages did not contain ${absent.join(', ')}`);
  return { kind: 'ready', binaries };
}

/** For tests: the programs, or undefined after saying why not. Fails instead where the real cluster is required. */
export async function nodeBinariesOrSkip(): Promise<NodeBinaries | undefined> {
  const progress = (line: string): void => console.error(`e2e: ${line}`);
  const found = await obtainNodeBinaries({ progress, signal: AbortSignal.timeout(300_000) });
  if (found.kind === 'ready') return found.binaries;
  if ((process.env['GPULOOM_E2E_REQUIRED'] ?? '') !== '') throw new Error(found.reason);
  progress(`tests of a real node are skipped: ${found.reason}`);
  return undefined;
}

async function nodeObstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux') return `it needs Linux, this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'it needs root, for namespaces and cgroups';
  for (const tool of TOOLS) if ((await whichTool(tool)) === undefined) return `${tool} is missing`;
  return await cgroupObstacle();
}

async function fetchPackages(target: string, options: ObtainNodeOptions): Promise<void> {
  const parent = cacheFolder();
  const prefix = `${CACHE_NAME}.fetch-`;
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) {
    if (name.startsWith(prefix) && !isRunning(Number(name.slice(prefix.length)))) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
  const work = join(parent, `${prefix}${process.pid}`);
  const result = join(work, 'result');
  await mkdir(result, { recursive: true });
  try {
    const shared = ['runc', 'containernetworking-plugins', 'busybox-static'];
    await unpackPackages(
      [
        { release: 'bookworm', packages: ['containerd', ...shared], root: join(result, 'bookworm') },
        { release: 'trixie', packages: ['containerd'], root: join(result, 'trixie') },
      ],
      { work, ...options },
    );
    // What is there lacks a program, and a folder that exists would keep the result out.
    await rm(target, { recursive: true, force: true });
    await rename(result, target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function describe(folder: string, kubelet: string): NodeBinaries {
  return {
    kubelet,
    runc: join(folder, 'bookworm/usr/sbin/runc'),
    busybox: join(folder, 'bookworm/bin/busybox'),
    networkPlugins: join(folder, 'bookworm/usr/lib/cni'),
    runtimes: {
      'containerd-1.7': join(folder, 'trixie/usr/bin'),
      'containerd-1.6': join(folder, 'bookworm/usr/bin'),
    },
  };
}

async function missing(binaries: NodeBinaries): Promise<readonly string[]> {
  const files = [
    binaries.runc,
    binaries.busybox,
    join(binaries.networkPlugins, 'loopback'),
    ...Object.values(binaries.runtimes).flatMap((folder) => [join(folder, 'containerd'), join(folder, 'ctr')]),
  ];
  const checks = files.map((file) =>
    access(file, constants.X_OK).then(
      () => [],
      () => [file],
    ),
  );
  return (await Promise.all(checks)).flat();
}

function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'];
  return join(base === undefined || base === '' ? join(homedir(), '.cache') : base, 'gpuloom');
}
