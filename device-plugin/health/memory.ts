// What the agent must not forget over a restart: faults that are not over, and quarantines. Pure: states to plain JSON and
// back. Monotonic time starts anew with each process, so ages are kept, together with the wall clock of their writing.

import type { Ailment, GpuHealthState } from './state.ts';

export const HEALTH_MEMORY_VERSION = 1;
const MAX_CHARACTERS = 64 * 1024;
const MAX_REASON_CHARACTERS = 300;
const MAX_FAILURES = 100;

interface RememberedGpu {
  readonly failureAgesMillis: readonly number[];
  readonly ailment?: {
    readonly reason: string;
    readonly faultAgeMillis: number;
    readonly quarantineLeftMillis?: number;
  };
}

/** Nothing of a memory is used that is not whole: what is missing may be what stood against a GPU. */
export type Recollection =
  | { readonly kind: 'states'; readonly states: ReadonlyMap<string, GpuHealthState> }
  | { readonly kind: 'invalid'; readonly why: string };

export interface Moment {
  readonly monotonicMillis: number;
  readonly wallMillis: number;
}

class Malformed extends Error {}

/** GPUs with nothing against them are left out. */
export function encodeHealth(states: ReadonlyMap<string, GpuHealthState>, now: Moment): string {
  const gpus: Record<string, RememberedGpu> = {};
  for (const [uuid, { ailment, failures }] of states) {
    if (ailment === undefined && failures.length === 0) continue;
    gpus[uuid] = {
      failureAgesMillis: failures.slice(-MAX_FAILURES).map((failure) => now.monotonicMillis - failure),
      ...(ailment === undefined ? {} : { ailment: encodeAilment(ailment, now) }),
    };
  }
  return JSON.stringify({ v: HEALTH_MEMORY_VERSION, writtenMillis: now.wallMillis, gpus });
}

function encodeAilment(ailment: Ailment, now: Moment): NonNullable<RememberedGpu['ailment']> {
  const { reason, lastFaultMillis, quarantinedUntilMillis } = ailment;
  return {
    reason: reason.slice(0, MAX_REASON_CHARACTERS),
    faultAgeMillis: now.monotonicMillis - lastFaultMillis,
    ...(quarantinedUntilMillis === undefined
      ? {}
      : { quarantineLeftMillis: Math.max(0, quarantinedUntilMillis - now.monotonicMillis) }),
  };
}

/** Clean probes are counted anew: what happened while nobody looked is not known. */
export function decodeHealth(text: string, now: Moment): Recollection {
  try {
    const raw = text.length > MAX_CHARACTERS ? undefined : record(JSON.parse(text));
    const writtenMillis = amount(raw?.['writtenMillis']);
    const gpus = record(raw?.['gpus']);
    if (raw?.['v'] !== HEALTH_MEMORY_VERSION || writtenMillis === undefined || gpus === undefined) {
      return {
        kind: 'invalid',
        why: 'the remembered health of GPUs is not of a version this agent reads; it is left out',
      };
    }
    // A clock that was set back adds nothing.
    const elapsedMillis = Math.max(0, now.wallMillis - writtenMillis);
    const states = Object.entries(gpus).map(([uuid, gpu]) => [uuid, decodeGpu(gpu, now, elapsedMillis)] as const);
    return { kind: 'states', states: new Map(states) };
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof Malformed)) throw error;
    return { kind: 'invalid', why: 'the remembered health of GPUs is damaged; it is left out' };
  }
}

function decodeGpu(value: unknown, { monotonicMillis }: Moment, elapsedMillis: number): GpuHealthState {
  const raw = record(value);
  const ages: unknown = raw?.['failureAgesMillis'];
  if (raw === undefined || !Array.isArray(ages)) throw new Malformed();
  const failures = (ages as readonly unknown[])
    .slice(0, MAX_FAILURES)
    .map((age) => monotonicMillis - elapsedMillis - required(amount(age)));
  if (raw['ailment'] === undefined) return { ailment: undefined, failures };
  const ailment = required(record(raw['ailment']));
  const { reason } = ailment;
  if (typeof reason !== 'string') throw new Malformed();
  const leftMillis =
    ailment['quarantineLeftMillis'] === undefined ? undefined : required(amount(ailment['quarantineLeftMillis']));
  return {
    ailment: {
      reason: reason.slice(0, MAX_REASON_CHARACTERS),
      lastFaultMillis: monotonicMillis - elapsedMillis - required(amount(ailment['faultAgeMillis'])),
      cleanProbes: 0,
      quarantinedUntilMillis:
        leftMillis === undefined ? undefined : monotonicMillis + Math.max(0, leftMillis - elapsedMillis),
    },
    failures,
  };
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new Malformed();
  return value;
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function amount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
}
