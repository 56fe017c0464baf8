// The JSON of a live extender's /snapshot as a cluster to replay. The core decides what a snapshot is.

import { readSnapshot } from '../../extender/core/snapshot.ts';
import { compareText, fullName, withoutOrphans, type LiveCluster } from './cluster.ts';
import { finding } from './finding.ts';
import { documentFault } from './list-items.ts';

const HOW = 'take one from the ops listener of the leader: curl http://HOST:PORT/snapshot';
/** What fits one text of the runtime. */
const MAX_BYTES: number = 500 << 20;

export interface SnapshotFileOptions {
  readonly file: string;
  readonly skipOrphans: boolean;
}

export async function readSnapshotFile(
  chunks: AsyncIterable<Buffer>,
  { file, skipOrphans }: SnapshotFileOptions,
): Promise<LiveCluster> {
  const reading = readSnapshot(parse(await textOf(chunks, file), file));
  if (reading.kind === 'invalid') throw documentFault(file, '', reading.why, HOW);
  const { nodes, residents: all, pending, markedUnhealthy, mix } = reading.snapshot;
  const positions = new Map(all.map(({ uid }, at) => [uid, at]));
  const pathOf = ({ uid }: { readonly uid: string }): string => `residents[${positions.get(uid) ?? 0}].nodeName`;
  const { residents, findings } = withoutOrphans(all, nodes, { file, pathOf, skip: skipOrphans });
  // A pod whose Binding is in flight has a place already, though the API server has not shown it there.
  const placed = new Set(all.map(({ pod }) => pod.uid));
  const untimed = [...residents.map(({ pod }) => pod), ...pending].filter(
    ({ demand, createdSeconds = 0 }) => demand.kind !== 'none' && createdSeconds === 0,
  );
  return {
    kind: 'snapshot',
    nodes: [...nodes].sort((a, b) => compareText(a.name, b.name)),
    residents: [...residents].sort((a, b) => compareText(a.uid, b.uid)),
    waiting: pending.filter(({ uid }) => !placed.has(uid)).sort((a, b) => compareText(a.uid, b.uid)),
    markedUnhealthy,
    mix,
    findings: [
      ...findings,
      ...finding(
        'incomplete',
        'creation times are missing: such pods come first, in order of name',
        untimed.map(fullName),
      ),
    ],
  };
}

async function textOf(chunks: AsyncIterable<Buffer>, file: string): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw documentFault(file, '', `the document is longer than ${MAX_BYTES} bytes`, HOW);
    parts.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts));
  } catch {
    throw documentFault(file, '', 'the document is not UTF-8 text', HOW);
  }
}

function parse(text: string, file: string): unknown {
  if (text.trim() === '') throw documentFault(file, '', 'the document is empty', HOW);
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const isShort = /end of JSON|Unterminated/.test(why) || /position (\d+)/.exec(why)?.[1] === String(text.length);
    const what = isShort ? `the document is cut short after ${text.length} characters` : `not JSON (${why})`;
    throw documentFault(file, '', what, HOW);
  }
}
