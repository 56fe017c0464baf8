// The Status object of the Kubernetes API and the errors that carry one.
// Owns wording and reasons as kube-apiserver writes them, because clients match on them. Pure.

import type { ResourceDefinition } from './resources.ts';

export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

export interface Status {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Readonly<Record<string, never>>;
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly details?: {
    readonly name?: string;
    readonly group?: string;
    readonly kind?: string;
    readonly uid?: string;
    readonly causes?: readonly StatusCause[];
    readonly retryAfterSeconds?: number;
  };
  readonly code: number;
}

const REASONS: Readonly<Record<number, string | undefined>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Expired',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

export type StatusExtras = Pick<Status, 'details' | 'reason'>;

export function successStatus(code: number, details?: Status['details']): Status {
  const base = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code } as const;
  return details === undefined ? base : { ...base, details };
}

export function failureStatus(code: number, message: string, extras: StatusExtras = {}): Status {
  const reason = extras.reason ?? REASONS[code] ?? 'Unknown';
  const base = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code } as const;
  return extras.details === undefined ? base : { ...base, details: extras.details };
}

/** A refusal with the Status that goes over the wire. */
export class ApiError extends Error {
  readonly status: Status;

  constructor(code: number, message: string, extras: StatusExtras = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = failureStatus(code, message, extras);
  }
}

/** `pods`, `leases.coordination.k8s.io`: the way kube-apiserver names a resource in messages. */
export function qualifiedName(definition: ResourceDefinition): string {
  return definition.group === '' ? definition.plural : `${definition.plural}.${definition.group}`;
}

function detailsOf(definition: ResourceDefinition, name: string): Status['details'] {
  const base = { name, kind: definition.plural };
  return definition.group === '' ? base : { ...base, group: definition.group };
}

function about(definition: ResourceDefinition, name: string): StatusExtras {
  const details = detailsOf(definition, name);
  return details === undefined ? {} : { details };
}

export function notFound(definition: ResourceDefinition, name: string): ApiError {
  return new ApiError(404, `${qualifiedName(definition)} "${name}" not found`, about(definition, name));
}

export function alreadyExists(definition: ResourceDefinition, name: string): ApiError {
  return new ApiError(409, `${qualifiedName(definition)} "${name}" already exists`, {
    ...about(definition, name),
    reason: 'AlreadyExists',
  });
}

export function conflict(definition: ResourceDefinition, name: string, cause: string, subresource = ''): ApiError {
  const what = `${qualifiedName(definition)}${subresource === '' ? '' : `/${subresource}`}`;
  return new ApiError(409, `Operation cannot be fulfilled on ${what} "${name}": ${cause}`, about(definition, name));
}

export function staleVersion(definition: ResourceDefinition, name: string): ApiError {
  return conflict(
    definition,
    name,
    'the object has been modified; please apply your changes to the latest version and try again',
  );
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, message);
}

export function invalid(definition: ResourceDefinition, name: string, field: string, problem: string): ApiError {
  return new ApiError(422, `${definition.kind} "${name}" is invalid: ${field}: ${problem}`, {
    details: { ...detailsOf(definition, name), causes: [{ field, message: problem }] },
  });
}

/** Answer to a watch or a continue token that asks for a past the server has forgotten. */
export function expired(message: string): ApiError {
  return new ApiError(410, message, { reason: 'Expired' });
}
