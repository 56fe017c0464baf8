// The shipped permissions against the calls that the extender makes: every call allowed, and nothing else.

import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { at, listAt } from '../support/api-connection.ts';
import { manifests } from '../support/deploy-files.ts';

const KUBE = resolve(import.meta.dirname, '../../extender/kube');
const LEASE = { namespace: 'gpuloom-system', name: 'gpuloom-extender' };
const SERVICE = { namespace: 'gpuloom-system', name: 'gpuloom-extender' };

/** A call as RBAC sees it. Without a namespace it can be in any. */
interface ApiCall {
  readonly by: string;
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
}

const CALLS: readonly ApiCall[] = [
  { by: 'feeds.ts: GET nodes', verb: 'list', group: '', resource: 'nodes' },
  { by: 'feeds.ts: GET nodes?watch', verb: 'watch', group: '', resource: 'nodes' },
  { by: 'feeds.ts: GET pods', verb: 'list', group: '', resource: 'pods' },
  { by: 'feeds.ts: GET pods?watch', verb: 'watch', group: '', resource: 'pods' },
  { by: 'pod-reader.ts: GET one pod', verb: 'get', group: '', resource: 'pods' },
  { by: 'binder.ts: POST binding', verb: 'create', group: '', resource: 'pods/binding' },
  { by: 'events.ts: POST events', verb: 'create', group: 'events.k8s.io', resource: 'events' },
  { by: 'events.ts: PATCH one event', verb: 'patch', group: 'events.k8s.io', resource: 'events' },
  // A create has its name in the body, which RBAC does not see.
  {
    by: 'lease.ts: POST leases',
    verb: 'create',
    group: 'coordination.k8s.io',
    resource: 'leases',
    namespace: LEASE.namespace,
  },
  { by: 'lease.ts: GET the lease', verb: 'get', group: 'coordination.k8s.io', resource: 'leases', ...LEASE },
  { by: 'lease.ts: PUT the lease', verb: 'update', group: 'coordination.k8s.io', resource: 'leases', ...LEASE },
  {
    by: 'service-endpoint.ts: POST endpoints',
    verb: 'create',
    group: '',
    resource: 'endpoints',
    namespace: SERVICE.namespace,
  },
  { by: 'service-endpoint.ts: GET the endpoints', verb: 'get', group: '', resource: 'endpoints', ...SERVICE },
  { by: 'service-endpoint.ts: PUT the endpoints', verb: 'update', group: '', resource: 'endpoints', ...SERVICE },
];

const GPUSHARE_CALLS: readonly ApiCall[] = [
  { by: 'feeds.ts: GET configmaps', verb: 'list', group: '', resource: 'configmaps', namespace: 'kube-system' },
  { by: 'feeds.ts: GET configmaps?watch', verb: 'watch', group: '', resource: 'configmaps', namespace: 'kube-system' },
];

/** Every combination that the roles of a folder grant to the extender, one text each. */
function granted(folder: string): readonly string[] {
  const all = manifests(folder).map(({ content }) => content);
  const bindings = all.filter(
    (one) => String(at(one, 'kind')).endsWith('RoleBinding') || at(one, 'kind') === 'ClusterRoleBinding',
  );
  return bindings.flatMap((binding) => {
    expect(listAt(binding, 'subjects')).toEqual([
      { kind: 'ServiceAccount', name: 'gpuloom-extender', namespace: 'gpuloom-system' },
    ]);
    const role = all.find(
      (one) =>
        at(one, 'kind') === at(binding, 'roleRef.kind') &&
        at(one, 'metadata.name') === at(binding, 'roleRef.name') &&
        at(one, 'metadata.namespace') === at(binding, 'metadata.namespace'),
    );
    expect(role, `the role of ${String(at(binding, 'metadata.name'))}`).toBeDefined();
    return listAt(role, 'rules').flatMap((rule) => spelledOut(rule, namespaceOf(role)));
  });
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

function needed(calls: readonly ApiCall[]): readonly string[] {
  return calls.map(textOf).sort();
}

describe('the permissions of the extender', () => {
  it('are the calls it makes, no more and no less', () => {
    expect([...granted('kustomize/base')].sort()).toEqual(needed(CALLS));
  });

  it('grow in the gpushare overlay by reading ConfigMaps of kube-system, and by nothing else', () => {
    expect([...granted('kustomize/overlays/gpushare')].sort()).toEqual(needed(GPUSHARE_CALLS));
  });

  it('are judged by a list of calls that names every resource in the client code', () => {
    const literal = /'([^']*)'/g;
    const paths = readdirSync(KUBE)
      .flatMap((file) => [...readFileSync(join(KUBE, file), 'utf8').matchAll(/apiPath\(([^;]*?)\)/g)])
      .map(([, list = '']) => [...list.matchAll(literal)].map(([, part = '']) => part))
      .map(([version = '', ...parts]) => {
        const group = version.includes('/') ? version.slice(0, version.indexOf('/')) : '';
        return `${group}:${parts.filter((part) => part !== 'namespaces').join('/')}`;
      })
      .filter((path) => !path.endsWith(':'));
    const listed = [...CALLS, ...GPUSHARE_CALLS].map(({ group, resource }) => `${group}:${resource}`);
    expect([...new Set(paths)].sort()).toEqual([...new Set(listed)].sort());
  });

  it('never reach secrets, other writes to pods or nodes, or everything at once', () => {
    const all = [...granted('kustomize/base'), ...granted('kustomize/overlays/gpushare')].join('\n');
    expect(all).not.toMatch(/\*|secrets|(update|patch|delete|create) (pods|nodes)\b(?!\/binding)/);
  });
});
