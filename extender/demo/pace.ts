// How fast pods arrive in the continuous demo, so that any cluster fills up within seconds and then stays a little
// over-subscribed. Pure arithmetic over a sample of the workload.

import { PROFILES } from '../core/resources.ts';
import { podRequests } from './node-resources-fit.ts';
import type { Arrival } from './workload.ts';

export interface Pace {
  /** Until so many pods have arrived, they come at the faster rate. */
  readonly fillPods: number;
  readonly fillPerSecond: number;
  readonly perSecond: number;
  /** Milliseconds of this process for a minute of a pod's run time. */
  readonly millisPerMinute: number;
}

/** A second on screen for a minute of work, unless the cluster is so large that arrivals would come too fast. */
const MILLIS_PER_MINUTE = 1000;
const MAX_PER_SECOND = 40;
const TARGET_LOAD = 1.1;
const FILLED_LOAD = 0.85;
const FILL_SECONDS = 5;
const MAX_FILL_PER_SECOND = 200;

export function paceFor(slices: number, sample: readonly Arrival[]): Pace {
  const gpuPods = sample.map(({ pod, runMinutes }) => ({ slices: slicesOf(pod), runMinutes }));
  const meanSlices = gpuPods.reduce((sum, pod) => sum + pod.slices, 0) / sample.length;
  const meanSliceMinutes = gpuPods.reduce((sum, pod) => sum + pod.slices * pod.runMinutes, 0) / sample.length;
  const perMinute = meanSliceMinutes > 0 ? (slices * TARGET_LOAD) / meanSliceMinutes : 1;
  const perSecond = Math.min(MAX_PER_SECOND, Math.max(0.2, (perMinute * 1000) / MILLIS_PER_MINUTE));
  const fillPods = meanSlices > 0 ? Math.round((slices * FILLED_LOAD) / meanSlices) : 0;
  return {
    fillPods,
    fillPerSecond: Math.min(MAX_FILL_PER_SECOND, Math.max(perSecond, fillPods / FILL_SECONDS)),
    perSecond,
    millisPerMinute: (perMinute * 1000) / perSecond,
  };
}

function slicesOf(pod: Arrival['pod']): number {
  return podRequests(pod).get(PROFILES.gpuloom.memoryResource) ?? 0;
}
