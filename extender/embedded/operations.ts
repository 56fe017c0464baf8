// Carries out a parsed request on the cluster and says what to reply; knows no sockets.
// Synchronous, so a request is one transaction. Refusals are thrown as ApiError.

import { ApiError, badRequest, expired, successStatus } from './api-error.ts';
import type { Status } from './api-error.ts';
import type { EmbeddedCluster } from './cluster.ts';
import { plainDocument } from './discovery.ts';
import type { ListPage } from './list-pages.ts';
import { ListPages } from './list-pages.ts';
import { refuseDirectives } from './merge-patch.ts';
import { parseDeleteOptions } from './pod-registry.ts';
import type { ObjectRef, WriteScope } from './registry.ts';
import type { ResourceRoute, Route } from './routes.ts';
import { isTrue } from './routes.ts';
import type { Selection } from './selectors.ts';
import { parseSelection, selects } from './selectors.ts';
import type { StoredObject } from './store.ts';
import type { WatchRequest } from './watch-stream.ts';

export interface RequestBody {
  /** Parsed JSON; undefined when the request had no body. */
  readonly value: unknown;
  /** Media type without parameters; '' when none was sent. */
  readonly mediaType: string;
}

export type Reply =
  | { readonly kind: 'json'; readonly status: number; readonly json: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'list'; readonly page: ListPage }
  | { readonly kind: 'watch'; readonly request: WatchRequest }
  /** A watch that opens only to say why it cannot go on. */
  | { readonly kind: 'watch-error'; readonly status: Status };

export interface OperationOptions {
  readonly bookmarkMillis: number;
  /** How a watch from a forgotten version is refused: as an event on an open stream, or as HTTP 410. */
  readonly expiredWatch: 'error-event' | 'http-status';
}

const DEFAULT_WATCH_SECONDS = 30 * 60;
const MERGE_PATCH = 'application/merge-patch+json';
const STRATEGIC_PATCH = 'application/strategic-merge-patch+json';

export function statusReply(status: Status): Reply {
  return { kind: 'json', status: status.code, json: JSON.stringify(status) };
}

function objectReply(status: number, stored: StoredObject): Reply {
  return { kind: 'json', status, json: stored.json };
}

export class Operations {
  readonly #cluster: EmbeddedCluster;
  readonly #lists: ListPages;
  readonly #options: OperationOptions;

  constructor(cluster: EmbeddedCluster, options: OperationOptions) {
    this.#cluster = cluster;
    this.#lists = new ListPages(cluster.store);
    this.#options = options;
  }

  perform(route: Route, body: RequestBody): Reply {
    if (route.kind === 'plain') return plainReply(route.path);
    const { registry } = this.#cluster;
    switch (route.verb) {
      case 'get':
        return objectReply(200, registry.get(refOf(route)));
      case 'list':
        return this.#list(route);
      case 'watch':
        return this.#watch(route);
      case 'create':
        return this.#create(route, body);
      case 'update': {
        const { stored, created } = registry.update(refOf(route), scopeOf(route), jsonBody(body));
        return objectReply(created ? 201 : 200, stored);
      }
      case 'patch':
        return objectReply(200, registry.patch(refOf(route), scopeOf(route), patchBody(body)));
      case 'delete':
        break;
    }
    return this.#delete(route, body);
  }

  #create(route: ResourceRoute, body: RequestBody): Reply {
    const { registry, pods } = this.#cluster;
    const value = jsonBody(body);
    const namespace = route.namespace ?? 'default';
    if (route.subresource === 'binding') {
      pods.bind(namespace, route.name, value);
      return statusReply(successStatus(201));
    }
    if (route.subresource === 'eviction') {
      pods.evict(namespace, route.name, value);
      return statusReply(successStatus(201));
    }
    return objectReply(201, registry.create(route.definition.resource, route.namespace, value, 'client'));
  }

  #delete(route: ResourceRoute, body: RequestBody): Reply {
    const { definition, name, query } = route;
    const inQuery = query.get('gracePeriodSeconds');
    const options = {
      ...(inQuery === null ? {} : { gracePeriodSeconds: wholeNumber(inQuery, 'gracePeriodSeconds') }),
      ...parseDeleteOptions(body.value),
    };
    if (definition.resource === 'pods') {
      return objectReply(200, this.#cluster.pods.delete(route.namespace ?? 'default', name, options));
    }
    const { uid } = this.#cluster.registry.remove(refOf(route), options.preconditions).object.metadata;
    const details = { name, kind: definition.plural, ...(definition.group === '' ? {} : { group: definition.group }) };
    return statusReply(successStatus(200, uid === undefined ? details : { ...details, uid }));
  }

  #list(route: ResourceRoute): Reply {
    const { query, definition } = route;
    const page = this.#lists.read({
      definition,
      selection: selectionOf(route),
      limit: wholeNumber(query.get('limit') ?? '0', 'limit'),
      continueToken: query.get('continue') ?? '',
      resourceVersion: versionOf(query),
    });
    return { kind: 'list', page };
  }

  #watch(route: ResourceRoute): Reply {
    const { query, definition } = route;
    const { store } = this.#cluster;
    const selection = selectionOf(route);
    const asked = versionOf(query);
    const sendInitial = query.get('sendInitialEvents');
    // Without a version, or with 0, a watch starts with the present state unless told otherwise.
    const fromNow = sendInitial !== null || asked === '' || asked === '0';
    const withInitial = sendInitial === null ? fromNow : isTrue(sendInitial);
    if (!fromNow && Number(asked) < store.compacted) return this.#expiredWatch(asked);
    const bookmarks = isTrue(query.get('allowWatchBookmarks'));
    const timeoutSeconds = wholeNumber(query.get('timeoutSeconds') ?? '0', 'timeoutSeconds');
    return {
      kind: 'watch',
      request: {
        definition,
        selection,
        fromVersion: fromNow ? store.resourceVersion : Number(asked),
        initial: withInitial ? store.list(definition.resource).filter(({ object }) => selects(selection, object)) : [],
        markInitialEnd: isTrue(sendInitial) && bookmarks,
        bookmarks,
        bookmarkMillis: this.#options.bookmarkMillis,
        timeoutMillis: (timeoutSeconds === 0 ? DEFAULT_WATCH_SECONDS : timeoutSeconds) * 1000,
      },
    };
  }

  #expiredWatch(asked: string): Reply {
    const error = expired(`too old resource version: ${asked} (${this.#cluster.store.compacted})`);
    if (this.#options.expiredWatch === 'http-status') throw error;
    return { kind: 'watch-error', status: error.status };
  }
}

function plainReply(path: string): Reply {
  const document = plainDocument(path);
  if (document === undefined) throw new ApiError(404, 'the server could not find the requested resource');
  if (document === 'ok') return { kind: 'text', text: document };
  return { kind: 'json', status: 200, json: JSON.stringify(document) };
}

function refOf(route: ResourceRoute): ObjectRef {
  return { resource: route.definition.resource, namespace: route.namespace, name: route.name };
}

function scopeOf(route: ResourceRoute): WriteScope {
  return route.subresource === 'status' ? 'status' : 'main';
}

function selectionOf(route: ResourceRoute): Selection {
  const { definition, namespace, query } = route;
  return parseSelection(definition, namespace, query.get('fieldSelector') ?? '', query.get('labelSelector') ?? '');
}

function jsonBody(body: RequestBody): unknown {
  if (body.mediaType !== '' && body.mediaType !== 'application/json') {
    throw unsupported(body.mediaType, 'application/json');
  }
  return body.value;
}

function patchBody(body: RequestBody): unknown {
  if (body.mediaType === STRATEGIC_PATCH) refuseDirectives(body.value);
  else if (body.mediaType !== MERGE_PATCH) throw unsupported(body.mediaType, `${MERGE_PATCH}, ${STRATEGIC_PATCH}`);
  return body.value;
}

function unsupported(mediaType: string, accepted: string): ApiError {
  return new ApiError(
    415,
    `the body of the request was in an unknown format "${mediaType}" - accepted media types include: ${accepted}`,
  );
}

function versionOf(query: URLSearchParams): string {
  const version = query.get('resourceVersion') ?? '';
  if (version !== '') wholeNumber(version, 'resourceVersion');
  return version;
}

function wholeNumber(text: string, parameter: string): number {
  if (!/^\d{1,15}$/.test(text)) throw badRequest(`${parameter} must be a whole number of at least 0, got "${text}"`);
  return Number(text);
}
