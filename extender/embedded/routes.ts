// Maps a request line to what it asks for, in the words of the Kubernetes API (verb, resource, subresource).
// Syntax only: whether the object exists or the body is good is decided later. Pure.

import { ApiError, badRequest } from './api-error.ts';
import type { ResourceDefinition } from './resources.ts';
import { findDefinition } from './resources.ts';

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete';

export type RouteSubresource = '' | 'status' | 'binding' | 'eviction';

export interface ResourceRoute {
  readonly kind: 'resource';
  readonly verb: Verb;
  readonly definition: ResourceDefinition;
  readonly subresource: RouteSubresource;
  readonly namespace: string | undefined;
  /** '' for a collection. */
  readonly name: string;
  readonly query: URLSearchParams;
}

/** `/version`, health and discovery. */
export interface PlainRoute {
  readonly kind: 'plain';
  readonly path: string;
}

export type Route = ResourceRoute | PlainRoute;

const PLAIN = /^\/(version|healthz|readyz|livez|api|apis|api\/[^/]+|apis\/[^/]+(\/[^/]+)?)?$/;

export function parseRoute(method: string, target: string): Route {
  const split = target.indexOf('?');
  const path = (split < 0 ? target : target.slice(0, split)).replace(/\/$/, '');
  if (PLAIN.test(path)) {
    if (method !== 'GET') throw methodNotAllowed(method, path);
    return { kind: 'plain', path };
  }
  return parseResource(method, path, new URLSearchParams(split < 0 ? '' : target.slice(split + 1)));
}

function parseResource(method: string, path: string, query: URLSearchParams): ResourceRoute {
  const parts = path.split('/').slice(1).map(decodePart);
  const [root, group = '', version = ''] = parts[0] === 'api' ? ['api', '', parts[1]] : parts;
  const rest = parts.slice(root === 'api' ? 2 : 3);
  const namespaced = rest[0] === 'namespaces' && rest.length > 2;
  const namespace = namespaced ? rest[1] : undefined;
  const [plural = '', name = '', subresource = '', ...excess] = namespaced ? rest.slice(2) : rest;
  const definition = root === 'api' || root === 'apis' ? findDefinition(group, version, plural) : undefined;
  const known = definition !== undefined && isSubresource(definition, subresource);
  const placed = definition?.namespaced === namespaced || (definition?.namespaced === true && name === '');
  if (!known || !placed || excess.length > 0) {
    throw new ApiError(404, 'the server could not find the requested resource');
  }
  const verb = verbOf(method, name, subresource, query);
  if (verb === undefined || (namespace === undefined && definition.namespaced && verb === 'create')) {
    throw methodNotAllowed(method, path);
  }
  return { kind: 'resource', verb, definition, subresource, namespace, name, query };
}

function isSubresource(definition: ResourceDefinition, subresource: string): subresource is RouteSubresource {
  switch (subresource) {
    case '':
      return true;
    case 'status':
      return definition.statusSubresource;
    case 'binding':
    case 'eviction':
      return definition.resource === 'pods';
    default:
      return false;
  }
}

function verbOf(method: string, name: string, subresource: string, query: URLSearchParams): Verb | undefined {
  if (subresource === 'binding' || subresource === 'eviction') return method === 'POST' ? 'create' : undefined;
  if (name === '') {
    if (method === 'POST') return 'create';
    if (method !== 'GET') return undefined;
    return isTrue(query.get('watch')) ? 'watch' : 'list';
  }
  switch (method) {
    case 'GET':
      return 'get';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return subresource === '' ? 'delete' : undefined;
    default:
      return undefined;
  }
}

export function isTrue(value: string | null): boolean {
  return value === 'true' || value === '1';
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    throw badRequest(`the path is not valid percent-encoding: ${String(error)}`);
  }
}

function methodNotAllowed(method: string, path: string): ApiError {
  return new ApiError(405, `the server does not allow this method on the requested resource: ${method} ${path}`);
}

/** `pods`, `pods/binding`: the name under which requests are counted and matched. */
export function countedResource(route: Route): string {
  if (route.kind === 'plain') return route.path === '' ? '/' : route.path;
  const { resource } = route.definition;
  return route.subresource === '' ? resource : `${resource}/${route.subresource}`;
}
