// A small REST client for the real API server: what the tests and the benchmark need, over pooled connections.
// Checks every answer's status and the outer shape of lists and watch events; objects stay `ApiObject`s, whose fields
// beyond the metadata are read by the caller. No retries: a test must see what happened. Safe for concurrent calls.

import { Agent, request } from 'undici';

import type { ObjectMetaManifest } from '../../extender/core/manifest.ts';

export interface ApiObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: ObjectMetaManifest;
  readonly [field: string]: unknown;
}

export interface ObjectList<T> {
  readonly items: readonly T[];
  readonly resourceVersion: string;
}

export interface WatchEvent<T> {
  readonly type: string;
  readonly object: T;
}

export interface ApiAccess {
  readonly url: string;
  /** PEM of the certificate authority that signed the server's certificate. */
  readonly ca: string;
  readonly token: string;
  readonly connections?: number;
}

export interface WatchOptions {
  readonly resourceVersion: string;
  readonly signal: AbortSignal;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

const PAGE_SIZE = 1000;

/** An answer outside 2xx, with the API server's own words. */
export class ApiError extends Error {
  readonly status: number;

  constructor(method: Method, path: string, status: number, body: string) {
    super(`${method} ${path} answered ${status}: ${statusMessage(body)}`);
    this.name = 'ApiError';
    this.status = status;
  }
}

/** Type arguments are the caller's view of an object, whose shape the real API server vouches for. */
export class ApiClient {
  readonly #access: ApiAccess;
  readonly #agent: Agent;

  constructor(access: ApiAccess) {
    this.#access = access;
    this.#agent = new Agent({
      connections: access.connections ?? 16,
      connect: { ca: access.ca },
      bodyTimeout: 0,
      headersTimeout: 60_000,
    });
  }

  /** One call; resolves to the object in the answer, rejects with ApiError outside 2xx. */
  async call(method: Method, path: string, body?: unknown, contentType = 'application/json'): Promise<ApiObject> {
    const response = await request(this.#access.url + path, {
      method,
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.#access.token}`, 'content-type': contentType },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.body.text();
    if (response.statusCode >= 300) throw new ApiError(method, path, response.statusCode, text);
    return parseObject(text, path);
  }

  get<T extends ApiObject = ApiObject>(path: string): Promise<T> {
    return this.call('GET', path) as Promise<T>;
  }

  create(path: string, object: unknown): Promise<ApiObject> {
    return this.call('POST', path, object);
  }

  mergePatch(path: string, patch: unknown): Promise<ApiObject> {
    return this.call('PATCH', path, patch, 'application/merge-patch+json');
  }

  delete(path: string): Promise<ApiObject> {
    return this.call('DELETE', path, { gracePeriodSeconds: 0, propagationPolicy: 'Background' });
  }

  /** The whole collection, read in pages of one consistent list. */
  async list<T extends ApiObject = ApiObject>(path: string): Promise<ObjectList<T>> {
    const items: T[] = [];
    let next = '';
    for (;;) {
      const query = new URLSearchParams({ limit: String(PAGE_SIZE), ...(next === '' ? {} : { continue: next }) });
      const page = await this.call('GET', `${path}${path.includes('?') ? '&' : '?'}${query.toString()}`);
      const content = page['items'];
      if (!Array.isArray(content)) throw new Error(`${path}: the answer is no list`);
      for (const item of content) items.push(toObject(item, path) as T);
      const metadata = toRecord(page.metadata);
      next = typeof metadata['continue'] === 'string' ? metadata['continue'] : '';
      if (next === '') return { items, resourceVersion: String(metadata['resourceVersion']) };
    }
  }

  /** Events from `resourceVersion` on, until the signal aborts (which ends the loop) or the server ends the watch. */
  async *watch<T extends ApiObject = ApiObject>(path: string, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const query = new URLSearchParams({ watch: 'true', resourceVersion: options.resourceVersion });
    const full = `${path}${path.includes('?') ? '&' : '?'}${query.toString()}`;
    try {
      const response = await request(this.#access.url + full, {
        dispatcher: this.#agent,
        headers: { authorization: `Bearer ${this.#access.token}` },
        signal: options.signal,
      });
      if (response.statusCode !== 200) throw new ApiError('GET', full, response.statusCode, await response.body.text());
      for await (const line of linesOf(response.body)) {
        const event = parseObject(line, full);
        const type = event['type'];
        const object = toObject(event['object'], full);
        if (type === 'ERROR') throw new Error(`watch of ${path} ended: ${JSON.stringify(object)}`);
        yield { type: String(type), object: object as T };
      }
    } catch (cause) {
      if (!options.signal.aborted) throw cause;
    }
  }

  /** Plain text of a health path, such as `/readyz`; undefined when there is no good answer. */
  async probe(path: string): Promise<string | undefined> {
    try {
      const { statusCode, body } = await request(this.#access.url + path, {
        dispatcher: this.#agent,
        headers: { authorization: `Bearer ${this.#access.token}` },
        headersTimeout: 2_000,
      });
      const text = await body.text();
      return statusCode === 200 ? text : undefined;
    } catch (cause) {
      // Refused, reset or timed out: the server is not up, which is what the caller asks.
      if (cause instanceof Error) return undefined;
      throw cause;
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}

/** Runs `task` over the items with at most `limit` in flight; the first failure rejects. */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  task: (item: T) => Promise<unknown>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await task(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
}

/** Splits by hand: readline passes on neither an error of its input nor the end of its reader. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

function parseObject(text: string, where: string): ApiObject {
  const value: unknown = JSON.parse(text);
  return toObject(value, where);
}

function toObject(value: unknown, where: string): ApiObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${where}: not an object`);
  return value as ApiObject;
}

function toRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function statusMessage(body: string): string {
  try {
    return parseObject(body, 'status')['message'] as string;
  } catch (cause) {
    return cause instanceof SyntaxError ? body.slice(0, 300) : String(cause);
  }
}
