// Unix socket files in the kubelet's directory: names, leftovers and identity. Holds no state.
// Must remove only sockets that carry our own prefix and that nobody listens on.

import { statSync } from 'node:fs';
import { readdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { messageOf } from './events.ts';

/** Size of `sun_path` less the closing zero byte. */
const MAX_SOCKET_PATH_BYTES = 107;
const SUFFIX_LENGTH = '-00000000.sock'.length;

/** Throws when sockets with this prefix could not be made in this directory. */
export function checkSocketPrefix(directory: string, prefix: string): void {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(prefix)) {
    throw new RangeError(`Socket prefix "${prefix}" may hold only lower-case letters, digits and dashes`);
  }
  const bytes = Buffer.byteLength(join(directory, prefix)) + SUFFIX_LENGTH;
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new RangeError(
      `Sockets "${join(directory, prefix)}-….sock" would have paths of ${bytes} bytes and unix sockets allow ${MAX_SOCKET_PATH_BYTES}: use a shorter directory or prefix`,
    );
  }
}

/** Removes what earlier runs left behind and returns the paths. A socket with a listener belongs to a living plugin. */
export async function removeStaleSockets(directory: string, prefix: string): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await readdir(directory)) {
    if (!name.startsWith(`${prefix}-`) || !/^-[0-9a-f]{8}\.sock$/.test(name.slice(prefix.length))) continue;
    const path = join(directory, name);
    if (!(await isAbandoned(path))) continue;
    if (await unlinkIfPresent(path)) removed.push(path);
  }
  return removed;
}

async function unlinkIfPresent(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    // The kubelet wipes this directory too.
    if (isMissing(error)) return false;
    throw new Error(`Cannot remove the abandoned socket ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.on('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.on('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ECONNREFUSED');
    });
  });
}

/** Tells a file from a later one of the same name, also when the inode number is used again. Undefined: no such file. */
export function fileIdentity(path: string): string | undefined {
  try {
    const found = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (found === undefined) return undefined;
    const { dev, ino, ctimeNs } = found;
    return `${dev}:${ino}:${ctimeNs}`;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new Error(`Cannot look at ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
