// Contract cases: watches.

import { expect, test } from 'vitest';

import { at } from '../support/api-connection.ts';
import type { WatchEvent } from '../support/api-connection.ts';
import type { Cases } from './api-server-subject.ts';
import { versionOf } from './api-server-subject.ts';

const summary = (event: WatchEvent): string => `${event.type} ${String(at(event.object, 'metadata.name'))}`;

export const watchCases: Cases = (subject) => {
  test('a watch continues a list without a gap', async () => {
    const { api, pods, name, createPod } = subject();
    const tag = name('follow');
    const list = await api.get(pods(`?labelSelector=tag%3D${tag}`));
    await createPod(`${tag}-0`, { tag });
    const watch = await api.watch(pods(`?watch=true&labelSelector=tag%3D${tag}&resourceVersion=${versionOf(list)}`));
    expect(watch.status).toBe(200);
    await createPod(`${tag}-1`, { tag });
    await api.mergePatch(pods(`${tag}-0`), { metadata: { annotations: { a: 'b' } } });
    await api.call('DELETE', pods(`${tag}-1?gracePeriodSeconds=0`));
    const events = await watch.take(4);
    watch.close();
    // An unbound pod may be marked as deleted in one event and go in the next.
    expect(events.slice(0, 3).map(summary)).toEqual([`ADDED ${tag}-0`, `ADDED ${tag}-1`, `MODIFIED ${tag}-0`]);
    expect(events[3]).toMatchObject({ object: { kind: 'Pod', metadata: { name: `${tag}-1` } } });
    const versions = events.map((event) => Number(at(event.object, 'metadata.resourceVersion')));
    expect(versions).toEqual([...versions].sort((a, b) => a - b));
  });

  test('an object that leaves or enters the selection is deleted or added for the watch', async () => {
    const { api, pods, name, createPod, bind } = subject();
    const pod = name('selected');
    const created = await createPod(pod);
    const from = `watch=true&resourceVersion=${versionOf(created)}`;
    const named = `fieldSelector=metadata.name%3D${pod}%2Cspec.nodeName`;
    const unbound = await api.watch(pods(`?${from}&${named}%3D`));
    const onNode = await api.watch(pods(`?${from}&${named}%3Dn7`));
    await bind(pod, 'n7');
    const [left] = await unbound.take(1);
    const [entered] = await onNode.take(1);
    unbound.close();
    onNode.close();
    expect(left).toMatchObject({ type: 'DELETED', object: { metadata: { name: pod } } });
    expect(entered).toMatchObject({ type: 'ADDED', object: { metadata: { name: pod }, spec: { nodeName: 'n7' } } });
    const versions = [left, entered].map((event) => at(event?.object, 'metadata.resourceVersion'));
    expect(versions[0]).toBe(versions[1]);
  });

  test('a watch without a resourceVersion starts with what is there', async () => {
    const { api, pods, name, createPod } = subject();
    const pod = name('present');
    await createPod(pod);
    const watch = await api.watch(pods(`?watch=true&fieldSelector=metadata.name%3D${pod}`));
    const [first] = await watch.take(1);
    watch.close();
    expect(first).toMatchObject({ type: 'ADDED', object: { metadata: { name: pod } } });
  });

  test('a watch ends in order after timeoutSeconds', async () => {
    const { api, pods } = subject();
    const version = versionOf(await api.get(pods()));
    const watch = await api.watch(
      pods(`?watch=true&fieldSelector=metadata.name%3Dnobody&resourceVersion=${version}&timeoutSeconds=1`),
    );
    expect(await watch.next()).toBeUndefined();
  });

  test('a watch from before a compaction gets 410', async (context) => {
    const { api, pods, name, createPod, server } = subject();
    if (server.compact === undefined) return context.skip('this server offers no compaction');
    const created = await createPod(name('old'));
    await createPod(name('newer'));
    await server.compact();
    const watch = await api.watch(pods(`?watch=true&resourceVersion=${versionOf(created)}`));
    if (watch.status === 200) {
      expect(await watch.next()).toMatchObject({ type: 'ERROR', object: { kind: 'Status', code: 410 } });
      expect(await watch.next()).toBeUndefined();
    } else {
      expect(watch.status).toBe(410);
      watch.close();
    }
  });
};
