// How busy online pods keep their GPU over time, and how much of its memory they use: made up, pod by pod, with the shape
// of a trace of image generation services (GenAI trace of the public Alibaba cluster data, 2026: 143 pods, samples of 57 s
// over 22.8 hours). Quantiles are as counted there; the series themselves are drawn, and nothing is copied.
//
// A pod is idle and busy in turns. How long it stays so, and how busy it then is, are drawn from the quantiles; the duty
// cycle of one sample is that of the sample before in a quarter of all cases, which gives the measured correlation.
// Long pauses begin outside the busy hours of the day only, so that pods are busy together. Memory holds still and jumps,
// without regard to the duty cycle: their measured correlation is weak (-0.14).

import { seededRandom, type Random } from '../../extender/random.ts';

/** Part of the cases, and the value that they do not exceed; in between the value grows evenly. */
type Quantiles = readonly (readonly [part: number, value: number])[];

export interface LoadSeries {
  /** Percent of the time that the GPU was busy, one for each step. */
  readonly dutyPercent: Float32Array;
  readonly memoryMiB: Int32Array;
}

/** Seconds between two samples. */
export const STEP_SECONDS = 57;

const STEPS_PER_HOUR = 3600 / STEP_SECONDS;
const MIB_PER_GIB = 1024;

const IDLE_STEPS: Quantiles = [
  [0, 1],
  [0.3, 1],
  [0.5, 2],
  [0.6, 3],
  [0.7, 5],
  [0.8, 8],
  [0.85, 11],
  [0.9, 17],
  [0.95, 31],
  [0.97, 41],
  [0.98, 52],
  [0.99, 80],
  [0.995, 153],
  [0.999, 266],
  [1, 1385],
];
const BUSY_STEPS: Quantiles = [
  [0, 1],
  [0.3, 2],
  [0.5, 2],
  [0.6, 3],
  [0.75, 4],
  [0.85, 7],
  [0.9, 9],
  [0.95, 13],
  [0.98, 18],
  [0.99, 23],
  [0.999, 43],
  [1, 65],
];
const DUTY_PERCENT: Quantiles = [
  [0, 0],
  [0.05, 0.5],
  [0.1, 1.1],
  [0.15, 4.3],
  [0.25, 9.7],
  [0.4, 15.1],
  [0.5, 18.5],
  [0.6, 22.4],
  [0.7, 24.8],
  [0.8, 27.8],
  [0.85, 31.8],
  [0.9, 38.7],
  [0.95, 62.6],
  [0.97, 78.7],
  [0.98, 87],
  [0.99, 93.1],
  [1, 99.7],
];
/** Most and least memory of a pod within the day, in GiB. */
const PEAK_GIB: Quantiles = [
  [0, 17.4],
  [0.05, 32],
  [0.25, 35],
  [0.5, 38.9],
  [0.75, 42.7],
  [0.95, 46.5],
  [1, 47.3],
];
const LEAST_GIB: Quantiles = [
  [0, 0],
  [0.24, 0],
  [0.3, 9],
  [0.5, 9.4],
  [0.9, 10.4],
  [1, 11.7],
];
/** Where between the two the memory is, and for how many steps it stays there. */
const MEMORY_LEVEL: Quantiles = [
  [0, 0],
  [0.05, 0.2],
  [0.1, 0.29],
  [0.25, 0.39],
  [0.5, 0.5],
  [0.75, 0.63],
  [0.9, 0.77],
  [0.95, 0.86],
  [0.99, 0.99],
  [1, 1],
];
const MEMORY_STEPS: Quantiles = [
  [0, 1],
  [0.8, 1],
  [0.9, 3],
  [0.95, 8],
  [0.99, 39],
  [0.999, 150],
  [1, 1391],
];

const KEEPS_DUTY = 0.25;
/** The busy hours of the day, and the pauses that do not begin in them: the longest tenth of all. */
const BUSY_FROM_HOUR = 1;
const BUSY_UNTIL_HOUR = 10;
const SHORT_PAUSES = 0.9;
/** Part of the pauses beginning in the other hours that are long, so that over the day a tenth is. */
const LONG_PAUSES_WHEN_QUIET = 0.26;

/** One series for each pod, all beginning at the same hour of the day: midnight. */
export function* generateLoadSeries(pods: number, hours: number, seed: number): Generator<LoadSeries> {
  const steps = Math.ceil(hours * STEPS_PER_HOUR);
  for (let pod = 0; pod < pods; pod++) {
    yield {
      dutyPercent: dutySeries(steps, seededRandom(seed, `duty/${pod}`)),
      memoryMiB: memorySeries(steps, seededRandom(seed, `memory/${pod}`)),
    };
  }
}

function dutySeries(steps: number, random: Random): Float32Array {
  const series = new Float32Array(steps);
  // A pod is somewhere within a pause when the series begins.
  let at = Math.floor(valueAt(IDLE_STEPS, random.next()) * random.next());
  while (at < steps) {
    const busyEnd = Math.min(steps, at + stepsOf(BUSY_STEPS, random));
    let duty = valueAt(DUTY_PERCENT, random.next());
    for (; at < busyEnd; at++) {
      series[at] = duty;
      if (random.next() >= KEEPS_DUTY) duty = valueAt(DUTY_PERCENT, random.next());
    }
    at += Math.max(1, Math.round(valueAt(IDLE_STEPS, pausePart(at, random))));
  }
  return series;
}

/** How long a pause is among all pauses, from 0 to 1. */
function pausePart(at: number, random: Random): number {
  const hour = (at / STEPS_PER_HOUR) % 24;
  const isBusyTime = hour >= BUSY_FROM_HOUR && hour < BUSY_UNTIL_HOUR;
  const isLong = random.next() < LONG_PAUSES_WHEN_QUIET && !isBusyTime;
  return isLong ? SHORT_PAUSES + random.next() * (1 - SHORT_PAUSES) : random.next() * SHORT_PAUSES;
}

function memorySeries(steps: number, random: Random): Int32Array {
  const series = new Int32Array(steps);
  const peakGiB = valueAt(PEAK_GIB, random.next());
  const leastGiB = Math.min(peakGiB, valueAt(LEAST_GIB, random.next()));
  let at = 0;
  while (at < steps) {
    const level = valueAt(MEMORY_LEVEL, random.next());
    const memoryMiB = Math.round((leastGiB + (peakGiB - leastGiB) * level) * MIB_PER_GIB);
    const end = Math.min(steps, at + stepsOf(MEMORY_STEPS, random));
    series.fill(memoryMiB, at, end);
    at = end;
  }
  return series;
}

function stepsOf(quantiles: Quantiles, random: Random): number {
  return Math.max(1, Math.round(valueAt(quantiles, random.next())));
}

function valueAt(quantiles: Quantiles, part: number): number {
  const above = quantiles.findIndex(([upTo]) => part <= upTo);
  const [toPart = 1, toValue = 0] = quantiles[above] ?? [];
  const [fromPart = 0, fromValue = toValue] = quantiles[above - 1] ?? [];
  if (toPart === fromPart) return toValue;
  return fromValue + ((toValue - fromValue) * (part - fromPart)) / (toPart - fromPart);
}
