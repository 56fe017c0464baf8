// The small interface to an API server on which everything in this folder is built, and the reading of its answers.
// It must not know about HTTP libraries, kubeconfigs or particular objects. Pure apart from the interface itself.

import type { StringMap } from '../core/manifest.ts';

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface KubeRequest {
  readonly query?: Query;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** `application/json` when absent. */
  readonly contentType?: string;
  /** From the call to the last byte of the answer, credentials and connecting included. */
  readonly timeoutMillis: number;
  readonly signal?: AbortSignal;
  /** Asked just before the first byte is written; where it says no, nothing is sent. */
  readonly isStillWanted?: () => boolean;
}

export interface KubeAnswer {
  readonly status: number;
  readonly headers: StringMap;
  /** Parsed JSON, or the text where it is not JSON. */
  readonly body: unknown;
}

export type KubeStream =
  | { readonly kind: 'open'; readonly lines: AsyncIterable<string> }
  | { readonly kind: 'refused'; readonly answer: KubeAnswer };

export interface KubeApi {
  /** Resolves with any HTTP status; rejects with a KubeUnreachable when there was no complete answer. */
  request(method: HttpMethod, path: string, request: KubeRequest): Promise<KubeAnswer>;
  /** A GET whose answer is read line by line until the server or `signal` ends it. Rejects like `request`. */
  stream(path: string, query: Query, signal: AbortSignal): Promise<KubeStream>;
}

/** No complete answer came back. `sent: 'no'` means the request certainly never left this process. */
export class KubeUnreachable extends Error {
  readonly sent: 'no' | 'maybe';

  constructor(message: string, sent: 'no' | 'maybe', cause?: unknown) {
    super(message, { cause });
    this.name = 'KubeUnreachable';
    this.sent = sent;
  }
}

const SEGMENT = /^[A-Za-z0-9]([-A-Za-z0-9._:]*[A-Za-z0-9])?$/;

/**
 * `/api/v1/namespaces/<ns>/pods/<name>/binding` from its parts. Names come from outside, so anything that could
 * change which resource the path means is refused here.
 */
export function apiPath(groupVersion: string, ...segments: readonly string[]): string {
  for (const segment of segments) {
    if (!SEGMENT.test(segment) || segment.length > 253) {
      throw new Error(`"${segment.slice(0, 80)}" is not a valid Kubernetes name; nothing was sent to the API server`);
    }
  }
  const root = groupVersion === 'v1' ? '/api/v1' : `/apis/${groupVersion}`;
  return [root, ...segments].join('/');
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function stringAt(value: unknown, ...keys: readonly string[]): string | undefined {
  let current = value;
  for (const key of keys) {
    if (!isRecord(current)) return undefined;
    current = current[key];
  }
  return typeof current === 'string' ? current : undefined;
}

/** One line for people: the API server's own words where it gave a Status, else the HTTP status. */
export function describeAnswer(answer: KubeAnswer): string {
  const message = stringAt(answer.body, 'message');
  if (message !== undefined && message !== '') return `${String(answer.status)}: ${message}`;
  const text = typeof answer.body === 'string' ? answer.body.trim().slice(0, 200) : '';
  return text === '' ? `HTTP status ${String(answer.status)}` : `HTTP status ${String(answer.status)}: ${text}`;
}

/** True when the API server says that a resource version or a continue token is too old, or from another life of etcd. */
export function isExpired(status: number, body: unknown): boolean {
  if (status === 410) return true;
  const reason = stringAt(body, 'reason');
  if (reason === 'Expired' || reason === 'Gone') return true;
  return (stringAt(body, 'message') ?? '').includes('Too large resource version');
}

const LONGEST_RETRY_AFTER_MILLIS = 120_000;

/** The wait the server asks for, 0 where it asks for none. Capped, so that a wrong header cannot silence us for long. */
export function retryAfterMillis(answer: KubeAnswer): number {
  const header = Number(answer.headers['retry-after'] ?? Number.NaN);
  const seconds = Number.isFinite(header) ? header : secondsInStatus(answer.body);
  return cappedMillis(seconds);
}

/** The wait that a Status object asks for, 0 where it asks for none. */
export function retryAfterMillisInStatus(status: unknown): number {
  return cappedMillis(secondsInStatus(status));
}

function cappedMillis(seconds: number): number {
  return Math.min(Math.max(0, seconds * 1000), LONGEST_RETRY_AFTER_MILLIS);
}

function secondsInStatus(status: unknown): number {
  const details = isRecord(status) ? status['details'] : undefined;
  const seconds = isRecord(details) ? details['retryAfterSeconds'] : undefined;
  return typeof seconds === 'number' ? seconds : 0;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
