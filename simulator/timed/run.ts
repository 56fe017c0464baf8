// A run in virtual time: pods arrive, wait where nothing has room, run, and leave. Waiting pods are tried in order of
// arrival whenever a pod has left, before pods that arrive at that moment; a pod that finds no place does not hold up
// those behind it. kube-scheduler also keeps a refused pod back for 1 to 10 s; that is left out.
// Deterministic: the same workload, policy and driver give the same schedule.

import type { PodRequest, WorkloadClass } from '../../extender/core/model.ts';
import { FITS } from '../../extender/core/reasons.ts';
import type { RoomWeights } from '../../extender/core/room-weights.ts';
import type { SimulatedPolicyName } from '../policy/selection.ts';
import type { SimulatedCluster } from '../run/cluster.ts';
import type { DriverSettings } from '../run/driver.ts';
import { FragmentationTotal } from '../run/fragmentation-total.ts';
import type { Progress } from '../run/in-order.ts';
import { Placer } from '../run/placer.ts';
import { capacityMilli, milliOf } from '../workload.ts';
import { EventLoop } from './event-loop.ts';
import { Schedule } from './schedule.ts';
import { Usage, type UsagePoint, type UsageTotals } from './usage.ts';
import { WaitingPods, type Tried } from './waiting.ts';
import { Waits, type ClassWaits } from './waits.ts';
import type { TimedWorkload } from './workload.ts';

export interface TimedOutcome {
  readonly policy: string;
  readonly trace: string;
  readonly seed: number;
  readonly driver: DriverSettings;
  /** Of the policy `fragmentation`, where they are not its own. */
  readonly weights?: RoomWeights;
  readonly nodes: number;
  readonly gpus: number;
  /** Pods that arrived. */
  readonly pods: number;
  readonly endSeconds: number;
  readonly finished: number;
  /** At the end. */
  readonly running: number;
  readonly usage: UsageTotals;
  readonly classes: Readonly<Record<WorkloadClass, ClassWaits>>;
  readonly curve: readonly UsagePoint[];
}

export interface TimedRun {
  readonly outcome: TimedOutcome;
  readonly schedule: Schedule;
  readonly cluster: SimulatedCluster;
}

/** What can happen. At the same time: departures first, then waiting pods, then arrivals. */
type Event =
  | { readonly kind: 'departure'; readonly arrival: number; readonly node: number }
  | { readonly kind: 'retry'; readonly isFlush: boolean }
  | { readonly kind: 'arrival'; readonly arrival: number };

const RANKS: Readonly<Record<Event['kind'], number>> = { departure: 0, retry: 1, arrival: 2 };
const CURVE_SPANS = 200;
const PROGRESS_EVERY = 1024;
/** kube-scheduler tries unschedulable pods again after this time though nothing happened. */
const FLUSH_MILLIS = 60_000;
/** Flushes in a row that place nothing, after which pods that nothing else can help are given up. */
const MOST_IDLE_FLUSHES = 100;

export function runTimed(
  workload: TimedWorkload,
  policy: SimulatedPolicyName,
  driver: DriverSettings,
  progress: Progress,
  weights?: RoomWeights,
): TimedRun {
  const simulation = new TimedSimulation(workload, policy, driver, weights);
  return simulation.run(progress);
}

class TimedSimulation {
  readonly #workload: TimedWorkload;
  readonly #placer: Placer;
  readonly #policy: SimulatedPolicyName;
  readonly #driver: DriverSettings;
  readonly #weights: RoomWeights | undefined;
  readonly #loop = new EventLoop<Event>(({ kind }) => RANKS[kind]);
  readonly #waiting = new WaitingPods();
  readonly #schedule: Schedule;
  readonly #waits = { online: new Waits(), batch: new Waits() };
  readonly #usage: Usage;
  readonly #fragmentation: FragmentationTotal;
  readonly #isPlaceable: readonly boolean[];
  #allocatedMilli = 0;
  #running = 0;
  #finished = 0;
  #arrived = 0;
  #isRetryDue = false;
  #isFlushDue = false;
  #idleFlushes = 0;

  constructor(workload: TimedWorkload, policy: SimulatedPolicyName, driver: DriverSettings, weights?: RoomWeights) {
    this.#workload = workload;
    this.#policy = policy;
    this.#driver = driver;
    this.#placer = new Placer(workload, policy, driver, weights);
    this.#weights = weights;
    this.#schedule = new Schedule(workload.arrivalMillis);
    this.#usage = new Usage(capacityMilli(workload.nodes));
    this.#fragmentation = new FragmentationTotal(this.#placer.cluster.engine);
    this.#isPlaceable = workload.list.requests.map((request) => this.#fitsSomewhere(request));
  }

  run(progress: Progress): TimedRun {
    const { arrivalMillis, untilMillis } = this.#workload;
    const total = arrivalMillis.length;
    this.#scheduleArrival(0);
    this.#loop.run(untilMillis ?? Number.POSITIVE_INFINITY, (event) => {
      if (event.kind === 'arrival' && event.arrival % PROGRESS_EVERY === 0) progress(event.arrival, total);
      this.#handle(event);
      this.#note();
    });
    progress(total, total);
    return { outcome: this.#outcome(), schedule: this.#schedule, cluster: this.#placer.cluster };
  }

  #handle(event: Event): void {
    if (event.kind === 'departure') this.#depart(event.arrival, event.node);
    else if (event.kind === 'arrival') this.#arrive(event.arrival);
    else this.#retry(event.isFlush);
  }

  #arrive(arrival: number): void {
    this.#scheduleArrival(arrival + 1);
    this.#arrived++;
    this.#idleFlushes = 0;
    const { at, request } = this.#requestOf(arrival);
    this.#placer.arrived(request);
    if (this.#isPlaceable[at] !== true) {
      this.#waits[request.class].unplaceable();
      return;
    }
    const tried = this.#try(arrival);
    if (tried === 'placed') return;
    this.#waiting.add(arrival, at);
    if (tried === 'unseen') this.#flushLater();
  }

  #depart(arrival: number, node: number): void {
    const { request } = this.#requestOf(arrival);
    this.#placer.release(String(arrival));
    this.#schedule.leftMillis[arrival] = this.#loop.nowMillis;
    this.#fragmentation.changed(node);
    this.#allocatedMilli -= milliOf(request);
    this.#running--;
    this.#finished++;
    this.#idleFlushes = 0;
    if (this.#waiting.size === 0 || this.#isRetryDue) return;
    this.#isRetryDue = true;
    this.#loop.schedule(this.#loop.nowMillis, { kind: 'retry', isFlush: false });
  }

  #retry(isFlush: boolean): void {
    if (isFlush) this.#isFlushDue = false;
    else this.#isRetryDue = false;
    let placed = 0;
    let unseen = 0;
    this.#waiting.pass((arrival) => {
      const tried = this.#try(arrival);
      if (tried === 'placed') placed++;
      if (tried === 'unseen') unseen++;
      return tried;
    });
    this.#idleFlushes = isFlush && placed === 0 ? this.#idleFlushes + 1 : 0;
    if (unseen > 0) this.#flushLater();
  }

  /** Nothing may ever change again, and the next look at the cluster may begin at a better node. */
  #flushLater(): void {
    if (this.#isFlushDue || this.#idleFlushes >= MOST_IDLE_FLUSHES) return;
    this.#isFlushDue = true;
    this.#loop.schedule(this.#loop.nowMillis + FLUSH_MILLIS, { kind: 'retry', isFlush: true });
  }

  #try(arrival: number): Tried {
    const { request } = this.#requestOf(arrival);
    const attempt = this.#placer.place(String(arrival), request);
    if (attempt.kind !== 'placed') return attempt.kind;
    const { nowMillis } = this.#loop;
    this.#schedule.placements.set(arrival, attempt.node, attempt.gpus);
    this.#schedule.placedMillis[arrival] = nowMillis;
    this.#waits[request.class].placed(nowMillis - (this.#workload.arrivalMillis[arrival] ?? 0));
    this.#fragmentation.changed(attempt.node);
    this.#allocatedMilli += milliOf(request);
    this.#running++;
    const durationMillis = this.#workload.durationMillis[arrival] ?? 0;
    this.#loop.schedule(nowMillis + durationMillis, { kind: 'departure', arrival, node: attempt.node });
    return 'placed';
  }

  /** Only the next arrival is ever among the events. */
  #scheduleArrival(arrival: number): void {
    const atMillis = this.#workload.arrivalMillis[arrival];
    if (atMillis !== undefined) this.#loop.schedule(atMillis, { kind: 'arrival', arrival });
  }

  #requestOf(arrival: number): { readonly at: number; readonly request: PodRequest } {
    const { order, list } = this.#workload;
    const at = list.pods[order.pods[arrival] ?? -1] ?? -1;
    const request = list.requests[at];
    if (request === undefined) throw new RangeError(`arrival ${arrival}: no such pod`);
    return { at, request };
  }

  /** Asked while the cluster is empty. */
  #fitsSomewhere(request: PodRequest): boolean {
    const { engine } = this.#placer.cluster;
    const { reasons } = engine.verdicts(engine.shapeOf(request, '', {}));
    return reasons.subarray(0, engine.ledger.state.nodeSlots).includes(FITS);
  }

  #note(): void {
    this.#usage.note(this.#loop.nowMillis, {
      allocatedMilli: this.#allocatedMilli,
      fragmentedMilli: this.#fragmentation.milli,
      running: this.#running,
      waiting: this.#waiting.size,
    });
  }

  #outcome(): TimedOutcome {
    const { trace, seed, nodes, untilMillis, arrivalMillis } = this.#workload;
    const endMillis = untilMillis ?? this.#loop.nowMillis;
    for (const arrival of this.#waiting) {
      const { request } = this.#requestOf(arrival);
      this.#waits[request.class].waitsStill(endMillis - (arrivalMillis[arrival] ?? 0));
    }
    return {
      ...{ policy: this.#policy, trace, seed, driver: this.#driver },
      ...(this.#weights !== undefined && { weights: this.#weights }),
      nodes: nodes.length,
      gpus: nodes.reduce((sum, { gpus }) => sum + gpus, 0),
      pods: this.#arrived,
      endSeconds: endMillis / 1000,
      finished: this.#finished,
      running: this.#running,
      usage: this.#usage.totals(endMillis),
      classes: { online: this.#waits.online.summary(), batch: this.#waits.batch.summary() },
      curve: this.#usage.curve(endMillis, CURVE_SPANS),
    };
  }
}
