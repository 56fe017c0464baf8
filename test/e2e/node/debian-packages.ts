// Fetches Debian packages of stated releases and unpacks them below a folder, without installing anything: apt gets
// package lists, a cache and sources of its own, and still checks signatures and hashes. Must not touch the system's
// apt state. Calls are independent as long as their work folders are.

import { execFile } from 'node:child_process';
import { access, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { whichTool } from '../kubernetes-build.ts';

export type DebianRelease = 'bookworm' | 'trixie';

export interface PackageSet {
  readonly release: DebianRelease;
  readonly packages: readonly string[];
  /** The folder that takes the place of `/` for the packages' files. */
  readonly root: string;
}

export interface FetchOptions {
  /** An empty folder for lists, caches and downloads; the caller removes it. */
  readonly work: string;
  readonly progress: (line: string) => void;
  readonly signal: AbortSignal;
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const RELEASES: readonly DebianRelease[] = ['bookworm', 'trixie'];

/** Why packages cannot be fetched here, in words for a person, or undefined. */
export async function packagesObstacle(): Promise<string | undefined> {
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if ((await whichTool(tool)) === undefined) return `${tool} is missing (a Debian machine has it)`;
  }
  const keyring = await access(KEYRING).then(
    () => true,
    () => false,
  );
  return keyring ? undefined : `${KEYRING} is missing (package debian-archive-keyring)`;
}

/** Rejects with apt's or dpkg's own words. */
export async function unpackPackages(sets: readonly PackageSet[], options: FetchOptions): Promise<void> {
  const settings = await aptSettings(options.work);
  options.progress('reading Debian package lists');
  await run('apt-get', [...settings, 'update'], options.work, options.signal);
  for (const { release, packages, root } of sets) {
    const downloads = join(options.work, `${release}-packages`);
    await mkdir(downloads, { recursive: true });
    options.progress(`downloading ${packages.join(', ')} of ${release}`);
    const wanted = packages.map((name) => `${name}/${release}`);
    await run('apt-get', [...settings, 'download', ...wanted], downloads, options.signal);
    for (const file of await readdir(downloads)) {
      await run('dpkg-deb', ['-x', join(downloads, file), root], downloads, options.signal);
    }
  }
}

async function aptSettings(work: string): Promise<readonly string[]> {
  const mirror = process.env['GPULOOM_DEBIAN_MIRROR'] ?? 'http://deb.debian.org/debian';
  const list = join(work, 'sources.list');
  await writeFile(list, RELEASES.map((release) => `deb [signed-by=${KEYRING}] ${mirror} ${release} main\n`).join(''));
  for (const folder of ['lists/partial', 'cache/archives/partial'])
    await mkdir(join(work, folder), { recursive: true });
  return [
    `Dir::Etc::sourcelist=${list}`,
    'Dir::Etc::sourceparts=/dev/null',
    'Dir::Etc::preferences=/dev/null',
    'Dir::Etc::preferencesparts=/dev/null',
    `Dir::State::Lists=${join(work, 'lists')}`,
    `Dir::Cache=${join(work, 'cache')}`,
    'APT::Sandbox::User=root',
    'APT::Update::Error-Mode=any',
    'Acquire::Languages=none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    'Acquire::Retries=3',
  ].flatMap((setting) => ['-o', setting]);
}

async function run(command: string, args: readonly string[], cwd: string, signal: AbortSignal): Promise<void> {
  try {
    await promisify(execFile)(command, args, { cwd, signal, maxBuffer: 16 * 1024 * 1024 });
  } catch (cause) {
    signal.throwIfAborted();
    const words = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : String(cause);
    throw new Error(`${command} failed: ${words.split('\n').slice(-5).join('; ')}`, { cause });
  }
}
