// Contract cases: objects, lists and updates of any resource.

import { expect, test } from 'vitest';

import { at, namesIn } from '../support/api-connection.ts';
import type { Answer } from '../support/api-connection.ts';
import type { Cases } from './api-server-subject.ts';
import { expectFailure, uidOf, versionOf } from './api-server-subject.ts';

export const plainCases: Cases = (subject) => {
  test('says that it is healthy and which version it is', async () => {
    const { api } = subject();
    expect(await api.get('/healthz')).toMatchObject({ status: 200, body: 'ok' });
    expect(await api.get('/readyz')).toMatchObject({ status: 200, body: 'ok' });
    expect(at((await api.get('/version')).body, 'gitVersion')).toMatch(/^v1\./);
  });

  test('answers an unknown path with 404', async () => {
    expect((await subject().api.get('/api/v1/gadgets')).status).toBe(404);
  });

  test('refuses a body that is not JSON with a 400 Status', async () => {
    const { api, pods } = subject();
    expectFailure(await api.post(pods(), '{"metadata":'), 400, 'BadRequest');
  });

  test('refuses a JSON patch sent under an unknown media type', async () => {
    const { api, pods, name } = subject();
    const pod = name('media');
    await subject().createPod(pod);
    const answer = await api.call('PATCH', pods(pod), {}, 'application/unknown');
    expect(answer.status).toBe(415);
  });
};

export const objectCases: Cases = (subject) => {
  test('fills identity at creation and hands the same object back', async () => {
    const { api, pods, name, createPod } = subject();
    const pod = name('create');
    const created = await createPod(pod, { team: 'a' });
    expect(created).toMatchObject({
      status: 201,
      body: {
        kind: 'Pod',
        apiVersion: 'v1',
        metadata: { name: pod, labels: { team: 'a' } },
        status: { phase: 'Pending' },
      },
    });
    expect(uidOf(created)).toMatch(/^[0-9a-f-]{36}$/);
    expect(at(created.body, 'metadata.creationTimestamp')).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    const read = await api.get(pods(pod));
    expect(read.status).toBe(200);
    expect(read.body).toEqual(created.body);
  });

  test('refuses a second object of the same name', async () => {
    const { name, createPod } = subject();
    const pod = name('twice');
    await createPod(pod);
    expectFailure(await createPod(pod), 409, 'AlreadyExists');
  });

  test('refuses a name that is no DNS name', async () => {
    expectFailure(await subject().createPod('Not_A_Name'), 422, 'Invalid');
  });

  test('names what it did not find', async () => {
    const { api, pods, name } = subject();
    const missing = name('missing');
    const answer = await api.get(pods(missing));
    expectFailure(answer, 404, 'NotFound');
    expect(answer.body).toMatchObject({
      message: `pods "${missing}" not found`,
      details: { name: missing, kind: 'pods' },
    });
  });

  test('keeps config maps and events of both event APIs', async () => {
    const { api, server, name } = subject();
    const path = `/api/v1/namespaces/${server.namespace}`;
    const now = new Date().toISOString().replace('Z', '000Z');
    const involved = { kind: 'Pod', apiVersion: 'v1', namespace: server.namespace, name: 'p', uid: 'u' };
    const map = await api.post(`${path}/configmaps`, { metadata: { name: name('map') }, data: { key: 'value' } });
    expect(map).toMatchObject({ status: 201, body: { kind: 'ConfigMap', data: { key: 'value' } } });
    const event = name('event');
    const core = {
      metadata: { name: event },
      involvedObject: involved,
      reason: 'Tested',
      message: 'm',
      type: 'Normal',
    };
    expect(await api.post(`${path}/events`, core)).toMatchObject({ status: 201, body: { reason: 'Tested' } });
    const counted = await api.mergePatch(`${path}/events/${event}`, { count: 2 });
    expect(counted).toMatchObject({ status: 200, body: { count: 2, message: 'm' } });
    const newer = await api.post(`/apis/events.k8s.io/v1/namespaces/${server.namespace}/events`, {
      metadata: { name: name('event') },
      eventTime: now,
      reportingController: 'gpuloom.io/test',
      reportingInstance: 'test-0',
      action: 'Testing',
      reason: 'Tested',
      regarding: involved,
      note: 'n',
      type: 'Normal',
    });
    expect(newer).toMatchObject({ status: 201, body: { apiVersion: 'events.k8s.io/v1', note: 'n' } });
  });
};

export const listCases: Cases = (subject) => {
  test('lists by label and field selectors', async () => {
    const { api, pods, name, createPod, bind } = subject();
    const [tag, first, second] = [name('tag'), name('a-list'), name('b-list')];
    await createPod(first, { tag, tier: 'gold' });
    await createPod(second, { tag });
    await bind(second, 'list-node');
    const select = async (query: string): Promise<readonly string[]> => {
      const separator = query.includes('labelSelector') ? '%2C' : '&labelSelector=';
      return namesIn((await api.get(pods(`?${query}${separator}tag%3D${tag}`))).body);
    };
    expect(await select('limit=0')).toEqual([first, second]);
    expect(await select('labelSelector=tier%3Dgold')).toEqual([first]);
    expect(await select('labelSelector=tier!%3Dgold')).toEqual([second]);
    expect(await select('labelSelector=tier+in+(silver%2Cgold)')).toEqual([first]);
    expect(await select('labelSelector=!tier')).toEqual([second]);
    expect(await select('fieldSelector=spec.nodeName%3Dlist-node')).toEqual([second]);
    expect(await select('fieldSelector=spec.nodeName!%3Dlist-node')).toEqual([first]);
    expect(await select(`fieldSelector=status.phase%3DPending%2Cmetadata.name%3D${first}`)).toEqual([first]);
    expect(await select('fieldSelector=status.phase!%3DPending')).toEqual([]);
    expect((await api.get(pods('?fieldSelector=spec.colour%3Dred'))).status).toBe(400);
  });

  test('pages of one list show one moment, whatever is written between them', async () => {
    const { api, pods, name, createPod } = subject();
    const tag = name('paged');
    const expected = Array.from({ length: 5 }, (_, index) => `${tag}-${index}`);
    for (const pod of expected) await createPod(pod, { tag });
    const query = `?limit=2&labelSelector=tag%3D${tag}`;
    const first = await api.get(pods(query));
    expect(at(first.body, 'kind')).toBe('PodList');
    await api.call('DELETE', pods(`${tag}-3?gracePeriodSeconds=0`));
    await createPod(`${tag}-9`, { tag });
    const names = [...namesIn(first.body)];
    let page = first;
    while (typeof at(page.body, 'metadata.continue') === 'string') {
      page = await api.get(pods(`${query}&continue=${encodeURIComponent(String(at(page.body, 'metadata.continue')))}`));
      expect(versionOf(page)).toBe(versionOf(first));
      names.push(...namesIn(page.body));
    }
    expect(names).toEqual(expected);
  });

  test('a continue token from before a compaction gets 410', async (context) => {
    const { api, pods, name, createPod, server } = subject();
    if (server.compact === undefined) return context.skip('this server offers no compaction');
    const tag = name('expired');
    for (const index of [0, 1]) await createPod(`${tag}-${index}`, { tag });
    const first = await api.get(pods(`?limit=1&labelSelector=tag%3D${tag}`));
    await createPod(`${tag}-2`, { tag });
    await server.compact();
    const token = encodeURIComponent(String(at(first.body, 'metadata.continue')));
    expectFailure(await api.get(pods(`?limit=1&continue=${token}`)), 410, 'Expired');
  });
};

export const updateCases: Cases = (subject) => {
  test('a lease moves only under its current resourceVersion', async () => {
    const { api, server, name } = subject();
    const leases = `/apis/coordination.k8s.io/v1/namespaces/${server.namespace}/leases`;
    const metadata = { name: name('lease') };
    const created = await api.post(leases, { metadata, spec: { holderIdentity: 'a', leaseDurationSeconds: 15 } });
    expect(created.status).toBe(201);
    const renew = (holderIdentity: string, resourceVersion?: string): Promise<Answer> =>
      api.call('PUT', `${leases}/${metadata.name}`, {
        metadata: resourceVersion === undefined ? metadata : { ...metadata, resourceVersion },
        spec: { holderIdentity, leaseDurationSeconds: 15 },
      });
    const second = await renew('b', versionOf(created));
    expect(second).toMatchObject({ status: 200, body: { spec: { holderIdentity: 'b' } } });
    expectFailure(await renew('c', versionOf(created)), 409, 'Conflict');
    expectFailure(await renew('c'), 422, 'Invalid');
    expect(at((await api.get(`${leases}/${metadata.name}`)).body, 'spec.holderIdentity')).toBe('b');
  });

  test('Endpoints are created by a PUT, and move only under their current resourceVersion where one is named', async () => {
    const { api, server, name } = subject();
    const metadata = { name: name('endpoints') };
    const url = `/api/v1/namespaces/${server.namespace}/endpoints/${metadata.name}`;
    const ports = [{ name: 'verbs', port: 12345, protocol: 'TCP' }];
    const point = (ip: string, resourceVersion?: string): Promise<Answer> =>
      api.call('PUT', url, {
        metadata: resourceVersion === undefined ? metadata : { ...metadata, resourceVersion },
        subsets: [{ addresses: [{ ip }], ports }],
      });
    const created = await point('10.0.0.1');
    expect(created.status).toBe(201);
    expect((await point('10.0.0.2', versionOf(created))).status).toBe(200);
    expectFailure(await point('10.0.0.3', versionOf(created)), 409, 'Conflict');
    expect((await point('10.0.0.4')).status).toBe(200);
    expect(at((await api.get(url)).body, 'subsets')).toEqual([{ addresses: [{ ip: '10.0.0.4' }], ports }]);
  });

  test('a merge patch sets and removes annotations, and honours a resourceVersion', async () => {
    const { api, pods, name, createPod } = subject();
    const pod = name('patch');
    const created = await createPod(pod);
    const patch = (metadata: object): Promise<Answer> => api.mergePatch(pods(pod), { metadata });
    const both = await patch({ annotations: { 'example.io/a': '1', 'example.io/b': '2' } });
    expect(at(both.body, 'metadata.annotations')).toEqual({ 'example.io/a': '1', 'example.io/b': '2' });
    const one = await patch({ annotations: { 'example.io/a': null }, resourceVersion: versionOf(both) });
    expect(at(one.body, 'metadata.annotations')).toEqual({ 'example.io/b': '2' });
    const stale = await patch({ annotations: { 'example.io/c': '3' }, resourceVersion: versionOf(created) });
    expectFailure(stale, 409, 'Conflict');
    expect((await api.get(pods(pod))).body).toEqual(one.body);
  });

  test('a patch that changes nothing makes no new version', async () => {
    const { api, pods, name, createPod } = subject();
    const pod = name('same');
    const created = await createPod(pod, { team: 'a' });
    const patched = await api.mergePatch(pods(pod), { metadata: { labels: { team: 'a' } } });
    expect(versionOf(patched)).toBe(versionOf(created));
  });

  test('status changes only through the status subresource, and nothing else does there', async () => {
    const { api, pods, name, createPod } = subject();
    const pod = name('status');
    await createPod(pod);
    const main = await api.mergePatch(pods(pod), { status: { phase: 'Running' } });
    expect(at(main.body, 'status.phase')).toBe('Pending');
    const status = await api.mergePatch(pods(`${pod}/status`), {
      spec: { activeDeadlineSeconds: 60 },
      status: { phase: 'Running' },
    });
    expect(at(status.body, 'status.phase')).toBe('Running');
    expect(at(status.body, 'spec.activeDeadlineSeconds')).toBeUndefined();
  });

  test('a node keeps its status through an update of its annotations', async () => {
    const { api, name } = subject();
    const node = name('node');
    const capacity = { cpu: '4', 'gpuloom.io/gpu-mem': '80' };
    await api.post('/api/v1/nodes', { metadata: { name: node } });
    await api.mergePatch(`/api/v1/nodes/${node}/status`, { status: { capacity } });
    const annotated = await api.mergePatch(`/api/v1/nodes/${node}`, {
      metadata: { annotations: { 'gpuloom.io/inventory': '{}' } },
      status: { capacity: { cpu: '8' } },
    });
    expect(annotated.body).toMatchObject({
      metadata: { annotations: { 'gpuloom.io/inventory': '{}' } },
      status: { capacity },
    });
    expect((await api.call('DELETE', `/api/v1/nodes/${node}`)).body).toMatchObject({ status: 'Success' });
    expectFailure(await api.get(`/api/v1/nodes/${node}`), 404, 'NotFound');
  });

  test('the node of a pod cannot be patched in', async () => {
    const { api, pods, name, createPod } = subject();
    const pod = name('nodename');
    await createPod(pod);
    expectFailure(await api.mergePatch(pods(pod), { spec: { nodeName: 'n1' } }), 422, 'Invalid');
  });

  test('neither a patch nor an update reaches an object of another uid', async () => {
    const { api, pods, name, createPod } = subject();
    const pod = name('other-uid');
    const created = await createPod(pod);
    const metadata = { name: pod, uid: '00000000-0000-4000-8000-000000000000', labels: { late: 'yes' } };
    expectFailure(await api.mergePatch(pods(pod), { metadata }), 422, 'Invalid');
    const spec = at(created.body, 'spec');
    expectFailure(await api.call('PUT', pods(pod), { metadata, spec }), 409, 'Conflict');
    expect((await api.get(pods(pod))).body).toEqual(created.body);
  });
};
