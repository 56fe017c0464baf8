// Reads a request body: collects its bytes under a limit and turns them into a JSON value that is safe to look at.
// Memory for bodies that are still arriving is bounded for the whole listener, not only per request.
// Nothing here knows what the value means.

import type { IncomingMessage } from 'node:http';
import { type Page, Pages } from './page.ts';

export type Decoded =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'missing' }
  | { readonly kind: 'undecodable'; readonly message: string };

/** Deeper nesting than any Kubernetes object needs is refused, so that no later code can exhaust the stack. */
export const MAX_JSON_DEPTH = 64;

/** Decodes JSON once, and looks for poisoned keys only when the text can contain one. */
export function decodeJson(body: unknown): Decoded {
  if (!Buffer.isBuffer(body) || body.length === 0) return { kind: 'missing' };
  const text = body.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { kind: 'undecodable', message: `the body is not JSON: ${messageOf(error)}` };
  }
  // An escape can spell any key, so its presence alone calls for the full look.
  if (!text.includes('__proto__') && !text.includes('constructor') && !text.includes('\\u'))
    return { kind: 'value', value };
  const fault = findFault(value, Number.POSITIVE_INFINITY);
  return fault === undefined ? { kind: 'value', value } : { kind: 'undecodable', message: fault };
}

/** Says what is wrong with the structure of a parsed value, if anything. Iterative: depth costs memory, never stack. */
export function findFault(root: unknown, maxDepth: number): string | undefined {
  let level: object[] = isObject(root) ? [root] : [];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > maxDepth) return `the body is nested deeper than ${maxDepth} levels`;
    const next: object[] = [];
    for (const item of level) {
      if (Array.isArray(item)) {
        for (const child of item) if (isObject(child)) next.push(child);
        continue;
      }
      if (Object.hasOwn(item, '__proto__') || hasConstructorPrototype(item)) {
        return 'the body contains a key that would change object prototypes (__proto__ or constructor.prototype)';
      }
      for (const child of Object.values(item)) if (isObject(child)) next.push(child);
    }
    level = next;
  }
  return undefined;
}

function hasConstructorPrototype(item: object): boolean {
  if (!Object.hasOwn(item, 'constructor')) return false;
  const value: unknown = item.constructor;
  return isObject(value) && Object.hasOwn(value, 'prototype');
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** An HTTP failure that fastify turns into a status code. */
export class BodyRefused extends Error {
  readonly statusCode: number;

  constructor(statusCode: number, message: string) {
    super(message);
    this.name = 'BodyRefused';
    this.statusCode = statusCode;
  }
}

type BodyDone = (error: Error | null, body?: unknown) => void;
export type BodyCollector = (request: object, payload: IncomingMessage, done: BodyDone) => void;

export interface BodyIntake {
  /** A fastify content-type parser that hands over the raw bytes. They are the request's until `release`. */
  readonly collect: BodyCollector;
  /** Call it when the request has been answered. */
  readonly release: (request: object) => void;
}

/**
 * Collects bodies in pages that are used again.
 * `limitBytes` bounds one body, `budgetBytes` all bodies that are arriving at the same time.
 */
export function createBodyIntake(limitBytes: number, budgetBytes: number): BodyIntake {
  const pages = new Pages();
  const pageOf = new WeakMap<object, Page>();
  let arriving = 0;
  const collect: BodyCollector = (request, payload, done) => {
    const tooLarge = (): BodyRefused =>
      new BodyRefused(
        413,
        `the body is larger than ${limitBytes} bytes; set nodeCacheCapable: true or raise bodyLimitMiB`,
      );
    if (Number(payload.headers['content-length'] ?? 0) > limitBytes) {
      done(tooLarge());
      return;
    }
    const page = pages.take();
    let length = 0;
    const finish = (error: Error | null): void => {
      payload.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      arriving -= length;
      if (error !== null) {
        pages.giveBack(page);
        done(error);
        return;
      }
      pageOf.set(request, page);
      done(null, page.content());
    };
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      arriving += chunk.length;
      if (length > limitBytes) finish(tooLarge());
      else if (arriving > budgetBytes)
        finish(new BodyRefused(429, 'too many request bodies are arriving at once; retry'));
      else page.copyLong(chunk, 0, chunk.length);
    };
    const onEnd = (): void => finish(null);
    const onError = (error: Error): void => finish(new BodyRefused(400, `the body broke off: ${error.message}`));
    const onClose = (): void => finish(new BodyRefused(400, 'the connection closed before the body was complete'));
    payload.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  };
  const release = (request: object): void => {
    const page = pageOf.get(request);
    if (page === undefined) return;
    pageOf.delete(request);
    pages.giveBack(page);
  };
  return { collect, release };
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
