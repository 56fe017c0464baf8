// Options, limits and status of a reflector. Declarations and defaults only.

import type { Clock, ObjectFeed } from '../app/ports.ts';
import type { Backoff, Delays } from './delays.ts';
import type { KubeApi, Query } from './kube-api.ts';

export interface ReflectorStatus {
  /** A complete list has been delivered. Says nothing about age: see `lastContactMonotonicMillis`. */
  readonly synced: boolean;
  /** Last moment at which the delivered state was known to be current, within the lag of a watch. */
  readonly lastContactMonotonicMillis: number;
  readonly objects: number;
  /** Complete lists after the first. */
  readonly relists: number;
  /** Watch streams after the first. */
  readonly restarts: number;
  /** Feed calls that threw. */
  readonly feedErrors: number;
  readonly lastError: string | undefined;
}

export interface ReflectorProblem {
  readonly kind:
    'list-failed' | 'watch-failed' | 'watch-silent' | 'expired' | 'went-backwards' | 'projection-threw' | 'feed-threw';
  readonly path: string;
  readonly message: string;
  /** `namespace/name` where one object is meant. */
  readonly key?: string;
}

export interface ReflectorLimits {
  readonly pageSize: number;
  readonly pageTimeoutMillis: number;
  /** How long the server is asked to keep one watch open; varied by a tenth either way. */
  readonly watchSeconds: number;
  /** A stream without a byte for this long is taken for dead. API servers send a bookmark about once a minute. */
  readonly inactivityMillis: number;
  /** A stream that lasted this long was healthy, and the backoff starts anew after it. */
  readonly stableMillis: number;
  readonly backoff: Backoff;
  /** Refused or unreadable watches in a row, without an event between them, after which a fresh list is taken. */
  readonly fruitlessWatches: number;
  /** Dead streams in a row after which a fresh list is taken: a server restored from a backup keeps silent. */
  readonly silentWatches: number;
}

export const DEFAULT_REFLECTOR_LIMITS: ReflectorLimits = {
  pageSize: 500,
  pageTimeoutMillis: 60_000,
  watchSeconds: 290,
  inactivityMillis: 135_000,
  stableMillis: 10_000,
  backoff: { baseMillis: 250, capMillis: 30_000 },
  fruitlessWatches: 5,
  silentWatches: 2,
};

export interface ReflectorOptions<T> {
  readonly api: KubeApi;
  readonly path: string;
  /** Field and label selectors. */
  readonly query?: Query;
  /** A slim record, or undefined for an object that does not matter (any more). */
  readonly project: (raw: unknown) => T | undefined;
  readonly feed: ObjectFeed<T>;
  readonly clock: Clock;
  readonly delays: Delays;
  readonly limits?: Partial<ReflectorLimits>;
  readonly report?: (problem: ReflectorProblem) => void;
  readonly onStatus?: (status: ReflectorStatus) => void;
  /** After each list but the first: differences to the delivered state that the watch had not announced. */
  readonly onDrift?: (differences: number) => void;
}

export interface Reflector {
  status(): ReflectorStatus;
  /** Resolves true when a list begun after this call has been delivered, false when stopped before. Never rejects. */
  relist(): Promise<boolean>;
  /** Resolves when the loop has ended; the feed is not called afterwards. */
  stop(): Promise<void>;
}
