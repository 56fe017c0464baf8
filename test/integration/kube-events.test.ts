// The event sink against the embedded API server, on a virtual clock.

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { PodEvent } from '../../extender/app/ports.ts';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { connectKube } from '../../extender/kube/client.ts';
import type { KubeClient } from '../../extender/kube/client.ts';
import { createEventSink } from '../../extender/kube/events.ts';
import type { EventSinkLimits, KubeEventSink } from '../../extender/kube/events.ts';
import { VirtualTime } from '../support/virtual-time.ts';

let server: EmbeddedApiServer;
let client: KubeClient;
let time: VirtualTime;
let sink: KubeEventSink;
let problems: string[];

beforeEach(async () => {
  server = new EmbeddedApiServer();
  client = await connectKube({ kind: 'loopback', server: await server.listen() }, { version: 'test' });
  time = new VirtualTime();
  problems = [];
  open({});
});

afterEach(async () => {
  await sink.stop();
  await client.close();
  await server.close();
});

function open(limits: Partial<EventSinkLimits>): void {
  const report = (message: string): void => void problems.push(message);
  sink = createEventSink({ api: client, clock: time, delays: time, instance: 'extender-0', limits, report });
}

function event(over: Partial<PodEvent> = {}): PodEvent {
  const pod = { namespace: 'team', name: 'job', uid: 'uid-1' };
  return { pod, type: 'Normal', reason: 'GpuAllocated', message: 'GPU 3 of node-1', ...over };
}

const stored = () => server.cluster.list('events.events.k8s.io');

describe('an event', () => {
  it('is written so that kubectl describe shows it at the pod', async () => {
    sink.publish(event());
    await sink.idle();
    expect(problems).toEqual([]);
    const micro = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
    expect(stored()).toMatchObject([
      {
        metadata: { namespace: 'team', name: expect.stringMatching(/^job\.[0-9a-f]{16}$/) as unknown },
        eventTime: expect.stringMatching(micro) as unknown,
        type: 'Normal',
        reason: 'GpuAllocated',
        note: 'GPU 3 of node-1',
        action: 'Scheduling',
        reportingController: 'gpuloom.io/extender',
        reportingInstance: 'extender-0',
        regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'team', name: 'job', uid: 'uid-1' },
      },
    ]);
    for (const unset of ['deprecatedSource', 'deprecatedCount', 'series'])
      expect(stored()[0]).not.toHaveProperty(unset);
  });

  it('about a node is written where kubectl describe looks for it', async () => {
    sink.publishForNode({ nodeName: 'gpu-1', type: 'Warning', reason: 'GpuUnhealthy', message: 'GPU-3 is broken' });
    await sink.idle();
    expect(problems).toEqual([]);
    const [about] = stored();
    expect(about).toMatchObject({
      metadata: { namespace: 'kube-system', name: expect.stringMatching(/^gpu-1\.[0-9a-f]{16}$/) as unknown },
      reason: 'GpuUnhealthy',
      action: 'HealthCheck',
    });
    expect(about).toHaveProperty('regarding', { apiVersion: 'v1', kind: 'Node', name: 'gpu-1', uid: 'gpu-1' });
  });

  it('that is repeated soon is not written again; later it becomes a series with the full count', async () => {
    for (let times = 0; times < 5; times++) sink.publish(event());
    await sink.idle();
    sink.publish(event());
    expect(sink.counts()).toMatchObject({ written: 1, suppressed: 5 });
    time.advance(300_000);
    sink.publish(event());
    await sink.idle();
    expect(stored()).toHaveLength(1);
    expect(stored()[0]).toMatchObject({ series: { count: 7 } });
    expect(server.requests.count('patch', 'events.events.k8s.io')).toBe(1);
  });

  it.each<[string, Partial<PodEvent>]>([
    ['another pod of the same name', { pod: { namespace: 'team', name: 'job', uid: 'uid-2' } }],
    ['another reason', { reason: 'GpuRefused' }],
    ['another message', { message: 'GPU 4 of node-1' }],
  ])('about %s is another event', async (_what, over) => {
    sink.publish(event());
    sink.publish(event(over));
    await sink.idle();
    expect(stored()).toHaveLength(2);
  });

  it('whose series was cleaned up by the server is written anew at its next occurrence', async () => {
    sink.publish(event());
    await sink.idle();
    server.cluster.delete('events.events.k8s.io', 'team', stored()[0]?.metadata.name ?? '');
    for (let times = 0; times < 2; times++) {
      time.advance(300_000);
      sink.publish(event());
      await sink.idle();
    }
    expect(stored()).toHaveLength(1);
    expect(sink.counts()).toMatchObject({ written: 2, failed: 1 });
  });

  it('with a message over the limit of 1024 bytes is shortened at a character', async () => {
    sink.publish(event({ message: 'ü'.repeat(600) }));
    await sink.idle();
    expect(stored()[0]).toMatchObject({ note: `${'ü'.repeat(510)}...` });
  });
});

describe('the sink', () => {
  it('writes a burst at once and then keeps to its rate', async () => {
    open({ burst: 3, perSecond: 2 });
    for (let index = 0; index < 5; index++) sink.publish(event({ message: `number ${index}` }));
    const written = (count: number) =>
      vi.waitFor(() => expect([stored().length, time.sleeps().length]).toEqual([count, 1]), { interval: 2 });
    await written(3);
    expect(time.sleeps()).toEqual([500]);
    time.advance(500);
    await written(4);
    expect(time.sleeps()).toEqual([500]);
    time.advance(500);
    await sink.idle();
    expect(stored()).toHaveLength(5);
  });

  it('drops the oldest when its queue is full, counts them, and forgets that it had them', async () => {
    open({ queueLength: 2 });
    for (let index = 0; index < 5; index++) sink.publish(event({ message: `number ${index}` }));
    await sink.idle();
    expect(
      stored()
        .map((one) => (one as unknown as { note: string }).note)
        .sort(),
    ).toEqual(['number 3', 'number 4']);
    expect(sink.counts()).toMatchObject({ written: 2, dropped: 3 });
    sink.publish(event({ message: 'number 0' }));
    await sink.idle();
    expect(stored()).toHaveLength(3);
  });

  it('counts and reports what could not be written, honours Retry-After and goes on', async () => {
    server.faults.inject(
      { resource: 'events.events.k8s.io' },
      { kind: 'answer', status: 429, retryAfterSeconds: 9 },
      1,
    );
    sink.publish(event());
    sink.publish(event({ message: 'second' }));
    await vi.waitFor(() => expect(time.sleeps()).toEqual([9_000]), { interval: 2 });
    time.advance(9_000);
    await sink.idle();
    expect(sink.counts()).toEqual({ written: 1, suppressed: 0, dropped: 0, failed: 1 });
    expect(problems).toEqual([expect.stringContaining('team/job not written: 429')]);
  });

  it('never throws, whatever the event, the server or the reporter does', async () => {
    sink = createEventSink({
      api: client,
      clock: time,
      delays: time,
      instance: 'extender-0',
      report: () => {
        throw new Error('no log');
      },
    });
    sink.publish(event({ pod: { namespace: '../x', name: '', uid: '' } }));
    await sink.idle();
    await server.close();
    sink.publish(event());
    await sink.idle();
    expect(sink.counts()).toMatchObject({ written: 0, failed: 2 });
    await sink.stop();
    sink.publish(event());
    expect(sink.counts()).toMatchObject({ failed: 2 });
  });
});
