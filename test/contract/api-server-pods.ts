// Contract cases: binding, eviction and deletion of pods.

import { expect, test } from 'vitest';

import { at, listAt } from '../support/api-connection.ts';
import type { Answer } from '../support/api-connection.ts';
import type { Cases } from './api-server-subject.ts';
import { expectFailure, uidOf, versionOf } from './api-server-subject.ts';

export const bindingCases: Cases = (subject) => {
  test('a Binding sets node, annotations and condition in one change', async () => {
    const { api, pods, name, createPod, bind } = subject();
    const pod = name('bind');
    const created = await createPod(pod);
    const from = versionOf(created);
    const watch = await api.watch(pods(`?watch=true&resourceVersion=${from}&fieldSelector=metadata.name%3D${pod}`));
    const answer = await bind(pod, 'n1', { annotations: { 'gpuloom.io/allocation': '{"v":1}' } });
    expect(answer).toMatchObject({ status: 201, body: { kind: 'Status', status: 'Success' } });
    const marker = await api.mergePatch(pods(pod), { metadata: { labels: { marker: 'yes' } } });
    const [bound, marked] = await watch.take(2);
    watch.close();
    expect(bound).toMatchObject({
      type: 'MODIFIED',
      object: {
        metadata: { uid: uidOf(created), annotations: { 'gpuloom.io/allocation': '{"v":1}' } },
        spec: { nodeName: 'n1' },
      },
    });
    const conditions = listAt(bound?.object, 'status.conditions');
    expect(conditions).toContainEqual(expect.objectContaining({ type: 'PodScheduled', status: 'True' }));
    expect(at(marked?.object, 'metadata.resourceVersion')).toBe(versionOf(marker));
  });

  test('a Binding is merged into annotations that the pod has', async () => {
    const { api, pods, name, createPod, bind } = subject();
    const pod = name('merge');
    await createPod(pod);
    await api.mergePatch(pods(pod), { metadata: { annotations: { kept: 'k', replaced: 'old' } } });
    await bind(pod, 'n1', { annotations: { replaced: 'new', added: 'a' } });
    expect(at((await api.get(pods(pod))).body, 'metadata.annotations')).toEqual({
      kept: 'k',
      replaced: 'new',
      added: 'a',
    });
  });

  test('refuses a second Binding and says to which node the first went', async () => {
    const { name, createPod, bind } = subject();
    const pod = name('bound');
    await createPod(pod);
    await bind(pod, 'n1');
    for (const node of ['n1', 'n2']) {
      const answer = await bind(pod, node);
      expectFailure(answer, 409, 'Conflict');
      expect(at(answer.body, 'message')).toContain(`pod ${pod} is already assigned to node "n1"`);
    }
  });

  test('refuses to bind an unknown pod, a terminating pod, and under another name', async () => {
    const { api, pods, name, createPod, bind } = subject();
    expectFailure(await bind(name('nobody'), 'n1'), 404, 'NotFound');
    const pod = name('terminating');
    await createPod(pod);
    expectFailure(await bind(pod, 'n1', { name: 'somebody-else' }), 400, 'BadRequest');
    await bind(pod, 'n1');
    await api.call('DELETE', pods(pod), { gracePeriodSeconds: 60 });
    const answer = await bind(pod, 'n2');
    expectFailure(answer, 409, 'Conflict');
    expect(at(answer.body, 'message')).toContain(`pod ${pod} is being deleted, cannot be assigned to a host`);
  });

  test('a Binding for another uid or version of the pod is a conflict and changes nothing', async (context) => {
    const { api, pods, name, createPod, bind, server } = subject();
    if (!server.bindingPreconditions) return context.skip('servers before 1.21 ignore preconditions of a Binding');
    const pod = name('precondition');
    const created = await createPod(pod);
    const other = '00000000-0000-4000-8000-000000000000';
    expectFailure(await bind(pod, 'n1', { uid: other, annotations: { a: 'b' } }), 409, 'Conflict');
    const changed = await api.mergePatch(pods(pod), { metadata: { labels: { changed: 'yes' } } });
    expectFailure(await bind(pod, 'n1', { resourceVersion: versionOf(created) }), 409, 'Conflict');
    expect((await api.get(pods(pod))).body).toEqual(changed.body);
    const exact = { uid: uidOf(created), resourceVersion: versionOf(changed) };
    expect((await bind(pod, 'n1', exact)).status).toBe(201);
  });
};

export const deletionCases: Cases = (subject) => {
  test('a bound pod terminates before it goes, an unbound one goes at once', async () => {
    const { api, pods, name, createPod, bind } = subject();
    const [bound, free] = [name('bound'), name('free')];
    await createPod(bound);
    await createPod(free);
    await bind(bound, 'n1');
    expect((await api.call('DELETE', pods(free))).status).toBe(200);
    expect((await api.get(pods(free))).status).toBe(404);
    expect((await api.call('DELETE', pods(bound))).status).toBe(200);
    const terminating = (await api.get(pods(bound))).body;
    expect(at(terminating, 'metadata.deletionGracePeriodSeconds')).toBe(20);
    expect(at(terminating, 'metadata.deletionTimestamp')).toMatch(/Z$/);
    expect((await api.call('DELETE', pods(bound), { gracePeriodSeconds: 0 })).status).toBe(200);
    expect((await api.get(pods(bound))).status).toBe(404);
  });

  test('a deletion meant for another uid is a conflict', async () => {
    const { api, pods, name, createPod } = subject();
    const pod = name('wrong-uid');
    const created = await createPod(pod);
    const remove = (uid: string): Promise<Answer> => api.call('DELETE', pods(pod), { preconditions: { uid } });
    expectFailure(await remove('00000000-0000-4000-8000-000000000000'), 409, 'Conflict');
    expect((await remove(uidOf(created))).status).toBe(200);
  });

  test('an eviction starts the termination of a bound pod', async () => {
    const { api, pods, name, createPod, bind } = subject();
    const pod = name('evict');
    await createPod(pod);
    await bind(pod, 'n1');
    const evict = (path: string, body: string): Promise<Answer> =>
      api.post(pods(`${path}/eviction`), {
        apiVersion: 'policy/v1beta1',
        kind: 'Eviction',
        metadata: { name: body },
        deleteOptions: { gracePeriodSeconds: 7 },
      });
    expectFailure(await evict(pod, 'somebody-else'), 400, 'BadRequest');
    const missing = name('nobody');
    expectFailure(await evict(missing, missing), 404, 'NotFound');
    expect(await evict(pod, pod)).toMatchObject({ status: 201, body: { kind: 'Status', status: 'Success' } });
    expect(at((await api.get(pods(pod))).body, 'metadata.deletionGracePeriodSeconds')).toBe(7);
  });
};
