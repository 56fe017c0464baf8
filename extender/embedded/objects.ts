// The shape of stored API objects and the boundary parser that checks outside JSON into it.
// The only file of the embedded cluster that casts. Objects are immutable once stored (deeply frozen).

import { badRequest, invalid } from './api-error.ts';
import { apiVersionOf } from './resources.ts';
import type { ResourceDefinition } from './resources.ts';

export type JsonRecord = Readonly<Record<string, unknown>>;

export interface ObjectMeta {
  readonly name: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

export interface KubeObject {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: ObjectMeta;
  readonly spec?: JsonRecord;
  readonly status?: JsonRecord;
  readonly [field: string]: unknown;
}

const META_STRINGS = [
  'name',
  'generateName',
  'namespace',
  'uid',
  'resourceVersion',
  'creationTimestamp',
  'deletionTimestamp',
] as const;

const NAME_PATTERN = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function recordAt(value: unknown, field: string): JsonRecord | undefined {
  const found = isRecord(value) ? value[field] : undefined;
  return isRecord(found) ? found : undefined;
}

export function textAt(value: unknown, field: string): string | undefined {
  const found = isRecord(value) ? value[field] : undefined;
  return typeof found === 'string' && found !== '' ? found : undefined;
}

/** A string map such as annotations; anything else is a 400 that names the field. */
export function stringMap(value: unknown, field: string): Readonly<Record<string, string>> | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isRecord(value)) throw badRequest(`${field} must be a map of strings`);
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== 'string') throw badRequest(`${field}[${key}] must be a string`);
  }
  return value as Readonly<Record<string, string>>;
}

function parseMeta(value: unknown): ObjectMeta {
  if (value !== undefined && value !== null && !isRecord(value)) throw badRequest('metadata must be an object');
  const meta: Record<string, unknown> = {};
  for (const [field, entry] of Object.entries(value ?? {})) {
    if (entry !== null && entry !== undefined) meta[field] = entry;
  }
  for (const field of META_STRINGS) {
    if (meta[field] !== undefined && typeof meta[field] !== 'string') {
      throw badRequest(`metadata.${field} must be a string`);
    }
  }
  stringMap(meta['labels'], 'metadata.labels');
  stringMap(meta['annotations'], 'metadata.annotations');
  return { ...(meta as Omit<ObjectMeta, 'name'>), name: typeof meta['name'] === 'string' ? meta['name'] : '' };
}

function checkType(value: JsonRecord, field: 'kind' | 'apiVersion', expected: string): void {
  const given = value[field];
  if (given === undefined || given === null || given === '' || given === expected) return;
  throw badRequest(
    `the ${field} in the data (${JSON.stringify(given)}) does not match the expected ${field} (${expected})`,
  );
}

/** Checks outside JSON into an object of the given resource. The name may still be empty. */
export function parseObject(value: unknown, definition: ResourceDefinition): KubeObject {
  if (!isRecord(value)) throw badRequest(`the body must be a JSON object of kind ${definition.kind}`);
  checkType(value, 'kind', definition.kind);
  checkType(value, 'apiVersion', apiVersionOf(definition));
  for (const field of ['spec', 'status'] as const) {
    if (value[field] !== undefined && value[field] !== null && !isRecord(value[field])) {
      throw badRequest(`${field} must be an object`);
    }
  }
  // Fixed key order: kind and apiVersion first, like the real server, and one hidden class for all objects.
  return {
    kind: definition.kind,
    apiVersion: apiVersionOf(definition),
    ...withoutNulls(value),
    metadata: parseMeta(value['metadata']),
  };
}

function withoutNulls(value: JsonRecord): Record<string, unknown> {
  const kept: Record<string, unknown> = {};
  for (const [field, entry] of Object.entries(value)) {
    if (entry === null || entry === undefined || field === 'kind' || field === 'apiVersion') continue;
    kept[field] = entry;
  }
  return kept;
}

export function checkName(definition: ResourceDefinition, name: string): void {
  if (name === '') throw invalid(definition, name, 'metadata.name', 'Required value: name or generateName is required');
  if (!NAME_PATTERN.test(name)) {
    throw invalid(
      definition,
      name,
      'metadata.name',
      `Invalid value: "${name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'`,
    );
  }
}

/** Freezes a value in depth. Parts that are frozen already are taken as frozen throughout. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const part of Object.values(value)) deepFreeze<unknown>(part);
  return value;
}
