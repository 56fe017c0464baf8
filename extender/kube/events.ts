// The EventSink port: Kubernetes Events that `kubectl describe pod` shows, deduplicated and limited in rate.
// Best effort by design: a full queue drops the oldest, a failed write is counted and not repeated, nothing throws.
// publish() is synchronous; one sender writes at a time, in order.

import { randomBytes } from 'node:crypto';

import { LRUCache } from 'lru-cache';

import type { Clock, EventSink, PodEvent } from '../app/ports.ts';
import type { Delays } from './delays.ts';
import { apiPath, describeAnswer, messageOf, retryAfterMillis } from './kube-api.ts';
import type { KubeAnswer, KubeApi } from './kube-api.ts';
import { microTime } from './micro-time.ts';

export interface EventSinkLimits {
  /** Distinct events remembered for deduplication. */
  readonly remembered: number;
  /** A repeated event is written again, as a series, at most this often. */
  readonly seriesMillis: number;
  readonly queueLength: number;
  readonly burst: number;
  readonly perSecond: number;
  readonly requestTimeoutMillis: number;
}

export const DEFAULT_EVENT_SINK_LIMITS: EventSinkLimits = {
  remembered: 4096,
  seriesMillis: 300_000,
  queueLength: 256,
  burst: 50,
  perSecond: 5,
  requestTimeoutMillis: 5_000,
};

export interface EventSinkOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly delays: Delays;
  /** The program, such as `gpuloom.io/extender`. */
  readonly controller?: string;
  /** This process, such as the pod name. */
  readonly instance: string;
  readonly limits?: Partial<EventSinkLimits>;
  readonly report?: (message: string) => void;
}

export interface EventCounts {
  readonly written: number;
  /** Repetitions that only raised a count. */
  readonly suppressed: number;
  /** Fell out of the full queue. */
  readonly dropped: number;
  readonly failed: number;
}

/** News about a whole node. */
export interface NodeEvent {
  readonly nodeName: string;
  readonly type: PodEvent['type'];
  readonly reason: string;
  readonly message: string;
}

export interface KubeEventSink extends EventSink {
  /** As `publish`, for `kubectl describe node`. */
  publishForNode(event: NodeEvent): void;
  counts(): EventCounts;
  /** Resolves when the queue is empty and nothing is being written. */
  idle(): Promise<void>;
  /** Drops what is queued and ends the sender. */
  stop(): Promise<void>;
}

const EXTENDER_CONTROLLER = 'gpuloom.io/extender';
const LONGEST_NOTE = 1024;
/** Where the events of objects without a namespace go. API servers before 1.21 take them in no other. */
const CLUSTER_EVENTS_NAMESPACE = 'kube-system';

export function createEventSink(options: EventSinkOptions): KubeEventSink {
  return new QueuedEventSink(options);
}

interface Remembered {
  /** Of the Event object; chosen when it is first written, since many never are. */
  name: string;
  count: number;
  lastWrittenAt: number;
  created: boolean;
  queued: boolean;
}

/** An event with what it is about. */
interface Story extends Pick<PodEvent, 'type' | 'reason' | 'message'> {
  readonly kind: 'Pod' | 'Node';
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

interface Task {
  readonly event: Story;
  readonly key: string;
  readonly entry: Remembered;
  readonly wallMillis: number;
}

class QueuedEventSink implements KubeEventSink {
  readonly #options: EventSinkOptions;
  readonly #limits: EventSinkLimits;
  readonly #remembered: LRUCache<string, Remembered>;
  readonly #stop = new AbortController();
  readonly #counts = { written: 0, suppressed: 0, dropped: 0, failed: 0 };
  #queue: Task[] = [];
  #tokens: number;
  #refilledAt: number;
  #sender: Promise<void> | undefined;

  constructor(options: EventSinkOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_EVENT_SINK_LIMITS, ...options.limits };
    this.#remembered = new LRUCache({ max: this.#limits.remembered });
    this.#tokens = this.#limits.burst;
    this.#refilledAt = options.clock.monotonicMillis();
  }

  counts(): EventCounts {
    return { ...this.#counts };
  }

  async idle(): Promise<void> {
    await this.#sender;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#queue = [];
    await this.#sender;
  }

  publish({ pod: { namespace, name, uid }, type, reason, message }: PodEvent): void {
    this.#publish({ kind: 'Pod', namespace, name, uid, type, reason, message });
  }

  publishForNode({ nodeName: name, type, reason, message }: NodeEvent): void {
    // kubectl and the kubelet know a node's events by its name in place of a UID.
    this.#publish({ kind: 'Node', namespace: CLUSTER_EVENTS_NAMESPACE, name, uid: name, type, reason, message });
  }

  #publish(event: Story): void {
    if (this.#stop.signal.aborted) return;
    const { clock } = this.#options;
    const key = JSON.stringify([event.uid, event.type, event.reason, event.message]);
    const known = this.#remembered.get(key);
    if (known !== undefined) {
      known.count += 1;
      if (known.queued || clock.monotonicMillis() - known.lastWrittenAt < this.#limits.seriesMillis) {
        this.#counts.suppressed += 1;
        return;
      }
    }
    const entry = known ?? {
      name: '',
      count: 1,
      lastWrittenAt: 0,
      created: false,
      queued: true,
    };
    entry.queued = true;
    this.#remembered.set(key, entry);
    this.#enqueue({ event, key, entry, wallMillis: clock.wallMillis() });
  }

  #enqueue(task: Task): void {
    this.#queue.push(task);
    if (this.#queue.length > this.#limits.queueLength) {
      const oldest = this.#queue.shift();
      if (oldest !== undefined) this.#remembered.delete(oldest.key);
      this.#counts.dropped += 1;
    }
    this.#sender ??= this.#send();
  }

  async #send(): Promise<void> {
    // Never within publish(): a verb must not pay for building or sending an event.
    await Promise.resolve();
    while (this.#queue.length > 0 && !this.#stop.signal.aborted) {
      await this.#takeToken();
      const task = this.#queue.shift();
      if (task !== undefined) await this.#write(task);
    }
    this.#sender = undefined;
  }

  async #takeToken(): Promise<void> {
    const { clock, delays } = this.#options;
    const { burst, perSecond } = this.#limits;
    const now = clock.monotonicMillis();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#refilledAt) * perSecond) / 1000);
    this.#refilledAt = now;
    this.#tokens -= 1;
    // A token owed is waited for; the refill of that time then pays it back.
    if (this.#tokens < 0) await delays.sleep((-this.#tokens * 1000) / perSecond, this.#stop.signal);
  }

  async #write({ event, key, entry, wallMillis }: Task): Promise<void> {
    const first = !entry.created;
    if (first) entry.name = eventName(event.name);
    entry.created = true;
    entry.queued = false;
    entry.lastWrittenAt = this.#options.clock.monotonicMillis();
    try {
      const answer = first
        ? await this.#create(event, entry.name, wallMillis)
        : await this.#patchSeries(event, entry, wallMillis);
      if (answer.status === 200 || answer.status === 201) {
        this.#counts.written += 1;
        return;
      }
      this.#failed(key, event, describeAnswer(answer));
      const pause = retryAfterMillis(answer);
      if (pause > 0) await this.#options.delays.sleep(pause, this.#stop.signal);
    } catch (error) {
      this.#failed(key, event, messageOf(error));
    }
  }

  // Forgotten, so that the next occurrence is written anew; also right for a series whose event has expired.
  #failed(key: string, event: Story, why: string): void {
    this.#counts.failed += 1;
    this.#remembered.delete(key);
    try {
      this.#options.report?.(`event ${event.reason} for ${event.namespace}/${event.name} not written: ${why}`);
    } catch (error) {
      // Nobody is left to tell, and events are best effort.
      void error;
    }
  }

  #create(event: Story, name: string, wallMillis: number): Promise<KubeAnswer> {
    const path = apiPath('events.k8s.io/v1', 'namespaces', event.namespace, 'events');
    const { instance, controller = EXTENDER_CONTROLLER } = this.#options;
    const body = eventBody(event, name, wallMillis, { controller, instance });
    return this.#options.api.request('POST', path, { body, timeoutMillis: this.#limits.requestTimeoutMillis });
  }

  #patchSeries(event: Story, entry: Remembered, wallMillis: number): Promise<KubeAnswer> {
    const path = apiPath('events.k8s.io/v1', 'namespaces', event.namespace, 'events', entry.name);
    return this.#options.api.request('PATCH', path, {
      body: { series: { count: entry.count, lastObservedTime: microTime(wallMillis) } },
      contentType: 'application/merge-patch+json',
      timeoutMillis: this.#limits.requestTimeoutMillis,
    });
  }
}

interface EventReporter {
  readonly controller: string;
  readonly instance: string;
}

// The deprecated fields (source, count, first and last timestamp) must stay unset here: the API server refuses an
// events.k8s.io/v1 event that has them.
function eventBody(event: Story, name: string, wallMillis: number, reporter: EventReporter): unknown {
  const { kind, namespace, name: subject, uid } = event;
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name, namespace },
    eventTime: microTime(wallMillis),
    reportingController: reporter.controller,
    reportingInstance: reporter.instance.slice(0, 128),
    action: kind === 'Pod' ? 'Scheduling' : 'HealthCheck',
    reason: event.reason.slice(0, 128),
    type: event.type,
    note: shortened(event.message),
    regarding: { apiVersion: 'v1', kind, ...(kind === 'Pod' ? { namespace } : {}), name: subject, uid },
  };
}

// The limit counts bytes, and a cut must not fall inside a character.
function shortened(message: string): string {
  if (Buffer.byteLength(message) <= LONGEST_NOTE) return message;
  const cut = Buffer.from(message).subarray(0, LONGEST_NOTE - 3);
  return `${new TextDecoder().decode(cut, { stream: true })}...`;
}

function eventName(subject: string): string {
  return `${subject.slice(0, 230).replace(/[^a-z0-9]+$/, '')}.${randomBytes(8).toString('hex')}`;
}
