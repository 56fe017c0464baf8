// Version, health and API discovery documents, enough for kubectl and client libraries to find their way.
// Derived from the resource table. Pure.

import type { ResourceDefinition } from './resources.ts';
import { apiVersionOf, resourceDefinitions } from './resources.ts';

const VERSION = { major: '1', minor: '34', gitVersion: 'v1.34.0+gpuloom-embedded', platform: 'node/embedded' };
const VERBS = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];

/** The document at a plain path; undefined when there is none. Health checks are text, not JSON. */
export function plainDocument(path: string): object | 'ok' | undefined {
  switch (path) {
    case '/version':
      return VERSION;
    case '/healthz':
    case '/livez':
    case '/readyz':
      return 'ok';
    case '':
      return { paths: ['/api/v1', '/apis', '/healthz', '/readyz', '/version'] };
    case '/api':
      return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
    case '/apis':
      return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups().map(groupEntry) };
    default:
      return groupDocument(path);
  }
}

function groupDocument(path: string): object | undefined {
  const [root, first = '', second] = path.split('/').slice(1);
  if (root === 'apis' && second === undefined) {
    return groups().includes(first) ? { kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(first) } : undefined;
  }
  const groupVersion = root === 'api' ? first : `${first}/${second ?? ''}`;
  const members = resourceDefinitions.filter((definition) => apiVersionOf(definition) === groupVersion);
  if (members.length === 0) return undefined;
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: members.flatMap(resourceEntries) };
}

function groups(): readonly string[] {
  return [...new Set(resourceDefinitions.map((definition) => definition.group))].filter((group) => group !== '');
}

function groupEntry(name: string): object {
  const version = { groupVersion: `${name}/v1`, version: 'v1' };
  return { name, versions: [version], preferredVersion: version };
}

function resourceEntries(definition: ResourceDefinition): readonly object[] {
  const { plural, singular, kind, namespaced, shortNames } = definition;
  const entry = { name: plural, singularName: singular, namespaced, kind, verbs: VERBS, shortNames };
  const status = { name: `${plural}/status`, singularName: '', namespaced, kind, verbs: ['get', 'patch', 'update'] };
  const pod = [
    { name: 'pods/binding', singularName: '', namespaced, kind: 'Binding', verbs: ['create'] },
    {
      name: 'pods/eviction',
      singularName: '',
      namespaced,
      group: 'policy',
      version: 'v1',
      kind: 'Eviction',
      verbs: ['create'],
    },
  ];
  return [entry, ...(definition.statusSubresource ? [status] : []), ...(definition.resource === 'pods' ? pod : [])];
}
