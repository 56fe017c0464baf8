// A connection to an API server for tests: JSON calls and watches over a fetch-like function.
// Answers are read by path as unknown values, so that no test trusts the shape of what it checks.

export type FetchLike = (url: string, init?: RequestInit) => Promise<Response>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: unknown;
}

/** The value at a path such as `metadata.uid` or `items.0.spec`; undefined when a step is missing. */
export function at(value: unknown, path: string): unknown {
  let found: unknown = value;
  for (const step of path.split('.')) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = new Map<string, unknown>(Object.entries(found)).get(step);
  }
  return found;
}

export function listAt(value: unknown, path: string): readonly unknown[] {
  const found = at(value, path);
  return Array.isArray(found) ? found : [];
}

export function namesIn(list: unknown): readonly string[] {
  return listAt(list, 'items').map((item) => String(at(item, 'metadata.name')));
}

export class ApiConnection {
  readonly url: string;
  readonly #fetch: FetchLike;

  constructor(url: string, fetchLike: FetchLike) {
    this.url = url;
    this.#fetch = fetchLike;
  }

  async call(method: string, path: string, body?: unknown, mediaType = 'application/json'): Promise<Answer> {
    const sent = body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) };
    const headers: Record<string, string> = body === undefined ? {} : { 'content-type': mediaType };
    const response = await this.#fetch(this.url + path, { method, headers, ...sent });
    const text = await response.text();
    const json = response.headers.get('content-type')?.startsWith('application/json') === true;
    const parsed: unknown = json ? JSON.parse(text) : text;
    return { status: response.status, headers: response.headers, body: parsed };
  }

  get(path: string): Promise<Answer> {
    return this.call('GET', path);
  }

  post(path: string, body: unknown): Promise<Answer> {
    return this.call('POST', path, body);
  }

  mergePatch(path: string, body: unknown): Promise<Answer> {
    return this.call('PATCH', path, body, 'application/merge-patch+json');
  }

  /** Opens a watch; the answer's headers have arrived when this resolves. */
  async watch(path: string): Promise<WatchReader> {
    const abort = new AbortController();
    const response = await this.#fetch(this.url + path, { signal: abort.signal });
    return new WatchReader(response, abort);
  }
}

/** Reads the events of one watch in order. */
export class WatchReader {
  readonly status: number;
  readonly #abort: AbortController;
  readonly #events: AsyncGenerator<WatchEvent, void, undefined>;

  constructor(response: Response, abort: AbortController) {
    this.status = response.status;
    this.#abort = abort;
    this.#events = events(response);
  }

  /** The next event; undefined when the server has ended the stream in order. Rejects when it was cut. */
  async next(): Promise<WatchEvent | undefined> {
    const result = await this.#events.next();
    return result.done === true ? undefined : result.value;
  }

  async take(count: number): Promise<readonly WatchEvent[]> {
    const taken: WatchEvent[] = [];
    while (taken.length < count) {
      const event = await this.next();
      if (event === undefined) throw new Error(`the watch ended after ${taken.length} of ${count} events`);
      taken.push(event);
    }
    return taken;
  }

  close(): void {
    this.#abort.abort();
  }
}

async function* events(response: Response): AsyncGenerator<WatchEvent, void, undefined> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of response.body) {
    text += decoder.decode(bytesOf(chunk), { stream: true });
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      const event: unknown = JSON.parse(line);
      yield { type: String(at(event, 'type')), object: at(event, 'object') };
    }
  }
}

function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  throw new TypeError('a response body must consist of bytes');
}
