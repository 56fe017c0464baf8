// Container images made on the spot, as docker-archive files that `ctr images import` takes: no registry, no download.
// An image here has one layer, made of named entries. Pure but for reading busybox; owns no file.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import type { NodeBinaries } from './node-binaries.ts';

export type LayerEntry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly content: Uint8Array; readonly mode: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string };

export interface Image {
  /** With host and tag, such as `gpuloom.local/busybox:1`; pods name it so, with `imagePullPolicy: Never`. */
  readonly reference: string;
  readonly entries: readonly LayerEntry[];
  readonly command: readonly string[];
}

export const BUSYBOX_IMAGE = 'gpuloom.local/busybox:1';
/** What holds a pod's namespaces open. */
export const PAUSE_IMAGE = 'gpuloom.local/pause:1';

const BLOCK = 512;
const APPLETS = ['sh', 'echo', 'cat', 'env', 'base64', 'sleep', 'true', 'false', 'ls', 'tr', 'test', 'kill'];

/** The two images that every node needs. */
export async function nodeImages(binaries: NodeBinaries): Promise<readonly Image[]> {
  const busybox: LayerEntry = {
    kind: 'file',
    path: 'bin/busybox',
    content: await readFile(binaries.busybox),
    mode: 0o755,
  };
  const applets = APPLETS.map((name): LayerEntry => ({ kind: 'link', path: `bin/${name}`, target: 'busybox' }));
  const folders = ['bin', 'tmp', 'etc'].map((path): LayerEntry => ({ kind: 'folder', path }));
  const entries = [...folders, busybox, ...applets];
  return [
    { reference: BUSYBOX_IMAGE, entries, command: ['/bin/sh'] },
    { reference: PAUSE_IMAGE, entries, command: ['/bin/sleep', '2147483647'] },
  ];
}

/** The image as one docker-archive. */
export function dockerArchive(image: Image): Uint8Array {
  const layer = tar(image.entries);
  const config = {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Cmd: image.command, Env: ['PATH=/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(layer).digest('hex')}`] },
  };
  const manifest = [{ Config: 'config.json', RepoTags: [image.reference], Layers: ['layer.tar'] }];
  const json = (path: string, value: unknown): LayerEntry => {
    return { kind: 'file', path, content: Buffer.from(JSON.stringify(value)), mode: 0o644 };
  };
  const archived: LayerEntry = { kind: 'file', path: 'layer.tar', content: layer, mode: 0o644 };
  return tar([json('manifest.json', manifest), json('config.json', config), archived]);
}

function tar(entries: readonly LayerEntry[]): Uint8Array {
  const parts = entries.flatMap((entry) => {
    const content = entry.kind === 'file' ? Buffer.from(entry.content) : Buffer.alloc(0);
    const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK);
    return [tarHeader(entry, content.length), content, padding];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

/** A ustar header: fixed fields of octal text, with the sum over the header's bytes in one of them. */
function tarHeader(entry: LayerEntry, size: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  const name = entry.kind === 'folder' ? `${entry.path}/` : entry.path;
  if (Buffer.byteLength(name) > 100) throw new Error(`${name} is longer than the 100 bytes that tar has for a name`);
  const octal = (value: number, offset: number, digits: number): void => {
    header.write(value.toString(8).padStart(digits, '0'), offset);
  };
  header.write(name, 0);
  octal(entry.kind === 'file' ? entry.mode : 0o755, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(size, 124, 11);
  octal(0, 136, 11);
  header.fill(' ', 148, 156);
  header.write({ file: '0', link: '2', folder: '5' }[entry.kind], 156);
  if (entry.kind === 'link') header.write(entry.target, 157);
  header.write('ustar\x0000', 257);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    6,
  );
  header.write('\0 ', 154);
  return header;
}
