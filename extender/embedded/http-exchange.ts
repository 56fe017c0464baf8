// The HTTP side of one request: reading a capped JSON body, refusing foreign web pages, writing replies with
// back-pressure. Knows nothing of Kubernetes semantics. Nothing here waits without end: every wait also ends
// when the connection closes.

import type { IncomingMessage, ServerResponse } from 'node:http';

import { ApiError, badRequest } from './api-error.ts';
import type { ListPage } from './list-pages.ts';
import { LIST_TAIL } from './list-pages.ts';
import type { RequestBody } from './operations.ts';
import type { LineSink } from './watch-stream.ts';

const CHUNK_CHARS = 256 * 1024;
const MAX_NESTING = 200;
const LOOPBACK_HOST = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/;

/**
 * The server has no authentication, so a web page in the operator's browser must not reach it:
 * the Host must be loopback (DNS rebinding) and an Origin, which browsers send and clients do not, must be too.
 */
export function refuseForeignPages(request: IncomingMessage): void {
  const { host, origin } = request.headers;
  const foreignHost = host !== undefined && !LOOPBACK_HOST.test(host);
  const foreignOrigin = origin !== undefined && !LOOPBACK_HOST.test(origin.replace(/^https?:\/\//, ''));
  if (foreignHost || foreignOrigin) {
    throw new ApiError(403, 'the embedded API server answers only clients on this machine, addressed as 127.0.0.1');
  }
}

export async function readBody(request: IncomingMessage, maxBytes: number): Promise<RequestBody> {
  const mediaType = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  const parts: Buffer[] = [];
  let bytes = 0;
  // A refusal must leave the connection open for its reply.
  const stream: AsyncIterable<unknown> = request.iterator({ destroyOnReturn: false });
  for await (const part of stream) {
    if (!Buffer.isBuffer(part)) throw badRequest('the body must be bytes');
    bytes += part.length;
    if (bytes > maxBytes) throw new ApiError(413, `the request body is larger than ${maxBytes} bytes`);
    parts.push(part);
  }
  if (bytes === 0) return { value: undefined, mediaType };
  return { value: parseJson(Buffer.concat(parts).toString('utf8')), mediaType };
}

function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRequest(`the body is not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  refuseDeepNesting(value, 0);
  return value;
}

/** Later steps walk objects recursively. */
function refuseDeepNesting(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (depth > MAX_NESTING) throw badRequest(`the body is nested deeper than ${MAX_NESTING} levels`);
  for (const part of Object.values(value)) refuseDeepNesting(part, depth + 1);
}

export function sendText(
  response: ServerResponse,
  status: number,
  type: string,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'content-type': type, ...headers });
  response.end(text);
}

/** Writes a list in chunks at the pace of the client. Resolves when all is handed over or the client is gone. */
export async function sendList(response: ServerResponse, page: ListPage): Promise<void> {
  response.setHeader('content-type', 'application/json');
  let chunk = page.head;
  let separator = '';
  for (const stored of page.items) {
    chunk += separator + stored.json;
    separator = ',';
    if (chunk.length < CHUNK_CHARS) continue;
    const flowing = response.write(chunk);
    chunk = '';
    if (!flowing) await drained(response);
    if (response.destroyed) return;
  }
  response.end(chunk + LIST_TAIL);
}

function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

/** Opens a stream of JSON lines. The headers go out at once, so that the client knows the watch stands. */
export function openLines(response: ServerResponse): LineSink {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
  return {
    write(text: string, whenDrained: () => void): boolean {
      const flowing = response.write(text);
      if (!flowing) response.once('drain', whenDrained);
      return flowing;
    },
    end(): void {
      response.end();
    },
    destroy(): void {
      response.destroy();
    },
  };
}
