// Reads the kubelet's device checkpoint: which pod UID and container hold which device ids, on disk and so also known
// while the kubelet is down. A second witness beside PodResources, which names pods but not their UIDs.
// Read-only, never throws: what cannot be understood is told as a value. The checksum is not verified (it covers Go's
// in-memory layout); the kubelet replaces the file by a rename, so a read never sees half of one.

import { readFile, stat } from 'node:fs/promises';
import { messageOf } from './events.ts';

export interface CheckpointEntry {
  readonly podUid: string;
  readonly container: string;
  readonly resourceName: string;
  readonly deviceIds: readonly string[];
  /** The encoded ContainerAllocateResponse that the kubelet uses at every start of the container. */
  readonly allocation: Buffer;
}

export type CheckpointReading =
  | {
      readonly kind: 'read';
      readonly entries: readonly CheckpointEntry[];
      /** Ids that the kubelet knew per resource when it wrote the file. */
      readonly registered: ReadonlyMap<string, readonly string[]>;
      /** What was left out and why; an honest checkpoint has none. */
      readonly problems: readonly string[];
    }
  /** No file: the kubelet takes the node for a new one. */
  | { readonly kind: 'missing' }
  | { readonly kind: 'unreadable'; readonly message: string };

export const CHECKPOINT_FILE = 'kubelet_internal_checkpoint';
const MAX_CHECKPOINT_BYTES = 64 * 2 ** 20;

export async function readCheckpoint(path: string): Promise<CheckpointReading> {
  try {
    const { size } = await stat(path);
    if (size > MAX_CHECKPOINT_BYTES) return unreadable(`${path} has ${size} bytes; no kubelet writes that much`);
    return parseCheckpoint(await readFile(path, 'utf8'));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return { kind: 'missing' };
    return unreadable(`Cannot read ${path}: ${messageOf(error)}`);
  }
}

export function parseCheckpoint(text: string): CheckpointReading {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    return unreadable(`The kubelet's checkpoint is not JSON: ${messageOf(error)}`);
  }
  // Kubelets before 1.10 wrote the data without an envelope.
  const data = recordOf(recordOf(content)?.['Data']) ?? recordOf(content);
  const listed = data?.['PodDeviceEntries'] ?? [];
  if (data === undefined || !Array.isArray(listed)) {
    return unreadable("The kubelet's checkpoint has no list PodDeviceEntries; its format is not known here");
  }
  const entries: CheckpointEntry[] = [];
  const problems: string[] = [];
  for (const [index, value] of listed.entries()) {
    const entry = entryOf(value);
    if (typeof entry === 'string') problems.push(`entry ${index} of the kubelet's checkpoint ${entry}`);
    else entries.push(entry);
  }
  return { kind: 'read', entries, registered: registeredOf(data['RegisteredDevices'], problems), problems };
}

/** The entry, or what is wrong with it. */
function entryOf(value: unknown): CheckpointEntry | string {
  const entry = recordOf(value);
  if (entry === undefined) return 'is not an object';
  const { PodUID: podUid, ContainerName: container, ResourceName: resourceName, AllocResp: allocation } = entry;
  if (typeof podUid !== 'string' || podUid === '') return 'has no PodUID';
  if (typeof container !== 'string' || container === '') return 'has no ContainerName';
  if (typeof resourceName !== 'string' || resourceName === '') return 'has no ResourceName';
  const deviceIds = deviceIdsOf(entry['DeviceIDs']);
  if (deviceIds === undefined) return 'has no DeviceIDs that could be understood';
  const encoded = typeof allocation === 'string' ? Buffer.from(allocation, 'base64') : Buffer.alloc(0);
  return { podUid, container, resourceName, deviceIds, allocation: encoded };
}

/** A list before 1.20, a map from NUMA node to list since. */
function deviceIdsOf(value: unknown): string[] | undefined {
  const lists = Array.isArray(value) ? [value] : Object.values(recordOf(value) ?? { none: undefined });
  const ids: string[] = [];
  for (const list of lists) {
    if (!Array.isArray(list)) return undefined;
    for (const id of list) {
      if (typeof id !== 'string') return undefined;
      ids.push(id);
    }
  }
  return ids;
}

function registeredOf(value: unknown, problems: string[]): Map<string, readonly string[]> {
  const registered = new Map<string, readonly string[]>();
  for (const [resourceName, list] of Object.entries(recordOf(value) ?? {})) {
    // Go writes a nil slice as null.
    const ids = list === null ? [] : deviceIdsOf(list);
    if (ids === undefined) problems.push(`the kubelet's checkpoint lists no ids for the registered ${resourceName}`);
    else registered.set(resourceName, ids);
  }
  return registered;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

function unreadable(message: string): CheckpointReading {
  return { kind: 'unreadable', message };
}
