// Shipped roles as the calls they allow, and API paths as the source code spells them, so that tests can hold the two
// against each other. Read-only.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { at, listAt } from './api-connection.ts';
import { manifests } from './deploy-files.ts';

/** A call as RBAC sees it. Without a namespace it can be in any. */
export interface ApiCall {
  readonly by: string;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
}

export interface Subject {
  readonly namespace: string;
  readonly name: string;
}

/** Every combination that the roles of a folder grant to a service account, one text each, in order. */
export function granted(folder: string, { namespace, name }: Subject): readonly string[] {
  const all = manifests(folder).map(({ content }) => content);
  const bindings = all.filter(
    (one) => String(at(one, 'kind')).endsWith('RoleBinding') || at(one, 'kind') === 'ClusterRoleBinding',
  );
  const texts = bindings.flatMap((binding) => {
    const subjects = JSON.stringify(listAt(binding, 'subjects'));
    if (subjects !== JSON.stringify([{ kind: 'ServiceAccount', name, namespace }])) {
      throw new Error(`${String(at(binding, 'metadata.name'))} grants to ${subjects}`);
    }
    const role = all.find(
      (one) =>
        at(one, 'kind') === at(binding, 'roleRef.kind') &&
        at(one, 'metadata.name') === at(binding, 'roleRef.name') &&
        at(one, 'metadata.namespace') === at(binding, 'metadata.namespace'),
    );
    if (role === undefined) throw new Error(`${String(at(binding, 'metadata.name'))} names a role that is not there`);
    return listAt(role, 'rules').flatMap((rule) => spelledOut(rule, namespaceOf(role)));
  });
  return texts.sort();
}

function namespaceOf(role: unknown): string | undefined {
  const namespace = at(role, 'metadata.namespace');
  return typeof namespace === 'string' ? namespace : undefined;
}

function spelledOut(rule: unknown, namespace: string | undefined): readonly string[] {
  const texts = (key: string): readonly string[] => listAt(rule, key).map(String);
  const names = at(rule, 'resourceNames') === undefined ? [undefined] : texts('resourceNames');
  const where = namespace === undefined ? {} : { namespace };
  return texts('apiGroups').flatMap((group) =>
    texts('resources').flatMap((resource) =>
      texts('verbs').flatMap((verb) =>
        names.map((name) => textOf({ verb, group, resource, ...where, ...(name === undefined ? {} : { name }) })),
      ),
    ),
  );
}

function textOf({ verb, group, resource, namespace, name }: Omit<ApiCall, 'by'>): string {
  const where = namespace === undefined ? 'anywhere' : `in ${namespace}`;
  return `${verb} ${resource} of "${group}" ${where}${name === undefined ? '' : ` named ${name}`}`;
}

export function needed(calls: readonly ApiCall[]): readonly string[] {
  return calls.map(textOf).sort();
}

/** `group:resource` of every path that the files below a folder build from literals, each once, in order. */
export function resourcesIn(folder: string, isWanted: (file: string) => boolean = () => true): readonly string[] {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && isWanted(file))
    .flatMap((file) => [...readFileSync(join(folder, file), 'utf8').matchAll(/apiPath\(([^;]*?)\)/g)])
    .map(([, list = '']) => [...list.matchAll(/'([^']*)'/g)].map(([, part = '']) => part))
    .map(([version = '', ...parts]) => {
      const group = version.includes('/') ? version.slice(0, version.indexOf('/')) : '';
      return `${group}:${parts.filter((part) => part !== 'namespaces').join('/')}`;
    })
    .filter((path) => !path.endsWith(':'));
  return [...new Set(paths)].sort();
}

/** The same of a list of calls. */
export function resourcesOf(calls: readonly ApiCall[]): readonly string[] {
  return [...new Set(calls.map(({ group, resource }) => `${group}:${resource}`))].sort();
}
