// KubeApi over undici: one connection pool for all requests and watches, rebuilt only when TLS material changes.
// It never follows redirects, never retries, and sends only to the server its credentials name.
// Safe for concurrent calls. Credentials are read afresh every second and after a 401, so rotated tokens and certificates
// are used, and a burst of bindings does not read the same files for each.

import { createHash } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';

import { Agent, ProxyAgent, Socks5ProxyAgent } from 'undici';
import type { Dispatcher } from 'undici';

import { CalledOff, callOffUnwanted, LastQuestion } from './call-off.ts';
import { KubeUnreachable, messageOf } from './kube-api.ts';
import type { HttpMethod, KubeAnswer, KubeApi, KubeRequest, KubeStream, Query } from './kube-api.ts';
import type { StringMap } from '../core/manifest.ts';
import { splitLines } from './lines.ts';

export type TlsMaterial = Pick<
  ConnectionOptions,
  'ca' | 'cert' | 'key' | 'pfx' | 'passphrase' | 'servername' | 'rejectUnauthorized'
>;

export interface Authorization {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsMaterial;
  readonly proxyUrl?: string;
}

export interface Credentials {
  /** Scheme, host and port. */
  readonly origin: string;
  /** Path prefix of the API, without a trailing slash; empty for most servers. */
  readonly basePath: string;
  authorize(): Promise<Authorization>;
}

export interface TransportOptions {
  readonly userAgent: string;
  /** Connections to the API server at most; further requests wait for a free one. */
  readonly connections?: number;
  /** How long credentials are used before they are read again; 1000 when absent. */
  readonly credentialsKeptMillis?: number;
  readonly report?: (message: string) => void;
}

export interface KubeTransport extends KubeApi {
  /** Breaks off what is running and closes all connections. */
  close(): Promise<void>;
}

export function createTransport(credentials: Credentials, options: TransportOptions): KubeTransport {
  const pool = createPool(options);
  const authorizations = keptAuthorization(credentials, options.credentialsKeptMillis ?? CREDENTIALS_KEPT_MILLIS);
  const dispatch = async (method: HttpMethod, path: string, request: Omit<KubeRequest, 'timeoutMillis'>) => {
    const signal = request.signal ?? null;
    const { dispatcher, headers } = await authorized(credentials, authorizations, pool, request.signal);
    const body = request.body === undefined ? null : JSON.stringify(request.body);
    const contentType = body === null ? {} : { 'content-type': request.contentType ?? 'application/json' };
    try {
      const answer = dispatcher.request({
        origin: credentials.origin,
        path: `${credentials.basePath}${checkedPath(path)}${queryString(request.query ?? {})}`,
        method,
        headers: { ...headers, accept: 'application/json', 'user-agent': options.userAgent, ...contentType },
        body,
        signal,
        ...(request.isStillWanted === undefined ? {} : { opaque: new LastQuestion(request.isStillWanted) }),
        headersTimeout: 0,
        bodyTimeout: 0,
      });
      // undici heeds the signal only once the request has a connection, which a stuck handshake never gives it.
      const answered = await abortable(answer, request.signal);
      if (answered.statusCode === 401) authorizations.forget();
      return answered;
    } catch (error) {
      throw unreachable(error, credentials.origin);
    }
  };
  return {
    async request(method, path, request) {
      const deadline = startDeadline(request.timeoutMillis, request.signal);
      try {
        const answer = await dispatch(method, path, { ...request, signal: deadline.signal });
        return await readAnswer(answer, credentials.origin);
      } finally {
        deadline.clear();
      }
    },
    async stream(path, query, signal): Promise<KubeStream> {
      const answer = await dispatch('GET', path, { query, signal });
      if (answer.statusCode === 200) return { kind: 'open', lines: splitLines(answer.body) };
      return { kind: 'refused', answer: await readAnswer(answer, credentials.origin) };
    },
    close: () => pool.close(),
  };
}

interface Pool {
  dispatcherFor(authorization: Authorization): Dispatcher;
  close(): Promise<void>;
}

function createPool(options: TransportOptions): Pool {
  let current: { readonly print: string; readonly dispatcher: Dispatcher } | undefined;
  let latest: Authorization | undefined;
  return {
    dispatcherFor(authorization) {
      if (authorization === latest && current !== undefined) return current.dispatcher;
      latest = authorization;
      const print = fingerprint(authorization);
      if (current?.print === print) return current.dispatcher;
      current?.dispatcher.close().catch((error: unknown) => {
        options.report?.(`closing the connections of the previous certificate failed: ${messageOf(error)}`);
      });
      const dispatcher = buildDispatcher(authorization, options.connections ?? 100).compose(callOffUnwanted);
      current = { print, dispatcher };
      return current.dispatcher;
    },
    async close() {
      const closing = current;
      current = undefined;
      await closing?.dispatcher.destroy();
    },
  };
}

// HTTP/1.1 on purpose: a watch on its own connection cannot be starved by, nor stall, the requests beside it.
// Keep-alive probes start below the usual 60 s idle limit of load balancers.
function buildDispatcher(authorization: Authorization, connections: number): Dispatcher {
  const common = { allowH2: false, connections, keepAliveTimeout: 30_000, connectTimeout: 5_000 };
  const connect = { keepAlive: true, keepAliveInitialDelay: 30_000, timeout: 5_000 };
  const { proxyUrl, tls } = authorization;
  if (proxyUrl === undefined) return new Agent({ ...common, connect: { ...tls, ...connect } });
  if (proxyUrl.startsWith('socks')) return new Socks5ProxyAgent(proxyUrl, { ...common, requestTls: tls });
  return new ProxyAgent({ ...common, uri: proxyUrl, requestTls: tls });
}

function fingerprint(authorization: Authorization): string {
  const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = authorization.tls;
  const hash = createHash('sha256');
  for (const part of [ca, cert, key, pfx].flat())
    hash.update(Buffer.isBuffer(part) ? part : JSON.stringify(part ?? ''));
  hash.update(JSON.stringify([passphrase, servername, rejectUnauthorized, authorization.proxyUrl]));
  return hash.digest('base64');
}

const CREDENTIALS_KEPT_MILLIS = 1000;

interface KeptAuthorization {
  current(): Promise<Authorization>;
  forget(): void;
}

function keptAuthorization(credentials: Credentials, keptMillis: number): KeptAuthorization {
  let kept: { readonly authorization: Authorization; readonly until: number } | undefined;
  return {
    async current() {
      if (kept !== undefined && performance.now() < kept.until) return kept.authorization;
      const authorization = await credentials.authorize();
      kept = { authorization, until: performance.now() + keptMillis };
      return authorization;
    },
    forget: () => (kept = undefined),
  };
}

async function authorized(
  credentials: Credentials,
  authorizations: KeptAuthorization,
  pool: Pool,
  signal: AbortSignal | undefined,
): Promise<{ dispatcher: Dispatcher; headers: Readonly<Record<string, string>> }> {
  try {
    const authorization = await abortable(authorizations.current(), signal);
    return { dispatcher: pool.dispatcherFor(authorization), headers: authorization.headers };
  } catch (error) {
    throw new KubeUnreachable(
      `credentials for ${credentials.origin} are not available: ${messageOf(error)}`,
      'no',
      error,
    );
  }
}

/** The work may hang; the caller's time limit holds all the same. */
function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(new Error('timed out'));
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', stop);
    });
  });
}

interface Deadline {
  readonly signal: AbortSignal;
  clear(): void;
}

/** AbortSignal.timeout cannot be called off: each would fire, with an error and its stack, long after the answer. */
function startDeadline(timeoutMillis: number, outer: AbortSignal | undefined): Deadline {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new Error('timed out'));
  const timer = setTimeout(stop, Math.max(0, Math.floor(timeoutMillis)));
  timer.unref();
  if (outer?.aborted === true) stop();
  outer?.addEventListener('abort', stop, { once: true });
  return {
    signal: controller.signal,
    clear: () => {
      clearTimeout(timer);
      outer?.removeEventListener('abort', stop);
    },
  };
}

function checkedPath(path: string): string {
  if (!path.startsWith('/') || path.startsWith('//') || /[\s?#]/.test(path)) {
    throw new Error(`"${path}" is not an API path`);
  }
  return path;
}

function queryString(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(key, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

async function readAnswer(answer: Dispatcher.ResponseData<unknown>, origin: string): Promise<KubeAnswer> {
  try {
    const text = await answer.body.text();
    return { status: answer.statusCode, headers: flatHeaders(answer.headers), body: parsed(text) };
  } catch (error) {
    throw unreachable(error, origin);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Proxies and load balancers answer in plain text or HTML; the caller judges the shape.
    return text;
  }
}

function flatHeaders(headers: Dispatcher.ResponseData['headers']): StringMap {
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, [value].flat().join(', ')]));
}

// What can only happen before a request is written: name look-up, connecting, and checking the server's certificate.
const BEFORE_SENDING_CODES: ReadonlySet<string> = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

function unreachable(error: unknown, origin: string): KubeUnreachable {
  const detail =
    error instanceof AggregateError && error.message === '' ? messageOf(error.errors[0]) : messageOf(error);
  return new KubeUnreachable(`no answer from ${origin}: ${detail}`, wasNeverSent(error) ? 'no' : 'maybe', error);
}

function wasNeverSent(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(wasNeverSent);
  if (!(error instanceof Error)) return false;
  if (error instanceof CalledOff) return true;
  if ('syscall' in error && (error.syscall === 'connect' || error.syscall === 'getaddrinfo')) return true;
  return 'code' in error && typeof error.code === 'string' && BEFORE_SENDING_CODES.has(error.code);
}
