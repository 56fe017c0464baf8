// Runs in virtual time: small schedules worked out by hand, and the parts they are made of.

import { describe, expect, it } from 'vitest';
import type { WorkloadClass } from '../../extender/core/model.ts';
import { durationSeconds, generateTimedPods } from '../../simulator/generate/timed-pods.ts';
import { generateNodes } from '../../simulator/generate/openb-like.ts';
import { DIRECT, SHIPPED_SCHEDULER, type DriverSettings } from '../../simulator/run/driver.ts';
import { EventLoop } from '../../simulator/timed/event-loop.ts';
import { runTimed } from '../../simulator/timed/run.ts';
import { Usage } from '../../simulator/timed/usage.ts';
import { WaitingPods, type Tried } from '../../simulator/timed/waiting.ts';
import { percentile } from '../../simulator/timed/waits.ts';
import { poissonArrivals, recordedArrivals } from '../../simulator/timed/workload.ts';
import { readTimedPods } from '../../simulator/trace/openb.ts';
import { milliOf, PodListBuilder } from '../../simulator/workload.ts';
import { Folder, timedWorkload, type NodeSketch, type TimedPodSketch } from '../support/simulated.ts';

/** Lines of the schedule file, less the arrival number. */
function scheduled(
  nodes: readonly NodeSketch[],
  pods: readonly TimedPodSketch[],
  driver: DriverSettings = DIRECT,
): string[] {
  const input = timedWorkload(nodes, pods);
  const { schedule } = runTimed(input, 'bestfit', driver, () => {});
  const lines = [...schedule.pieces(input.nodes.map(({ name }) => name))].join('').trimEnd().split('\n');
  return lines.slice(1).map((line) => line.slice(line.indexOf(',') + 1));
}

describe('events', () => {
  it('come by time, then by rank, then in the order in which they were scheduled', () => {
    const loop = new EventLoop<string>((event) => (event.startsWith('late') ? 1 : 0));
    const seen: string[] = [];
    for (const [at, event] of [
      [5, 'late a'],
      [9, 'end'],
      [5, 'b'],
      [1, 'start'],
      [5, 'c'],
      [5, 'late d'],
    ] as const) {
      loop.schedule(at, event);
    }
    loop.run(8, (event) => {
      seen.push(`${event}@${loop.nowMillis}`);
      if (event === 'b') loop.schedule(5, 'e');
    });
    expect(seen).toEqual(['start@1', 'b@5', 'c@5', 'e@5', 'late a@5', 'late d@5']);
    expect(loop.pending).toBe(1);
    expect(() => loop.schedule(4, 'past')).toThrow(/event at 4 ms, but it is 5 ms/);
    expect(() => loop.schedule(Number.NaN, 'never')).toThrow(/NaN/);
  });

  it('come in order whatever order they were scheduled in', () => {
    const loop = new EventLoop<number>(() => 0);
    const times = Array.from({ length: 500 }, (_, at) => (at * 7919) % 101);
    times.forEach((at, event) => loop.schedule(at, event));
    const seen: number[] = [];
    loop.run(Number.POSITIVE_INFINITY, (event) => seen.push(event));
    const wanted = [...times.keys()].sort((a, b) => (times[a] ?? 0) - (times[b] ?? 0) || a - b);
    expect(seen).toEqual(wanted);
  });
});

describe('waiting pods', () => {
  const pass = (waiting: WaitingPods, answers: Readonly<Record<number, Tried>>): number[] => {
    const tried: number[] = [];
    waiting.pass((arrival) => {
      tried.push(arrival);
      return answers[arrival] ?? 'unfit';
    });
    return tried;
  };

  it('are tried in order of arrival; one that does not fit spares its equals and nobody else', () => {
    const waiting = new WaitingPods();
    for (const [arrival, request] of [
      [1, 0],
      [2, 1],
      [3, 0],
      [4, 1],
      [5, 2],
    ] as const) {
      waiting.add(arrival, request);
    }
    expect(pass(waiting, { 2: 'placed', 4: 'placed', 5: 'placed' })).toEqual([1, 2, 4, 5]);
    expect([...waiting]).toEqual([1, 3]);
    expect(waiting.size).toBe(2);
    expect(pass(waiting, { 1: 'placed', 3: 'placed' })).toEqual([1, 3]);
    expect(waiting.size).toBe(0);
  });

  it('that were unlucky keep their place and do not spare their equals', () => {
    const waiting = new WaitingPods();
    for (const arrival of [1, 2, 3]) waiting.add(arrival, 0);
    expect(pass(waiting, { 1: 'unseen', 2: 'placed', 3: 'unfit' })).toEqual([1, 2, 3]);
    expect([...waiting]).toEqual([1, 3]);
    expect(waiting.size).toBe(2);
  });
});

describe('a schedule worked out by hand', () => {
  const whole = (at: number, seconds: number): TimedPodSketch => ({ at, seconds, pod: [1000, 1, 1000] });

  it('has pods wait for departures, first come first served, on one GPU', () => {
    expect(scheduled([{ gpus: 1 }], [whole(0, 10), whole(2, 5), whole(3, 5), whole(16, 1)])).toEqual([
      'n0,0,0,0,10',
      'n0,0,2,10,15',
      'n0,0,3,15,20',
      'n0,0,16,20,21',
    ]);
  });

  it('lets a pod that fits pass one that does not, and gives room to the one that waits before one that comes', () => {
    const pods: readonly TimedPodSketch[] = [
      { at: 0, seconds: 10, pod: [1000, 1, 600] },
      { at: 1, seconds: 10, pod: [1000, 1, 700] },
      { at: 2, seconds: 3, pod: [1000, 1, 400] },
      { at: 10, seconds: 5, pod: [1000, 1, 700] },
    ];
    // At 10 the first leaves; the second, which waits, and the fourth, which comes, both want 700.
    expect(scheduled([{ gpus: 1 }], pods)).toEqual(['n0,0,0,0,10', 'n0,0,1,10,20', 'n0,0,2,2,5', 'n0,0,10,20,25']);
  });

  it('frees several GPUs at once, and holds none for a pod that needs them all', () => {
    const pods: readonly TimedPodSketch[] = [
      { at: 0, seconds: 4, pod: [1000, 1, 1000] },
      { at: 0, seconds: 6, pod: [1000, 1, 1000] },
      { at: 1, seconds: 5, pod: [1000, 2, 1000] },
      { at: 5, seconds: 3, pod: [1000, 1, 500] },
    ];
    // GPU 0 is free from 4 and taken again at 5; both are free at 8.
    expect(scheduled([{ gpus: 2 }], pods)).toEqual(['n0,0,0,0,4', 'n0,1,0,0,6', 'n0,0|1,1,8,13', 'n0,0,5,5,8']);
  });

  it('counts waits, pods that fit nowhere and what is in use', () => {
    const pods: readonly TimedPodSketch[] = [
      whole(0, 10),
      { at: 0, seconds: 10, pod: [1000, 1, 500], class: 'batch' },
      { at: 5, seconds: 5, pod: [1000, 1, 500, 'A10'], class: 'batch' },
      { at: 6, seconds: 0, pod: [1000, 2, 1000] },
    ];
    const { outcome } = runTimed(timedWorkload([{ gpus: 1 }], pods), 'bestfit', DIRECT, () => {});
    expect(outcome).toMatchObject({ pods: 4, finished: 2, running: 0, endSeconds: 20 });
    const nothing = { stillWaiting: 0, unplaceable: 0 };
    expect(outcome.classes.online).toMatchObject({ ...nothing, pods: 2, placed: 1, unplaceable: 1, maxSeconds: 0 });
    expect(outcome.classes.batch).toMatchObject({ ...nothing, pods: 2, placed: 1, unplaceable: 1, maxSeconds: 10 });
    // All of the GPU for 10 s, half of it for 10 s; one pod waits for 10 s.
    expect(outcome.usage).toEqual({
      meanAllocationPercent: 75,
      peakAllocationPercent: 100,
      meanWaitingPods: 0.5,
      peakWaitingPods: 1,
    });
    expect(outcome.curve).toHaveLength(20);
    expect(outcome.curve[9]).toMatchObject({ fromSeconds: 9, allocationPercent: 100, runningPods: 1, waitingPods: 1 });
    expect(outcome.curve[10]).toMatchObject({ fromSeconds: 10, allocationPercent: 50, runningPods: 1, waitingPods: 0 });
  });

  it('cut off before its end has pods that run and pods that wait, with what they have waited so far', () => {
    const input = { ...timedWorkload([{ gpus: 1 }], [whole(0, 10), whole(2, 5), whole(9, 1)]), untilMillis: 8000 };
    const { outcome } = runTimed(input, 'bestfit', DIRECT, () => {});
    expect(outcome).toMatchObject({ pods: 2, finished: 0, running: 1, endSeconds: 8 });
    expect(outcome.classes.online).toMatchObject({ pods: 2, placed: 1, stillWaiting: 1, maxSeconds: 6 });
  });
});

describe('a pod that kube-scheduler did not see', () => {
  const nodes = Array.from({ length: 150 }, (_, at): NodeSketch => ({ gpus: 1, model: at === 149 ? 'G2' : 'T4' }));
  const sampled: DriverSettings = { ...SHIPPED_SCHEDULER, percentageOfNodesToScore: 0 };
  const picky = (at: number): TimedPodSketch => ({ at, seconds: 5, pod: [1000, 1, 1000, 'G2'] });

  it('is tried again after a minute, though nothing has happened', () => {
    expect(scheduled(nodes, [picky(0)], sampled)).toEqual(['n149,0,0,60,65']);
    expect(scheduled(nodes, [picky(0)], SHIPPED_SCHEDULER)).toEqual(['n149,0,0,0,5']);
  });
});

describe('percentiles', () => {
  it.each([
    [[], 50, 0],
    [[7], 99, 7],
    [[1, 2], 50, 1],
    [[1, 2, 3, 4], 75, 3],
    [[1, 2, 3, 4], 76, 4],
  ])('of %j at %i is %i', (values, percent, wanted) => {
    expect(percentile(Float64Array.from(values), percent)).toBe(wanted);
  });
});

describe('usage over time', () => {
  it('is weighed by time, and the last note of a moment holds', () => {
    const usage = new Usage(1000);
    const level = { fragmentedMilli: 0, running: 1, waiting: 0 };
    usage.note(0, { ...level, allocatedMilli: 900 });
    usage.note(0, { ...level, allocatedMilli: 1000 });
    usage.note(1000, { ...level, allocatedMilli: 0 });
    usage.note(3000, { ...level, allocatedMilli: 500 });
    expect(usage.curve(4000, 2).map(({ allocationPercent }) => allocationPercent)).toEqual([50, 25]);
    expect(usage.totals(4000).meanAllocationPercent).toBe(37.5);
  });
});

describe('pods with times', () => {
  const HEAD = 'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,creation_time,deletion_time,scheduled_time\n';

  it('are read with class, creation and duration; a pod never scheduled runs from its creation', async () => {
    using folder = new Folder();
    const file = folder.file(
      'pods.csv',
      `${HEAD}a,4000,2048,1,500,,LS,5,100,40\nb,4000,2048,1,500,,BE,3,10,\nc,4000,2048,1,500,T4,Burstable,3,9,3\n`,
    );
    const timed = await readTimedPods(file);
    expect(timed.list.requests.map((request) => request.class)).toEqual(['online', 'batch', 'online']);
    expect([...timed.durationMillis]).toEqual([60_000, 7000, 6000]);
    const { order, arrivalMillis } = recordedArrivals('t', generateNodes(3), timed, 1);
    expect(order.pods).toEqual([1, 2, 0]);
    expect([...arrivalMillis]).toEqual([3000, 3000, 5000]);
  });

  it.each([
    ['no times', 'name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,4000,2048,1,500\n', /no column creation_time/],
    [
      'gone before scheduled',
      `${HEAD}a,4000,2048,1,500,,LS,5,30,40\n`,
      /:2: created at 5, scheduled at "40", gone at 30/,
    ],
    ['scheduled before created', `${HEAD}a,4000,2048,1,500,,LS,50,90,40\n`, /:2: created at 50/],
    ['a time of day', `${HEAD}a,4000,2048,1,500,,LS,12:00,90,40\n`, /:2: creation_time is "12:00", not a whole/],
  ])('with %s are refused with their line', async (_, text, message) => {
    using folder = new Folder();
    await expect(readTimedPods(folder.file('pods.csv', text))).rejects.toThrow(message);
  });

  it.each<[WorkloadClass, number, number]>([
    ['online', 0, 12],
    ['online', 0.5, 904],
    ['online', 1, 86_400],
    ['batch', 0.5, 241],
    ['batch', 0.375, Math.sqrt(146 * 241)],
  ])('of class %s: %d of them do not outlast %d s', (podClass, part, seconds) => {
    expect(durationSeconds(podClass, part)).toBeCloseTo(seconds, 6);
  });

  it('are drawn at the load asked for, and the same with the same seed', () => {
    const nodes = generateNodes(121);
    const made = generateTimedPods(800, 3);
    const drawn = (seed: number) => poissonArrivals('t', nodes, made, seed, { load: 0.8, hours: 200 });
    const { order, durationMillis, list, untilMillis = 0 } = drawn(4);
    let work = 0;
    Array.from(order.pods).forEach((pod, at) => {
      const request = list.requests[list.pods[pod] ?? -1];
      if (request !== undefined) work += milliOf(request) * (durationMillis[at] ?? 0);
    });
    const capacity = nodes.reduce((sum, { gpus }) => sum + gpus * 1000, 0);
    expect(work / (capacity * untilMillis)).toBeGreaterThan(0.77);
    expect(work / (capacity * untilMillis)).toBeLessThan(0.83);
    expect(drawn(4)).toEqual(drawn(4));
    expect(drawn(5).order.pods).not.toEqual(order.pods);
  });

  it('make no load where none of them takes a GPU', () => {
    const list = new PodListBuilder();
    list.add(1000, 1024, 0, 0, '');
    const idle = { list: list.build(), durationMillis: Float64Array.of(1000), createdMillis: undefined };
    expect(() => poissonArrivals('t', generateNodes(2), idle, 1, { load: 1, hours: 1 })).toThrow(/takes a GPU/);
  });
});
