// Field and label selectors of list and watch requests: parse once, then test objects.
// Owns the query syntax only; which objects exist is the store's business. Pure.

import { badRequest } from './api-error.ts';
import type { KubeObject } from './objects.ts';
import { isRecord } from './objects.ts';
import type { ResourceDefinition } from './resources.ts';

interface FieldTerm {
  readonly path: readonly string[];
  readonly equal: boolean;
  readonly value: string;
}

interface LabelTerm {
  readonly key: string;
  readonly test: 'in' | 'notin' | 'exists' | 'absent';
  readonly values: readonly string[];
}

/** What a list or watch asks for within one resource. */
export interface Selection {
  readonly namespace: string | undefined;
  readonly fields: readonly FieldTerm[];
  readonly labels: readonly LabelTerm[];
}

export const everything: Selection = { namespace: undefined, fields: [], labels: [] };

const LABEL_KEY = '[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?';
const SET_TERM = new RegExp(`^(${LABEL_KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUALITY_TERM = new RegExp(`^(${LABEL_KEY})\\s*(=|==|!=)\\s*([-A-Za-z0-9_.]*)$`);
const EXISTS_TERM = new RegExp(`^(!?)\\s*(${LABEL_KEY})$`);

export function parseSelection(
  definition: ResourceDefinition,
  namespace: string | undefined,
  fieldSelector: string,
  labelSelector: string,
): Selection {
  return {
    namespace,
    fields: splitTerms(fieldSelector).map((term) => parseFieldTerm(definition, term)),
    labels: splitTerms(labelSelector).map(parseLabelTerm),
  };
}

/** Splits at commas outside parentheses. */
function splitTerms(selector: string): readonly string[] {
  return selector
    .split(/,(?![^(]*\))/)
    .map((term) => term.trim())
    .filter((term) => term !== '');
}

function parseFieldTerm(definition: ResourceDefinition, term: string): FieldTerm {
  const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(term);
  const field = match?.[1]?.trim();
  if (match === null || field === undefined) {
    throw badRequest(`invalid field selector "${term}"; want field=value or field!=value`);
  }
  const known = ['metadata.name', 'metadata.namespace', ...definition.selectableFields];
  if (!known.includes(field)) {
    throw badRequest(`field label not supported: ${field}; ${definition.plural} know ${known.join(', ')}`);
  }
  return { path: field.split('.'), equal: match[2] !== '!=', value: (match[3] ?? '').trim() };
}

function parseLabelTerm(term: string): LabelTerm {
  const set = SET_TERM.exec(term);
  if (set !== null) {
    const values = (set[3] ?? '').split(',').map((value) => value.trim());
    return { key: set[1] ?? '', test: set[2] === 'in' ? 'in' : 'notin', values };
  }
  const equality = EQUALITY_TERM.exec(term);
  if (equality !== null) {
    return { key: equality[1] ?? '', test: equality[2] === '!=' ? 'notin' : 'in', values: [equality[3] ?? ''] };
  }
  const exists = EXISTS_TERM.exec(term);
  if (exists !== null) return { key: exists[2] ?? '', test: exists[1] === '!' ? 'absent' : 'exists', values: [] };
  throw badRequest(`unable to parse requirement "${term}" of the label selector`);
}

export function selects(selection: Selection, object: KubeObject): boolean {
  if (selection.namespace !== undefined && selection.namespace !== object.metadata.namespace) return false;
  return (
    selection.fields.every((term) => (fieldText(object, term.path) === term.value) === term.equal) &&
    selection.labels.every((term) => labelMatches(term, object.metadata.labels?.[term.key]))
  );
}

/** An unset field reads as the zero value of its kind: `false` for the one boolean, else the empty string. */
function fieldText(object: KubeObject, path: readonly string[]): string {
  let value: unknown = object;
  for (const part of path) value = isRecord(value) ? value[part] : undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return String(value);
  return path.at(-1) === 'unschedulable' ? 'false' : '';
}

const LABEL_TESTS = {
  in: (term: LabelTerm, value: string | undefined) => value !== undefined && term.values.includes(value),
  notin: (term: LabelTerm, value: string | undefined) => value === undefined || !term.values.includes(value),
  exists: (_: LabelTerm, value: string | undefined) => value !== undefined,
  absent: (_: LabelTerm, value: string | undefined) => value === undefined,
};

function labelMatches(term: LabelTerm, value: string | undefined): boolean {
  return LABEL_TESTS[term.test](term, value);
}
