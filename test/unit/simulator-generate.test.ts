// Made-up loads have the published shape, and made-up timed workloads are read back as they were made.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generateLoadSeries, STEP_SECONDS, type LoadSeries } from '../../simulator/generate/load-series.ts';
import { readTimedPods } from '../../simulator/trace/openb.ts';
import { callSimulator, Folder } from '../support/simulated.ts';

const PODS = 143;
const HOURS = 22.8;

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

function share(values: readonly number[], isChosen: (value: number) => boolean): number {
  return values.filter(isChosen).length / values.length;
}

/** Lengths of the runs of idle samples, in minutes. */
function pauses({ dutyPercent }: LoadSeries): number[] {
  const lengths: number[] = [];
  let steps = 0;
  for (const duty of dutyPercent) {
    if (duty === 0) steps++;
    else if (steps > 0) {
      lengths.push((steps * STEP_SECONDS) / 60);
      steps = 0;
    }
  }
  return lengths;
}

function hourlyMean(series: readonly LoadSeries[], from: number, until: number): number {
  const [first, last] = [from, until].map((hour) => Math.floor((hour * 3600) / STEP_SECONDS));
  const samples = series.flatMap(({ dutyPercent }) => [...dutyPercent.subarray(first, last)]);
  return samples.reduce((sum, duty) => sum + duty, 0) / samples.length;
}

describe('generated GPU load', () => {
  const series = [...generateLoadSeries(PODS, HOURS, 1)];
  const duty = series.flatMap(({ dutyPercent }) => [...dutyPercent]);
  const memoryGiB = series.map(({ memoryMiB }) => [...memoryMiB].map((mib) => mib / 1024));
  const idle = series.flatMap(pauses);

  // The published figures of the GenAI trace, and how far 143 drawn pods may be from them.
  it.each<[string, () => number, number, number]>([
    ['mean duty, percent', () => duty.reduce((sum, each) => sum + each, 0) / duty.length, 7.0, 0.7],
    ['median duty, percent', () => quantile(duty, 0.5), 0, 0],
    ['duty that 90 % do not exceed', () => quantile(duty, 0.9), 24.7, 1.5],
    ['duty that 95 % do not exceed', () => quantile(duty, 0.95), 31.7, 2.5],
    ['duty that 99 % do not exceed', () => quantile(duty, 0.99), 78.6, 5],
    ['share of samples of 20 % and more', () => share(duty, (each) => each >= 20), 0.155, 0.015],
    ['share of samples of 60 % and more', () => share(duty, (each) => each >= 60), 0.018, 0.004],
    ['median pause, minutes', () => quantile(idle, 0.5), 1.9, 0.1],
    ['pause that 99 % do not exceed, minutes', () => quantile(idle, 0.99), 73, 12],
    ['median memory, GiB', () => quantile(memoryGiB.flat(), 0.5), 23, 1],
    [
      'median daily peak of memory, GiB',
      () =>
        quantile(
          memoryGiB.map((each) => quantile(each, 1)),
          0.5,
        ),
      38.9,
      2,
    ],
    [
      'median swing of memory within the day, GiB',
      () =>
        quantile(
          memoryGiB.map((each) => quantile(each, 1) - quantile(each, 0)),
          0.5,
        ),
      30,
      3,
    ],
  ])('has the published %s', (_, figure, published, tolerance) => {
    expect(Math.abs(figure() - published)).toBeLessThanOrEqual(tolerance);
  });

  it('has busy hours that all pods share', () => {
    expect(hourlyMean(series, 2, 9)).toBeGreaterThan(2 * hourlyMean(series, 12, 22));
  });

  it('is the same for the same seed and another for another, pod by pod', () => {
    const [a, b, c] = [1, 1, 2].map((seed) => [...generateLoadSeries(2, 3, seed)]);
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
    expect(a?.[0]).not.toEqual(a?.[1]);
    // More pods or hours do not change what was there.
    expect([...generateLoadSeries(3, 3, 1)].slice(0, 2)).toEqual(a);
  });
});

describe('generate --timed', () => {
  it('writes classes and times that run --timed reads', async () => {
    using folder = new Folder();
    const out = folder.free('made');
    const made = await callSimulator(
      'generate',
      '--out',
      out,
      '--scale',
      '0.02',
      '--timed',
      '--hours',
      '3',
      '--load',
      '0.8',
    );
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const { list, createdMillis, durationMillis } = await readTimedPods(join(out, 'pods.csv'));
    expect(made.stdout).toContain(`${list.pods.length} pods over 3 hours`);
    expect(list.requests.map((each) => each.class)).toContain('batch');
    expect(list.requests.map((each) => each.class)).toContain('online');
    expect([...createdMillis]).toEqual([...createdMillis].sort((a, b) => a - b));
    expect(Math.max(...createdMillis)).toBeLessThan(3 * 3_600_000);
    expect(Math.min(...durationMillis)).toBeGreaterThanOrEqual(1000);
    const files = ['--nodes', join(out, 'nodes.csv'), '--pods', join(out, 'pods.csv')];
    const run = await callSimulator('run', '--timed', ...files, '--policy', 'binpack');
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toContain(`${list.pods.length} arrivals`);
  });

  it('writes load series beside it, by pod and time', async () => {
    using folder = new Folder();
    const out = folder.free('made');
    const argv = ['--scale', '0.01', '--load-series', '2', '--hours', '1'];
    expect((await callSimulator('generate', '--out', out, ...argv)).code).toBe(0);
    const [head, ...lines] = readFileSync(join(out, 'loads.csv'), 'utf8').trim().split('\n');
    expect(head).toBe('pod,seconds,duty_percent,memory_mib');
    // 3600 s / 57 s, rounded up.
    expect(lines).toHaveLength(2 * 64);
    for (const line of lines) expect(line).toMatch(/^load-000[01],\d+,\d{1,2}(\.\d)?,\d+$/);
    expect(lines[65]).toMatch(/^load-0001,57,/);
  });

  it.each([
    [['--load', '0.5'], /--load: only timed workloads have one; add --timed/],
    [['--hours', '5'], /--hours: only timed workloads and load series have them/],
    [['--load-series', '0'], /whole number from 1/],
  ])('refuses %j with advice', async (argv, message) => {
    using folder = new Folder();
    const { code, stderr } = await callSimulator('generate', '--out', folder.free('made'), ...argv);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });
});
