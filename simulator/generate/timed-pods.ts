// Pods with a class and a duration for runs without a trace. Shapes are those of openb-like.ts; how many of each shape are
// batch work (quality of service BE) and how long each class runs is as counted in openb_pod_list_default.csv, from
// scheduled to gone, over the pods that were scheduled. Durations are cut at a day, which 1.7 % of online pods outlive.

import type { WorkloadClass } from '../../extender/core/model.ts';
import { seededRandom } from '../../extender/random.ts';
import type { TimedPodList } from '../timed/workload.ts';
import { MILLI_PER_GPU, PodListBuilder } from '../workload.ts';
import { POD_KINDS } from './openb-like.ts';

/** Batch pods among pods without GPUs (450 of 1,088), of a part of one, of one (629 of 3,911), and of several. */
const BATCH_SHARE = { none: 450 / 1088, part: 2319 / 3078, whole: 629 / 3911, several: 0 };

/** Part of the pods, and the seconds that they do not outlast; in between the logarithm grows evenly. */
const DURATIONS: Readonly<Record<WorkloadClass, readonly (readonly [part: number, seconds: number])[]>> = {
  online: [
    [0, 12],
    [0.05, 56],
    [0.1, 78],
    [0.25, 305],
    [0.5, 904],
    [0.75, 2671],
    [0.9, 6803],
    [0.95, 14_993],
    [0.98, 69_313],
    [0.983, 86_400],
    [1, 86_400],
  ],
  batch: [
    [0, 4],
    [0.05, 38],
    [0.1, 65],
    [0.25, 146],
    [0.5, 241],
    [0.75, 1211],
    [0.9, 10_103],
    [0.95, 20_410],
    [0.99, 55_754],
    [0.996, 86_400],
    [1, 86_400],
  ],
};

export function generateTimedPods(count: number, seed: number): TimedPodList {
  const shapes = seededRandom(seed, 'pods');
  const classes = seededRandom(seed, 'classes');
  const lives = seededRandom(seed, 'durations');
  const list = new PodListBuilder();
  const durationMillis = new Float64Array(count);
  for (let pod = 0; pod < count; pod++) {
    const { cpuMilli, memoryMiB, gpus, milliPerGpu } = shapes.weighted(POD_KINDS);
    const podClass = classes.next() < batchShare(gpus, milliPerGpu) ? 'batch' : 'online';
    list.add(cpuMilli, memoryMiB, gpus, milliPerGpu, '', podClass);
    durationMillis[pod] = Math.round(durationSeconds(podClass, lives.next()) * 1000);
  }
  return { list: list.build(), durationMillis, createdMillis: undefined };
}

/** The duration that `part` (0 to 1) of the pods of a class do not outlast. */
export function durationSeconds(podClass: WorkloadClass, part: number): number {
  const table = DURATIONS[podClass];
  const above = table.findIndex(([upTo]) => part <= upTo);
  const [toPart = 1, toSeconds = 0] = table[above] ?? [];
  const [fromPart = 0, fromSeconds = 0] = table[above - 1] ?? [];
  if (above <= 0) return toSeconds;
  return fromSeconds * (toSeconds / fromSeconds) ** ((part - fromPart) / (toPart - fromPart));
}

function batchShare(gpus: number, milliPerGpu: number): number {
  if (gpus === 0) return BATCH_SHARE.none;
  if (gpus > 1) return BATCH_SHARE.several;
  return milliPerGpu < MILLI_PER_GPU ? BATCH_SHARE.part : BATCH_SHARE.whole;
}
