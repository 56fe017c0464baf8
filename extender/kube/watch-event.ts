// One line of a watch stream to a checked event. Pure.

import { isExpired, isRecord, messageOf, retryAfterMillisInStatus, stringAt } from './kube-api.ts';

export type WatchEvent =
  | { readonly kind: 'put' | 'drop'; readonly raw: unknown; readonly resourceVersion: string }
  | { readonly kind: 'bookmark'; readonly resourceVersion: string }
  | { readonly kind: 'error'; readonly message: string; readonly expired: boolean; readonly retryAfterMillis: number }
  | { readonly kind: 'unreadable'; readonly message: string };

export function parseWatchLine(line: string): WatchEvent {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch (error) {
    return unreadable(messageOf(error));
  }
  if (!isRecord(event)) return unreadable('not an object');
  const { type, object } = event;
  if (type === 'ERROR') return errorEvent(object);
  const resourceVersion = stringAt(object, 'metadata', 'resourceVersion');
  if (resourceVersion === undefined) return unreadable(`${String(type)} without a resourceVersion`);
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
      return { kind: 'put', raw: object, resourceVersion };
    case 'DELETED':
      return { kind: 'drop', raw: object, resourceVersion };
    case 'BOOKMARK':
      return { kind: 'bookmark', resourceVersion };
    default:
      return unreadable(`event type ${String(type)}`);
  }
}

function errorEvent(status: unknown): WatchEvent {
  const code = isRecord(status) && typeof status['code'] === 'number' ? status['code'] : 0;
  return {
    kind: 'error',
    message: `${String(code)}: ${stringAt(status, 'message') ?? 'no message'}`,
    expired: isExpired(code, status),
    retryAfterMillis: retryAfterMillisInStatus(status),
  };
}

function unreadable(what: string): WatchEvent {
  return { kind: 'unreadable', message: `unreadable watch event: ${what}` };
}
