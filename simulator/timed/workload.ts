// Pods that come and go: a workload whose arrivals have a time and a duration. Two sources of times: those of the trace,
// and a Poisson process over a pod list, whose rate follows from the load it shall put on the GPUs.

import { seededRandom, shuffled } from '../../extender/random.ts';
import { TraceFault } from '../trace/fault.ts';
import { capacityMilli, milliOf, type PodList, type SimulatedNode, type Workload } from '../workload.ts';

/** A pod list with how long each pod runs once it has its place, and where the list says so, when it is created. */
export interface TimedPodList {
  readonly list: PodList;
  readonly durationMillis: Float64Array;
  readonly createdMillis: Float64Array | undefined;
}

/** `order.pods` holds the arrivals in order of time; the arrays below have an entry for each of them. */
export interface TimedWorkload extends Workload {
  readonly arrivalMillis: Float64Array;
  readonly durationMillis: Float64Array;
  /** Where the run is cut off; undefined: when the last pod has gone. */
  readonly untilMillis: number | undefined;
}

const MILLIS_PER_HOUR = 3_600_000;
/** Far above what a run can hold in memory. */
const MAX_ARRIVALS = 20_000_000;

/** Every pod once, at the time the list gives, for as long as it says. Pods created at the same time come in its order. */
export function recordedArrivals(
  trace: string,
  nodes: readonly SimulatedNode[],
  { list, durationMillis, createdMillis }: TimedPodList & { readonly createdMillis: Float64Array },
  seed: number,
): TimedWorkload {
  const pods = [...list.pods.keys()].sort((a, b) => (createdMillis[a] ?? 0) - (createdMillis[b] ?? 0) || a - b);
  return {
    ...{ trace, seed, nodes, list },
    order: { nodes: seededNodes(nodes, seed), pods },
    arrivalMillis: Float64Array.from(pods, (pod) => createdMillis[pod] ?? 0),
    durationMillis: Float64Array.from(pods, (pod) => durationMillis[pod] ?? 0),
    untilMillis: undefined,
  };
}

export interface PoissonOptions {
  /** Mean GPU demand of all pods that would run at once if none had to wait, as a multiple of all GPUs. */
  readonly load: number;
  /** Arrivals come during this time, and the run ends with it. */
  readonly hours: number;
}

/** Pods of the list, each drawn anew, at random times. Long pods are cut: what outlives the run would fill it for good. */
export function poissonArrivals(
  trace: string,
  nodes: readonly SimulatedNode[],
  { list, durationMillis }: TimedPodList,
  seed: number,
  { load, hours }: PoissonOptions,
): TimedWorkload {
  const untilMillis = hours * MILLIS_PER_HOUR;
  const durations = durationMillis.map((millis) => Math.min(millis, LONGEST_MILLIS));
  const workMilliMillis = meanWork(list, durations);
  if (workMilliMillis === 0) {
    throw new TraceFault('--load: no pod of the list takes a GPU for any time, so no number of them makes a load');
  }
  const gapMillis = workMilliMillis / (load * capacityMilli(nodes));
  if (untilMillis / gapMillis > MAX_ARRIVALS) {
    throw new TraceFault(`--hours ${hours}: about ${Math.round(untilMillis / gapMillis)} pods; take fewer hours`);
  }
  const times = seededRandom(seed, 'times');
  const draws = seededRandom(seed, 'draws');
  const pods: number[] = [];
  const arrivals: number[] = [];
  for (let now = times.gap() * gapMillis; now < untilMillis; now += times.gap() * gapMillis) {
    arrivals.push(Math.floor(now));
    pods.push(draws.between(0, list.pods.length - 1));
  }
  return {
    ...{ trace, seed, nodes, list },
    order: { nodes: seededNodes(nodes, seed), pods },
    arrivalMillis: Float64Array.from(arrivals),
    durationMillis: Float64Array.from(pods, (pod) => durations[pod] ?? 0),
    untilMillis,
  };
}

/** The longest that a drawn pod runs. */
export const LONGEST_MILLIS: number = 24 * MILLIS_PER_HOUR;

/** Milli-GPU times milliseconds of a pod, on average. */
function meanWork(list: PodList, durationMillis: Float64Array): number {
  let sum = 0;
  list.pods.forEach((at, pod) => {
    const request = list.requests[at];
    if (request !== undefined) sum += milliOf(request) * (durationMillis[pod] ?? 0);
  });
  return sum / list.pods.length;
}

function seededNodes(nodes: readonly SimulatedNode[], seed: number): readonly number[] {
  return shuffled([...nodes.keys()], seededRandom(seed, 'nodes'));
}
