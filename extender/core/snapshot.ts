// The whole state of the engine as versioned JSON, for support, what-if and replay. Reading checks the version, the
// outer form and every record; the records are those of `records.ts`.

import type { Ledger } from './ledger.ts';
import type { Resident } from './resident.ts';
import type { LearnedMix, MixLearner } from './mix.ts';
import type { NodeRecord, PodRecord } from './model.ts';
import { findRecordFault, type RecordFault } from './snapshot-check.ts';

export const SNAPSHOT_VERSION: number = 1;

export interface Snapshot {
  readonly kind: 'gpuloom-snapshot';
  readonly version: number;
  readonly nodes: readonly NodeRecord[];
  readonly residents: readonly Omit<Resident, 'positions'>[];
  /** GPU pods that are not bound yet. */
  readonly pending: readonly PodRecord[];
  /** GPU indices marked unhealthy from outside the inventory, by node name. */
  readonly markedUnhealthy: readonly (readonly [nodeName: string, indices: readonly number[]])[];
  /** What the typical mix was learned from. */
  readonly mix: LearnedMix;
}

/** What a snapshot is taken of. */
export interface SnapshotSource {
  readonly ledger: Ledger;
  readonly learner: MixLearner;
}

/** Everything the engine knows, in name and UID order, with the pods that wait. */
export function takeSnapshot({ ledger, learner }: SnapshotSource, pending: Iterable<PodRecord> = []): Snapshot {
  const nodes = [...ledger.nodes()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const residents = [...ledger.residents()]
    .sort((a, b) => (a.uid < b.uid ? -1 : 1))
    .map(({ positions: _positions, ...resident }) => resident);
  const markedUnhealthy = nodes
    .map(({ name }) => [name, [...ledger.markedUnhealthy(name)].sort((a, b) => a - b)] as const)
    .filter(([, indices]) => indices.length > 0);
  return {
    kind: 'gpuloom-snapshot',
    version: SNAPSHOT_VERSION,
    nodes,
    residents,
    pending: [...pending].sort((a, b) => (a.uid < b.uid ? -1 : 1)),
    markedUnhealthy,
    mix: learner.save(),
  };
}

export type SnapshotReading =
  { readonly kind: 'snapshot'; readonly snapshot: Snapshot } | { readonly kind: 'invalid'; readonly why: string };

/** Checks that a parsed JSON value is a whole snapshot of a version this build reads; `why` names the path at fault. */
export function readSnapshot(value: unknown): SnapshotReading {
  if (typeof value !== 'object' || value === null || !('kind' in value) || value.kind !== 'gpuloom-snapshot') {
    return { kind: 'invalid', why: 'not a gpuloom snapshot; take one from GET /snapshot of the ops listener' };
  }
  const snapshot = value as Snapshot;
  if (snapshot.version !== SNAPSHOT_VERSION) {
    return {
      kind: 'invalid',
      why: `snapshot version ${versionText(snapshot.version)}; this build reads version ${SNAPSHOT_VERSION}`,
    };
  }
  const { nodes, residents, pending, markedUnhealthy, mix } = snapshot;
  const lists: readonly unknown[] = [nodes, residents, pending, markedUnhealthy, mix?.seen, mix?.typical];
  if (!lists.every((each) => Array.isArray(each))) {
    return { kind: 'invalid', why: 'snapshot lacks nodes, residents, pending, markedUnhealthy or mix' };
  }
  const fault = findRecordFault(snapshot) ?? findRepeated(snapshot);
  return fault === undefined ? { kind: 'snapshot', snapshot } : { kind: 'invalid', why: `${fault.path} ${fault.what}` };
}

function versionText(version: unknown): string {
  return version === undefined ? 'is missing' : JSON.stringify(version).slice(0, 20);
}

/** Nodes and residents go by name and UID: one that comes twice would silently take the place of the other. */
function findRepeated({ nodes, residents, pending }: Snapshot): RecordFault | undefined {
  return (
    repeated('nodes', nodes, ({ name }) => name) ??
    repeated('residents', residents, ({ uid }) => uid) ??
    repeated('pending', pending, ({ uid }) => uid)
  );
}

function repeated<T>(list: string, records: readonly T[], keyOf: (record: T) => string): RecordFault | undefined {
  const firstAt = new Map<string, number>();
  for (const [at, record] of records.entries()) {
    const key = keyOf(record);
    const first = firstAt.get(key);
    if (first !== undefined) return { path: `${list}[${at}]`, what: `is ${key}, as ${list}[${first}] is already` };
    firstAt.set(key, at);
  }
  return undefined;
}

/** Loads a snapshot into an empty engine. Pods that wait are the caller's to offer again. */
export function restoreSnapshot({ ledger, learner }: SnapshotSource, snapshot: Snapshot): void {
  for (const node of snapshot.nodes) ledger.upsertNode(node);
  for (const [name, indices] of snapshot.markedUnhealthy) ledger.markUnhealthy(name, new Set(indices));
  for (const resident of snapshot.residents) ledger.adopt({ ...resident, positions: [] });
  learner.load(snapshot.mix);
}
