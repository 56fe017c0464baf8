// The extender without its outside: verbs, operator's views and feeds over one engine, wired to ports.
// The service, the embedded cluster, tests and the simulator's scheduler driver all run this.

import { Engine, type EngineOptions } from '../core/engine.ts';
import { explain, summarize, type Explanation } from '../core/explain.ts';
import { Ledger } from '../core/ledger.ts';
import type { NodeRecord, PodRecord } from '../core/model.ts';
import type { Ranking } from '../core/ranking.ts';
import { REASON_COUNT, reasonName, type ReasonName } from '../core/reasons.ts';
import { podRecord } from '../core/records.ts';
import type { Profile } from '../core/resources.ts';
import type { Shape } from '../core/shape.ts';
import { takeSnapshot, type Snapshot } from '../core/snapshot.ts';
import { ClusterState } from '../core/state.ts';
import { createBind, type BindEnd } from './bind.ts';
import type { ExtenderArgs, ExtenderBindingArgs, ExtenderBindingResult } from './extender-api.ts';
import { createFilter, type FilterVerb } from './filter.ts';
import { inspect, type InspectDocument } from './inspect.ts';
import { PodDirectory } from './pod-directory.ts';
import type { Binder, Clock, EventSink, ObjectFeed, PodReader } from './ports.ts';
import { createPrioritize, type PrioritizeVerb } from './prioritize.ts';
import { ReasonTexts } from './reason-texts.ts';
import { nodeFeed, podFeed, unhealthyFeed, type UnhealthyList } from './reconcile.ts';
import { sweepReservations } from './sweep.ts';

export interface ApplicationOptions extends Omit<EngineOptions, 'ledger'> {
  readonly profile: Profile;
  readonly ranking: Ranking;
  readonly narrow: number;
  readonly bindTimeoutMillis: number;
  readonly reservationHoldMillis: number;
}

/** Figures that the application reports as things happen. */
export interface ApplicationMetrics {
  countRejection(reason: ReasonName | 'InvalidRequest', nodes: number): void;
  countBind(end: BindEnd): void;
  countTampered(): void;
}

export interface ApplicationPorts {
  readonly binder: Binder;
  readonly podReader: PodReader;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly metrics: ApplicationMetrics;
  /** Why verbs are refused at the moment, or undefined. */
  readonly refusal: () => string | undefined;
}

export interface Application {
  readonly engine: Engine;
  readonly pending: PodDirectory;
  readonly feeds: {
    readonly pods: ObjectFeed<PodRecord>;
    readonly nodes: ObjectFeed<NodeRecord>;
    readonly unhealthyLists: ObjectFeed<UnhealthyList>;
  };
  readonly filter: FilterVerb['filter'];
  readonly prioritize: PrioritizeVerb['prioritize'];
  /** Filter and prioritize for names that are bytes of a request. */
  readonly inBytes: {
    readonly filter: FilterVerb['filterHosts'];
    readonly prioritize: PrioritizeVerb['prioritizeHosts'];
  };
  bind(args: ExtenderBindingArgs): Promise<ExtenderBindingResult>;
  /** Why a pod would go where it goes; undefined where no such GPU pod is known. */
  explain(pod: {
    readonly namespace: string;
    readonly name: string;
  }): Explanation | { readonly invalid: string } | undefined;
  snapshot(): Snapshot;
  inspect(nodeName?: string): InspectDocument | undefined;
  /** Ends doubtful reservations that are old enough to be asked about. */
  sweep(): Promise<number>;
}

export function createApplication(options: ApplicationOptions, ports: ApplicationPorts): Application {
  const { profile, ranking, narrow, bindTimeoutMillis: timeoutMillis, reservationHoldMillis: holdMillis } = options;
  const { clock, refusal, metrics } = ports;
  const ledger = new Ledger(new ClusterState());
  const engine = new Engine({ ...options, ledger });
  const pending = new PodDirectory();
  const readPod = ({ Pod }: Pick<ExtenderArgs, 'Pod'>): PodRecord | undefined =>
    Pod ? podRecord(Pod, profile) : undefined;
  const reporter = createReporter(ports);
  const texts = new ReasonTexts(profile.name);
  const { filter, filterHosts } = createFilter({ engine, readPod, refusal, narrow, ranking, texts, ...reporter });
  const { prioritize, prioritizeHosts } = createPrioritize({ engine, readPod, refusal, ranking });
  const bindDeps = { engine, pending, binder: ports.binder, podReader: ports.podReader, clock, profile, timeoutMillis };
  return {
    engine,
    pending,
    feeds: {
      pods: podFeed({ engine, pending, clock, onTampered: () => metrics.countTampered() }),
      nodes: nodeFeed({ engine }),
      unhealthyLists: unhealthyFeed({ engine }),
    },
    filter,
    prioritize,
    inBytes: { filter: filterHosts, prioritize: prioritizeHosts },
    bind: createBind({ ...bindDeps, refusal, onEnd: reporter.onEnd }),
    explain: ({ namespace, name }) => {
      const pod = pending.byName(namespace, name) ?? placedPod(ledger, namespace, name);
      if (pod === undefined || pod.demand.kind === 'none') return undefined;
      if (pod.demand.kind === 'invalid') return { invalid: pod.demand.why };
      return explain(engine, engine.shapeOf(pod.demand.request, pod.namespace, pod.labels));
    },
    snapshot: () => takeSnapshot(engine, pending.values()),
    inspect: (nodeName) => inspect(ledger, nodeName),
    sweep: () => sweepReservations({ ...bindDeps, holdMillis }),
  };
}

function placedPod(ledger: Ledger, namespace: string, name: string): PodRecord | undefined {
  for (const { pod } of ledger.residents()) if (pod.name === name && pod.namespace === namespace) return pod;
  return undefined;
}

interface Reporter {
  readonly onAnswer: (pod: PodRecord, shape: Shape, failures: Int32Array, feasible: number) => void;
  readonly onInvalid: (pod: PodRecord, why: string) => void;
  readonly onEnd: (end: BindEnd, pod: PodRecord | undefined, nodeName: string, detail: string) => void;
}

/** Turns what the verbs report into metrics and pod events. */
function createReporter({ metrics, events }: ApplicationPorts): Reporter {
  return {
    onAnswer(pod, shape, failures, feasible) {
      for (let reason = 1; reason < REASON_COUNT; reason++) {
        const nodes = failures[reason] ?? 0;
        if (nodes > 0) metrics.countRejection(reasonName(reason), nodes);
      }
      if (feasible > 0) return;
      events.publish({ pod, type: 'Warning', reason: 'GpuRefused', message: summarize(failures, shape) });
    },
    onInvalid(pod, why) {
      metrics.countRejection('InvalidRequest', 1);
      events.publish({ pod, type: 'Warning', reason: 'GpuRequestInvalid', message: why });
    },
    onEnd(end, pod, nodeName, detail) {
      metrics.countBind(end);
      if (pod === undefined || end === 'repeated') return;
      const isBound = end === 'bound';
      const message = isBound
        ? `placed on ${detail} of node ${nodeName}`
        : `binding to node ${nodeName} did not succeed: ${detail}`;
      events.publish({
        pod,
        type: isBound ? 'Normal' : 'Warning',
        reason: isBound ? 'GpuAllocated' : 'GpuBindFailed',
        message,
      });
    },
  };
}
