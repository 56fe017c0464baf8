// The Lease object as it goes over the wire: reading what is there, and the bodies of every write. Pure.
// Times in a Lease are for people; no decision here or elsewhere compares them with a local clock.

import { isRecord, stringAt } from './kube-api.ts';
import { microTime } from './micro-time.ts';

export interface LeaseRecord {
  /** Empty when nobody holds the lease. */
  readonly holder: string;
  readonly leaseDurationMillis: number;
  readonly transitions: number;
  readonly resourceVersion: string;
  /** The whole object, so that a write keeps the fields this version does not know. */
  readonly raw: Readonly<Record<string, unknown>>;
}

export function readLease(body: unknown): LeaseRecord | undefined {
  const resourceVersion = stringAt(body, 'metadata', 'resourceVersion');
  if (!isRecord(body) || resourceVersion === undefined) return undefined;
  const spec = specOf(body);
  return {
    holder: stringAt(spec, 'holderIdentity') ?? '',
    leaseDurationMillis: numberAt(spec, 'leaseDurationSeconds') * 1000,
    transitions: numberAt(spec, 'leaseTransitions'),
    resourceVersion,
    raw: body,
  };
}

export interface Holding {
  readonly identity: string;
  readonly leaseDurationMillis: number;
  readonly wallMillis: number;
}

export function newLease(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  transitions: number,
  holding: Holding,
): unknown {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { namespace, name },
    spec: { ...holdingSpec(holding), acquireTime: microTime(holding.wallMillis), leaseTransitions: transitions },
  };
}

/** Every acquisition counts as a transition, also by the same holder: the number is the epoch of a leader's term. */
export function acquiredLease(record: LeaseRecord, holding: Holding): unknown {
  return withSpec(record, {
    ...holdingSpec(holding),
    acquireTime: microTime(holding.wallMillis),
    leaseTransitions: record.transitions + 1,
  });
}

export function renewedLease(record: LeaseRecord, holding: Holding): unknown {
  return withSpec(record, holdingSpec(holding));
}

/** Nobody holds it, so the next candidate need not wait. */
export function releasedLease(record: LeaseRecord, wallMillis: number): unknown {
  return withSpec(record, { holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(wallMillis) });
}

function holdingSpec(holding: Holding): Readonly<Record<string, unknown>> {
  return {
    holderIdentity: holding.identity,
    leaseDurationSeconds: Math.max(1, Math.ceil(holding.leaseDurationMillis / 1000)),
    renewTime: microTime(holding.wallMillis),
  };
}

function withSpec(record: LeaseRecord, spec: Readonly<Record<string, unknown>>): unknown {
  return { ...record.raw, spec: { ...specOf(record.raw), ...spec } };
}

function specOf(body: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return isRecord(body['spec']) ? body['spec'] : {};
}

function numberAt(spec: Readonly<Record<string, unknown>>, key: string): number {
  const value = spec[key];
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
