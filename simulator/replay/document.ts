// Opens the document to replay: a file, or stdin for `-`.

import { createReadStream } from 'node:fs';

import type { Profile } from '../../extender/core/resources.ts';
import { TraceFault } from '../trace/fault.ts';
import type { LiveCluster } from './cluster.ts';
import { readKubectlList } from './kubectl-list.ts';
import { documentFault } from './list-items.ts';
import { readSnapshotFile } from './snapshot-file.ts';

const CHUNK_BYTES: number = 1 << 20;

export interface DocumentFlags {
  readonly snapshot?: string;
  readonly kubectl?: string;
  readonly profile: Profile;
  readonly skipOrphans: boolean;
}

/** The name to show for a document. */
export function documentName({ snapshot, kubectl }: Pick<DocumentFlags, 'snapshot' | 'kubectl'>): string {
  const file = snapshot ?? kubectl ?? '';
  return file === '-' ? 'stdin' : file;
}

export async function readDocument({ snapshot, kubectl, profile, skipOrphans }: DocumentFlags): Promise<LiveCluster> {
  const path = snapshot ?? kubectl;
  if (path === undefined || (snapshot !== undefined && kubectl !== undefined)) {
    throw new TraceFault('replay needs one document; give --snapshot FILE or --kubectl FILE');
  }
  const file = documentName({ snapshot: path });
  const chunks = buffers(path, file);
  return snapshot === undefined
    ? readKubectlList(chunks, { file, profile, skipOrphans })
    : readSnapshotFile(chunks, { file, skipOrphans });
}

async function* buffers(path: string, file: string): AsyncGenerator<Buffer> {
  const stream: AsyncIterable<unknown> =
    path === '-' ? process.stdin : createReadStream(path, { highWaterMark: CHUNK_BYTES });
  const chunks = stream[Symbol.asyncIterator]();
  for (;;) {
    let next: IteratorResult<unknown>;
    try {
      next = await chunks.next();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw documentFault(file, '', `cannot be read (${reason})`, 'check the path and its permissions');
    }
    if (next.done === true) return;
    if (Buffer.isBuffer(next.value)) yield next.value;
  }
}
