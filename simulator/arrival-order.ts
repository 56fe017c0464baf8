// An order of arrivals for a pod list that comes without one: shuffled, then inflated or thinned to a load, as the FGD
// experiments do it but with our own random numbers. The same seed gives the same order everywhere.

import { seededRandom, shuffled, type Random } from '../extender/random.ts';
import { capacityMilli, milliOf, type ArrivalOrder, type PodList, type SimulatedNode } from './workload.ts';

/** `load` is the demand that arrives, as a multiple of all GPUs. */
export function seededOrder(nodes: readonly SimulatedNode[], list: PodList, load: number, seed: number): ArrivalOrder {
  const limitMilli = load * capacityMilli(nodes);
  const pods = shuffled([...list.pods.keys()], seededRandom(seed, 'arrivals'));
  const milli = (pod: number): number => {
    const request = list.requests[list.pods[pod] ?? -1];
    return request === undefined ? 0 : milliOf(request);
  };
  const total = pods.reduce((sum, pod) => sum + milli(pod), 0);
  const random = seededRandom(seed, 'inflation');
  if (total > limitMilli) thin(pods, total, limitMilli, milli, random);
  else if (total > 0) inflate(pods, list.pods.length, total, limitMilli, milli, random);
  return { nodes: shuffled([...nodes.keys()], seededRandom(seed, 'nodes')), pods: Int32Array.from(pods) };
}

/** Appends pods of the list, each drawn anew, until one would pass the limit. */
function inflate(
  pods: number[],
  listed: number,
  totalMilli: number,
  limitMilli: number,
  milli: (pod: number) => number,
  random: Random,
): void {
  let total = totalMilli;
  for (;;) {
    const pod = random.between(0, listed - 1);
    total += milli(pod);
    if (total > limitMilli) return;
    pods.push(pod);
  }
}

/** Removes pods, each drawn anew, until the limit is kept; the order of the others stays. */
function thin(
  pods: number[],
  totalMilli: number,
  limitMilli: number,
  milli: (pod: number) => number,
  random: Random,
): void {
  const isGone = new Uint8Array(pods.length);
  let total = totalMilli;
  while (total > limitMilli) {
    const at = random.between(0, pods.length - 1);
    if (isGone[at] === 1) continue;
    isGone[at] = 1;
    total -= milli(pods[at] ?? 0);
  }
  const kept = pods.filter((_, at) => isGone[at] === 0);
  pods.splice(0, pods.length);
  for (const pod of kept) pods.push(pod);
}
