// The Binder and PodReader ports against the embedded API server: every outcome, and what is true in the server then.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { BindOutcome } from '../../extender/app/ports.ts';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import type { FaultAction } from '../../extender/embedded/faults.ts';
import { createBinder } from '../../extender/kube/binder.ts';
import { connectKube } from '../../extender/kube/client.ts';
import type { KubeClient } from '../../extender/kube/client.ts';
import { stringAt } from '../../extender/kube/kube-api.ts';
import { createPodReader } from '../../extender/kube/pod-reader.ts';

let server: EmbeddedApiServer;
let client: KubeClient;
let uid: string;

beforeEach(async () => {
  server = new EmbeddedApiServer({ termination: 'by-owner' });
  client = await connectKube({ kind: 'loopback', server: await server.listen() }, { version: 'test' });
  const pod = { metadata: { name: 'job' }, spec: { containers: [{ name: 'main', image: 'none' }] } };
  uid = stringAt(server.cluster.create('pods', pod), 'metadata', 'uid') ?? '';
  for (const name of ['node-1', 'node-2']) server.cluster.create('nodes', { metadata: { name } });
});

afterEach(async () => {
  await client.close();
  await server.close();
});

const bind = (nodeName: string = 'node-1', timeoutMillis: number = 5_000): Promise<BindOutcome> =>
  createBinder(client).bind(
    {
      pod: { namespace: 'default', name: 'job', uid },
      nodeName,
      annotations: { 'gpuloom.io/allocation': '{"version":1}' },
    },
    timeoutMillis,
    () => true,
  );
const boundTo = (): string | undefined => stringAt(server.cluster.get('pods', 'default', 'job'), 'spec', 'nodeName');
const fault = (action: FaultAction): unknown => server.faults.inject({ resource: 'pods/binding' }, action, 1);

describe('a Binding', () => {
  it('commits node and annotations together', async () => {
    expect(await bind()).toEqual({ kind: 'bound' });
    expect(server.cluster.get('pods', 'default', 'job')).toMatchObject({
      metadata: { annotations: { 'gpuloom.io/allocation': '{"version":1}' } },
      spec: { nodeName: 'node-1' },
    });
  });

  it('of a pod that is already bound is refused with 409', async () => {
    await bind('node-1');
    expect(await bind('node-2')).toMatchObject({ kind: 'refused', status: 409 });
    expect(boundTo()).toBe('node-1');
  });

  it('of a pod that is gone is refused with 404, of one with another uid with 409', async () => {
    server.cluster.delete('pods', 'default', 'job', { gracePeriodSeconds: 0 });
    expect(await bind()).toMatchObject({ kind: 'refused', status: 404 });
    server.cluster.create('pods', {
      metadata: { name: 'job' },
      spec: { containers: [{ name: 'main', image: 'none' }] },
    });
    expect(await bind()).toMatchObject({ kind: 'refused', status: 409 });
    expect(boundTo()).toBeUndefined();
  });

  it.each([400, 401, 403, 404, 405, 409, 410, 413, 422])('answered with %i is refused', async (status) => {
    fault({ kind: 'answer', status, message: 'because' });
    expect(await bind()).toEqual({ kind: 'refused', status, message: `${status}: because` });
  });

  it.each([307, 408, 429, 500, 502, 503, 504])('answered with %i is unknown', async (status) => {
    fault({ kind: 'answer', status, message: 'because' });
    expect(await bind()).toEqual({ kind: 'unknown', message: `${status}: because` });
  });

  it('whose reply is lost after the commit is unknown, though it is committed', async () => {
    fault({ kind: 'drop-after' });
    expect(await bind()).toMatchObject({ kind: 'unknown' });
    expect(boundTo()).toBe('node-1');
  });

  it('that is cut before the commit is unknown too', async () => {
    fault({ kind: 'drop-before' });
    expect(await bind()).toMatchObject({ kind: 'unknown' });
    expect(boundTo()).toBeUndefined();
  });

  it('that times out is unknown, may commit later, and is not repeated', async () => {
    let release: (value: unknown) => void = () => undefined;
    fault({ kind: 'delay-before', until: new Promise((resolve) => (release = resolve)) });
    expect(await bind('node-1', 40)).toMatchObject({ kind: 'unknown' });
    release(undefined);
    const reading = await createPodReader(client).read('default', 'job', 5_000);
    expect(reading.kind === 'found' && reading.pod.spec?.nodeName).toBe('node-1');
    expect(server.requests.count('create', 'pods/binding')).toBe(1);
  });

  it('that could not be sent at all is refused with status 0', async () => {
    await server.close();
    expect(await bind()).toMatchObject({
      kind: 'refused',
      status: 0,
      message: expect.stringContaining('ECONNREFUSED') as unknown,
    });
  });

  it.each(['../../nodes/x', 'a/b', '', '..', 'job?dryRun=All'])('for a pod named "%s" is never sent', async (name) => {
    const order = { pod: { namespace: 'default', name, uid }, nodeName: 'node-1', annotations: {} };
    expect(await createBinder(client).bind(order, 5_000, () => true)).toMatchObject({ kind: 'refused', status: 0 });
    expect(server.requests.writes()).toBe(0);
  });
});

describe('a live read', () => {
  const read = () => createPodReader(client).read('default', 'job', 5_000);

  it('finds the pod, or that it is gone', async () => {
    expect(await read()).toMatchObject({ kind: 'found', pod: { metadata: { uid } } });
    server.cluster.delete('pods', 'default', 'job', { gracePeriodSeconds: 0 });
    expect(await read()).toEqual({ kind: 'gone' });
  });

  it.each<FaultAction>([{ kind: 'answer', status: 503 }, { kind: 'answer', status: 403 }, { kind: 'drop-before' }])(
    'that meets %j is unavailable, never "gone"',
    async (action) => {
      server.faults.inject({ verb: 'get' }, action, 1);
      expect(await read()).toMatchObject({ kind: 'unavailable' });
    },
  );
});
