// A consistent list in pages. Without a resourceVersion the first page is a quorum read and fixes the snapshot that
// the other pages are read from. Keeps no page: each is handed on and dropped. Never throws.

import { describeAnswer, isExpired, isRecord, messageOf, retryAfterMillis, stringAt } from './kube-api.ts';
import type { KubeAnswer, KubeApi, Query } from './kube-api.ts';

export interface PagedListOptions {
  readonly api: KubeApi;
  readonly path: string;
  readonly query: Query;
  readonly pageSize: number;
  readonly pageTimeoutMillis: number;
  readonly signal: AbortSignal;
  readonly onObject: (raw: unknown) => void;
}

export type ListOutcome =
  | { readonly kind: 'complete'; readonly resourceVersion: string }
  | { readonly kind: 'failed'; readonly message: string; readonly retryAfterMillis: number; readonly expired: boolean };

export async function listInPages(options: PagedListOptions): Promise<ListOutcome> {
  let token: string | undefined;
  do {
    const page = await readPage(options, token);
    if (page.kind === 'failed') return page;
    for (const raw of page.items) options.onObject(raw);
    token = page.token;
    if (token === undefined) return { kind: 'complete', resourceVersion: page.resourceVersion };
  } while (!options.signal.aborted);
  return failed('stopped');
}

type Page =
  | Extract<ListOutcome, { kind: 'failed' }>
  | {
      readonly kind: 'page';
      readonly items: readonly unknown[];
      readonly token: string | undefined;
      readonly resourceVersion: string;
    };

async function readPage(options: PagedListOptions, token: string | undefined): Promise<Page> {
  try {
    const answer = await options.api.request('GET', options.path, {
      query: { ...options.query, limit: options.pageSize, continue: token },
      timeoutMillis: options.pageTimeoutMillis,
      signal: options.signal,
    });
    return pageOf(answer, options.path);
  } catch (error) {
    return failed(messageOf(error));
  }
}

function pageOf(answer: KubeAnswer, path: string): Page {
  if (answer.status !== 200) {
    const expired = isExpired(answer.status, answer.body);
    return { kind: 'failed', message: describeAnswer(answer), retryAfterMillis: retryAfterMillis(answer), expired };
  }
  // A list of an empty collection carries `items: null` on some servers.
  const items = isRecord(answer.body) ? (answer.body['items'] ?? []) : undefined;
  const resourceVersion = stringAt(answer.body, 'metadata', 'resourceVersion');
  if (!Array.isArray(items) || resourceVersion === undefined) return failed(`the answer for ${path} is not a list`);
  const token = stringAt(answer.body, 'metadata', 'continue');
  return { kind: 'page', items, token: token === '' ? undefined : token, resourceVersion };
}

function failed(message: string): Extract<ListOutcome, { kind: 'failed' }> {
  return { kind: 'failed', message, retryAfterMillis: 0, expired: false };
}
