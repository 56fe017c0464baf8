// The shipped permissions against the calls that the extender makes: every call allowed, and nothing else.

import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { granted, needed, resourcesIn, resourcesOf } from '../support/role-rules.ts';
import type { ApiCall } from '../support/role-rules.ts';

const KUBE = resolve(import.meta.dirname, '../../extender/kube');
const EXTENDER = { namespace: 'gpuloom-system', name: 'gpuloom-extender' };
const LEASE = { namespace: 'gpuloom-system', name: 'gpuloom-extender' };
const SERVICE = { namespace: 'gpuloom-system', name: 'gpuloom-extender' };

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

describe('the permissions of the extender', () => {
  it('are the calls it makes, no more and no less', () => {
    expect(granted('kustomize/base', EXTENDER)).toEqual(needed(CALLS));
  });

  it('grow in the gpushare overlay by reading ConfigMaps of kube-system, and by nothing else', () => {
    expect(granted('kustomize/overlays/gpushare', EXTENDER)).toEqual(needed(GPUSHARE_CALLS));
  });

  it('are judged by a list of calls that names every resource in the client code', () => {
    expect(resourcesIn(KUBE)).toEqual(resourcesOf([...CALLS, ...GPUSHARE_CALLS]));
  });

  it('never reach secrets, other writes to pods or nodes, or everything at once', () => {
    const all = [...granted('kustomize/base', EXTENDER), ...granted('kustomize/overlays/gpushare', EXTENDER)].join(
      '\n',
    );
    expect(all).not.toMatch(/\*|secrets|(update|patch|delete|create) (pods|nodes)\b(?!\/binding)/);
  });
});
