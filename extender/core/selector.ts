// Label selectors as kubectl writes them (`app=web,tier in (a,b),!canary`), over pods on the same GPU.
// Parsing is linear and bounded; matching never walks the prototype of a labels object.

import type { StringMap } from './manifest.ts';

type Operator = 'in' | 'notIn' | 'exists' | 'absent';

interface Requirement {
  readonly key: string;
  readonly operator: Operator;
  readonly values: readonly string[];
}

/** A parsed selector with the namespaces it looks at. Two terms with the same `id` match the same pods. */
export interface AffinityTerm {
  readonly id: string;
  readonly text: string;
  readonly requirements: readonly Requirement[];
  readonly namespaces: readonly string[];
}

export const MAX_SELECTOR_CHARACTERS = 1024;
const KEY = /^([a-z0-9A-Z]([-a-z0-9A-Z.]{0,251}[a-z0-9A-Z])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;
const SET_BASED = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;
const EQUALITY = /^([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)$/;

export type SelectorResult =
  { readonly kind: 'term'; readonly term: AffinityTerm } | { readonly kind: 'invalid'; readonly why: string };

/** Reads a selector; `why` says which part is wrong. An empty selector is invalid, since it would match every pod. */
export function parseAffinityTerm(text: string, namespaces: readonly string[]): SelectorResult {
  if (text.length > MAX_SELECTOR_CHARACTERS) {
    return { kind: 'invalid', why: `is longer than ${MAX_SELECTOR_CHARACTERS} characters` };
  }
  const requirements: Requirement[] = [];
  for (const part of splitTopLevel(text)) {
    const requirement = parseRequirement(part.trim());
    if (requirement === undefined) {
      return {
        kind: 'invalid',
        why: `has an unreadable part "${part.trim()}"; write it as app=web or app in (web,api)`,
      };
    }
    requirements.push(requirement);
  }
  const sorted = [...new Set(namespaces)].sort();
  const canonical = requirements.map(renderRequirement).sort().join(',');
  return { kind: 'term', term: { id: `${sorted.join('|')}:${canonical}`, text, requirements, namespaces: sorted } };
}

/** Whether a pod with these labels in this namespace is selected. */
export function termMatches(term: AffinityTerm, namespace: string, labels: StringMap): boolean {
  return term.namespaces.includes(namespace) && term.requirements.every((each) => requirementMatches(each, labels));
}

function requirementMatches({ key, operator, values }: Requirement, labels: StringMap): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'in':
      return value !== undefined && values.includes(value);
    case 'notIn':
      return value === undefined || !values.includes(value);
    case 'exists':
      return value !== undefined;
    case 'absent':
      return value === undefined;
  }
}

function parseRequirement(part: string): Requirement | undefined {
  if (part.startsWith('!')) return checked(part.slice(1).trim(), 'absent', []);
  const setBased = SET_BASED.exec(part);
  if (setBased !== null) {
    const [, key = '', word, list = ''] = setBased;
    const values = list.split(',').map((each) => each.trim());
    return checked(key, word === 'in' ? 'in' : 'notIn', values.sort());
  }
  const equality = EQUALITY.exec(part);
  if (equality === null) return checked(part, 'exists', []);
  const [, key = '', sign, value = ''] = equality;
  return checked(key, sign === '!=' ? 'notIn' : 'in', [value]);
}

function checked(key: string, operator: Operator, values: readonly string[]): Requirement | undefined {
  if (!KEY.test(key) || !values.every((value) => VALUE.test(value))) return undefined;
  return { key, operator, values };
}

function renderRequirement({ key, operator, values }: Requirement): string {
  return values.length === 0 && operator !== 'in' && operator !== 'notIn'
    ? `${operator} ${key}`
    : `${key} ${operator} (${values.join(',')})`;
}

/** Splits at commas that are not inside parentheses. */
function splitTopLevel(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '(') depth++;
    else if (character === ')') depth--;
    else if (character === ',' && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}
