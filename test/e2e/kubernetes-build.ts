// Builds the Kubernetes programs once from Debian source packages, inside a private folder: nothing is installed and
// no root rights are needed. Packages come through apt (signatures and hashes checked) with lists of their own.
// Must not touch the system's apt state. One build folder per process; the result appears by one rename, so a killed
// build leaves nothing that a later run could mistake for a result.

import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import {
  access,
  chmod,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  statfs,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { delimiter, join } from 'node:path';

export const KUBERNETES_VERSION = 'v1.20.2';
export const BUILT_PROGRAMS: readonly string[] = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
];

const RELEASE = 'bookworm';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const PACKAGES = ['etcd-server', 'golang-1.19-go', 'golang-1.19-src'];
const TOOLS = ['apt-get', 'dpkg-deb', 'tar', 'gzip', 'make', 'bash', 'find'];
const NEEDED_GIB = 5;
const GIB = 1024 ** 3;

export interface BuildOptions {
  /** The folder that will hold the programs; it does not exist yet. */
  readonly target: string;
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
}

/** What stands in the way of a build here, in words for a person, or undefined. */
export async function buildObstacle(cacheDir: string): Promise<string | undefined> {
  if (process.platform !== 'linux') return `the build needs Linux, this is ${process.platform}`;
  const missing: string[] = [];
  for (const tool of TOOLS) if ((await whichTool(tool)) === undefined) missing.push(tool);
  if (missing.length > 0) return `missing programs: ${missing.join(', ')} (a Debian machine with make has them)`;
  try {
    await access(KEYRING);
  } catch (cause) {
    return `no ${KEYRING} (package debian-archive-keyring): ${String(cause)}`;
  }
  await mkdir(cacheDir, { recursive: true });
  const disk = await statfs(cacheDir);
  const freeGiB = (disk.bavail * disk.bsize) / GIB;
  return freeGiB < NEEDED_GIB
    ? `${cacheDir} has ${freeGiB.toFixed(1)} GiB free, the build needs ${NEEDED_GIB}`
    : undefined;
}

/** Builds into `target`. Rejects with the failed step and the end of its log. */
export async function buildKubernetes(options: BuildOptions): Promise<void> {
  const work = `${options.target}.build-${process.pid}`;
  await removeAbandonedBuilds(options.target);
  await mkdir(work, { recursive: true });
  try {
    const steps = new BuildSteps(work, options);
    await steps.download();
    await steps.unpack();
    await steps.compile();
    await steps.collect();
    await publish(join(work, 'result'), options.target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

class BuildSteps {
  readonly #work: string;
  readonly #options: BuildOptions;
  readonly #sources: string;
  readonly #root: string;

  constructor(work: string, options: BuildOptions) {
    this.#work = work;
    this.#options = options;
    this.#sources = join(work, 'kubernetes');
    this.#root = join(work, 'root');
  }

  async download(): Promise<void> {
    const mirror = process.env['GPULOOM_DEBIAN_MIRROR'] ?? 'http://deb.debian.org/debian';
    const list = join(this.#work, 'sources.list');
    const entry = `[signed-by=${KEYRING}] ${mirror} ${RELEASE} main`;
    await writeFile(list, `deb ${entry}\ndeb-src ${entry}\n`);
    for (const folder of ['lists/partial', 'cache/archives/partial', 'downloads']) {
      await mkdir(join(this.#work, folder), { recursive: true });
    }
    const settings = [
      `Dir::Etc::sourcelist=${list}`,
      'Dir::Etc::sourceparts=/dev/null',
      'Dir::Etc::preferences=/dev/null',
      'Dir::Etc::preferencesparts=/dev/null',
      `Dir::State::Lists=${join(this.#work, 'lists')}`,
      `Dir::Cache=${join(this.#work, 'cache')}`,
      'APT::Sandbox::User=root',
      'APT::Update::Error-Mode=any',
      'Acquire::Retries=3',
    ].flatMap((setting) => ['-o', setting]);
    const cwd = join(this.#work, 'downloads');
    await this.#step('reading package lists', 'apt-get', [...settings, 'update'], cwd);
    await this.#step('downloading etcd and Go', 'apt-get', [...settings, 'download', ...PACKAGES], cwd);
    const source = [...settings, 'source', '--download-only', 'kubernetes'];
    await this.#step('downloading the Kubernetes source', 'apt-get', source, cwd);
  }

  async unpack(): Promise<void> {
    const downloads = join(this.#work, 'downloads');
    const names = await readdir(downloads);
    for (const name of names.filter((name) => name.endsWith('.deb'))) {
      await this.#step(`unpacking ${name}`, 'dpkg-deb', ['-x', join(downloads, name), this.#root], this.#work);
    }
    const archive = names.find((name) => name.startsWith('kubernetes_') && name.endsWith('.orig.tar.gz'));
    if (archive === undefined) throw new Error(`no kubernetes_*.orig.tar.gz among ${names.join(', ')}`);
    await mkdir(join(this.#sources, '.go/src/k8s.io'), { recursive: true });
    await symlink('../../..', join(this.#sources, '.go/src/k8s.io/kubernetes'));
    const args = ['-xzf', join(downloads, archive), '--strip-components=1', '-C', this.#sources];
    await this.#step('unpacking the Kubernetes source', 'tar', args, this.#work);
  }

  async compile(): Promise<void> {
    const programs = join(this.#work, 'bin');
    await mkdir(programs, { recursive: true });
    // The make files call only `rsync -pc FILE FOLDER`, which this stands in for where rsync is not installed.
    await writeFile(join(programs, 'rsync'), '#!/bin/sh\nexec cp -p "$2" "$3"\n');
    await chmod(join(programs, 'rsync'), 0o755);
    const goRoot = join(this.#root, 'usr/lib/go-1.19');
    const env: NodeJS.ProcessEnv = {
      // Debian's own Go first: a newer one elsewhere does not build this tree.
      PATH: [programs, join(goRoot, 'bin'), process.env['PATH'] ?? '/usr/bin:/bin'].join(delimiter),
      HOME: this.#work,
      GOROOT: goRoot,
      GOPATH: join(this.#sources, '.go'),
      GOCACHE: join(this.#work, 'go-cache'),
      GO111MODULE: 'off',
      CGO_ENABLED: '0',
      KUBE_GIT_VERSION: KUBERNETES_VERSION,
      KUBE_GIT_TREE_STATE: 'archive',
      KUBE_GIT_COMMIT: 'debian',
      KUBE_GIT_MAJOR: '1',
      KUBE_GIT_MINOR: '20',
    };
    const what = BUILT_PROGRAMS.map((name) => `cmd/${name}`).join(' ');
    const about = `compiling Kubernetes ${KUBERNETES_VERSION} (once; about ${Math.ceil(10 / availableParallelism())} minutes here)`;
    await this.#step(about, 'make', [`WHAT=${what}`], this.#sources, env);
  }

  async collect(): Promise<void> {
    const result = join(this.#work, 'result');
    await mkdir(result, { recursive: true });
    for (const name of BUILT_PROGRAMS) await copyFile(join(this.#sources, '_output/bin', name), join(result, name));
    await copyFile(join(this.#root, 'usr/bin/etcd'), join(result, 'etcd'));
  }

  async #step(
    about: string,
    command: string,
    args: readonly string[],
    cwd: string,
    env: NodeJS.ProcessEnv = process.env,
  ): Promise<void> {
    this.#options.progress(about);
    const logFile = join(this.#work, 'build.log');
    const startMillis = Date.now();
    const ticker = setInterval(() => {
      this.#options.progress(`${about}: ${Math.round((Date.now() - startMillis) / 1000)} s so far`);
    }, 20_000);
    try {
      const code = await runLogged({ command, args, cwd, env, logFile, signal: this.#options.signal });
      if (code !== 0) {
        const log = await readFile(logFile, 'utf8');
        throw new Error(`${about}: ${command} ended with ${code}\n${log.trimEnd().split('\n').slice(-12).join('\n')}`);
      }
    } finally {
      clearInterval(ticker);
    }
  }
}

interface LoggedRun {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  readonly signal: AbortSignal;
}

function runLogged(run: LoggedRun): Promise<string | number> {
  run.signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const log = createWriteStream(run.logFile, { flags: 'a' });
    // A group of its own, so that an interrupt ends make and all compilers below it.
    const child = spawn(run.command, run.args, {
      cwd: run.cwd,
      env: run.env,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    const abort = (): void => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    };
    run.signal.addEventListener('abort', abort, { once: true });
    child.on('error', reject);
    child.on('close', (code, signalName) => {
      run.signal.removeEventListener('abort', abort);
      log.end(() => resolve(code ?? signalName ?? 'no exit status'));
    });
  });
}

/** First come, first served: when another run finished meanwhile, its result stays. */
async function publish(result: string, target: string): Promise<void> {
  try {
    await rename(result, target);
  } catch (cause) {
    const taken = cause instanceof Error && 'code' in cause && (cause.code === 'ENOTEMPTY' || cause.code === 'EEXIST');
    if (!taken) throw cause;
  }
}

async function removeAbandonedBuilds(target: string): Promise<void> {
  const parent = join(target, '..');
  const prefix = `${target.slice(parent.length + 1)}.build-`;
  for (const name of await readdir(parent)) {
    if (name.startsWith(prefix) && !isRunning(Number(name.slice(prefix.length)))) {
      await rm(join(parent, name), { recursive: true, force: true });
    }
  }
}

/** Whether a process with this id exists. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return cause instanceof Error && 'code' in cause && cause.code === 'EPERM';
  }
}

/** The first folder of PATH (and the system's administration folders) that holds this program. */
export async function whichTool(tool: string): Promise<string | undefined> {
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    const candidate = join(folder, tool);
    const found = await access(candidate).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  return undefined;
}
