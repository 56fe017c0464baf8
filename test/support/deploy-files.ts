// The shipped files under deploy/ as parsed documents, and JSON patches as kustomize applies them.
// It renders nothing else of kustomize: tests that need more read the files themselves. Read-only.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { at, listAt } from './api-connection.ts';

export const DEPLOY: string = resolve(import.meta.dirname, '../../deploy');

export interface DeployDocument {
  /** Path below deploy/. */
  readonly file: string;
  readonly content: unknown;
}

/** Paths below deploy/ of every YAML file, in a stable order. */
export function yamlFiles(folder = '.'): readonly string[] {
  const all = readdirSync(join(DEPLOY, folder), { recursive: true, encoding: 'utf8' });
  return all
    .filter((path) => path.endsWith('.yaml'))
    .map((path) => join(folder, path))
    .sort();
}

export function documentsIn(file: string): readonly DeployDocument[] {
  return parseAllDocuments(readFileSync(join(DEPLOY, file), 'utf8'), { uniqueKeys: true }).map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw new Error(`${file}: ${problem.message}`);
    const content: unknown = document.toJS();
    return { file, content };
  });
}

/** The one document of a file. */
export function documentIn(file: string): unknown {
  const [only, ...others] = documentsIn(file);
  if (only === undefined || others.length > 0) throw new Error(`${file}: expected one document`);
  return only.content;
}

export function manifests(folder = '.'): readonly DeployDocument[] {
  return yamlFiles(folder)
    .flatMap(documentsIn)
    .filter(({ content }) => at(content, 'kind') !== undefined);
}

/** The files that a kustomization names, resolved below deploy/. */
export function filesOfKustomization(file: string): readonly string[] {
  const content = documentIn(file);
  const named = [
    ...listAt(content, 'resources'),
    ...listAt(content, 'components'),
    ...listAt(content, 'patches').map((patch) => at(patch, 'path')),
    ...listAt(content, 'configMapGenerator').flatMap((generator) => listAt(generator, 'files')),
  ];
  const folder = resolve(DEPLOY, file, '..');
  return named.map((name) => relative(DEPLOY, resolve(folder, String(name))));
}

/** A copy of the document with the operations of a JSON patch (add, remove, replace, test) applied in order. */
export function patched(document: unknown, operations: unknown): unknown {
  const result: unknown = structuredClone(document);
  if (!Array.isArray(operations)) throw new Error('a JSON patch is a list of operations');
  for (const operation of operations) applyOperation(result, operation);
  return result;
}

function applyOperation(root: unknown, operation: unknown): void {
  const path = String(at(operation, 'path'));
  const steps = path.slice(1).split('/');
  const last = steps.pop() ?? '';
  const parent = at(root, steps.join('.'));
  const value = at(operation, 'value');
  const op = at(operation, 'op');
  if (op !== 'add' && at(parent, last) === undefined) throw new Error(`${path}: nothing to ${String(op)} here`);
  if (op === 'test') {
    if (at(parent, last) !== value) throw new Error(`${path} is ${String(at(parent, last))}, not ${String(value)}`);
  } else if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last);
    parent.splice(index, op === 'add' ? 0 : 1, ...(op === 'remove' ? [] : [value]));
  } else if (typeof parent === 'object' && parent !== null) {
    if (op === 'remove') Reflect.deleteProperty(parent, last);
    else Reflect.set(parent, last, value);
  } else throw new Error(`${path}: its parent does not exist`);
}
