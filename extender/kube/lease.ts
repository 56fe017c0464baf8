// Leader election on a coordination.k8s.io/v1 Lease, by compare-and-swap on its resourceVersion.
// It must never compare clocks of different hosts: another's term ends a full lease duration of local monotonic time
// after its last change was first seen here. One loop per election; isLeader() reads the clock at the moment it is asked.

import type { Clock } from '../app/ports.ts';
import type { Delays } from './delays.ts';
import { apiPath, describeAnswer, messageOf } from './kube-api.ts';
import type { KubeAnswer, KubeApi } from './kube-api.ts';
import { acquiredLease, newLease, readLease, releasedLease, renewedLease } from './lease-record.ts';
import type { Holding, LeaseRecord } from './lease-record.ts';

export interface LeaseTimes {
  readonly leaseDurationMillis: number;
  /** Without a renewal for this long the term is given up. At most two thirds of the lease duration. */
  readonly renewDeadlineMillis: number;
  readonly retryMillis: number;
  readonly requestTimeoutMillis: number;
}

export const DEFAULT_LEASE_TIMES: LeaseTimes = {
  leaseDurationMillis: 15_000,
  renewDeadlineMillis: 10_000,
  retryMillis: 2_000,
  requestTimeoutMillis: 3_000,
};

export interface LeaseOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly delays: Delays;
  readonly namespace: string;
  readonly name: string;
  /** Must differ between processes and between restarts, such as `<pod name>_<random>`. */
  readonly identity: string;
  readonly times?: Partial<LeaseTimes>;
  /** `epoch` grows with every term of any candidate. */
  readonly onAcquired?: (epoch: number) => void;
  readonly onLost?: (epoch: number, why: string) => void;
  readonly report?: (message: string) => void;
}

export interface LeaderElection {
  /** Safe after a pause of the process: false once two thirds of the lease duration passed since the last renewal. */
  isLeader(): boolean;
  /** The epoch of the present term, while isLeader(). */
  epoch(): number | undefined;
  /** Who held the lease when it was last seen; empty for nobody. */
  holder(): string;
  /** Gives the lease back, so that the next candidate takes over at once. Finish or abandon all binds before. */
  stop(): Promise<void>;
}

export function startLeaderElection(options: LeaseOptions): LeaderElection {
  const loop = new ElectionLoop(options);
  const done = loop.run();
  return {
    isLeader: () => loop.isLeader(),
    epoch: () => loop.epoch(),
    holder: () => loop.holder(),
    stop: () => {
      loop.stop();
      return done;
    },
  };
}

interface Term {
  readonly epoch: number;
  /** When the request that last renewed it was about to be sent, so never later than the server's view. */
  readonly renewedAt: number;
}

class ElectionLoop {
  readonly #options: LeaseOptions;
  readonly #times: LeaseTimes;
  readonly #path: string;
  readonly #stop = new AbortController();
  #term: Term | undefined;
  /** The record as last read or written; undefined when it must be read before the next write. */
  #record: LeaseRecord | undefined;
  #seenVersion = '';
  #seenAt = Number.NEGATIVE_INFINITY;
  #seenHolder = '';
  #seenDurationMillis = 0;
  #seenTransitions = 0;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#times = { ...DEFAULT_LEASE_TIMES, ...options.times };
    const { leaseDurationMillis, renewDeadlineMillis, retryMillis } = this.#times;
    if (renewDeadlineMillis * 3 > leaseDurationMillis * 2 || retryMillis >= renewDeadlineMillis) {
      throw new Error(
        `lease times do not fit: retry ${String(retryMillis)} ms must be below the renew deadline ` +
          `${String(renewDeadlineMillis)} ms, and that at most two thirds of the lease ${String(leaseDurationMillis)} ms`,
      );
    }
    this.#path = apiPath('coordination.k8s.io/v1', 'namespaces', options.namespace, 'leases');
    apiPath('coordination.k8s.io/v1', options.name);
  }

  isLeader(): boolean {
    return this.#term !== undefined && !this.#stop.signal.aborted && !this.#isOverdue(this.#term);
  }

  epoch(): number | undefined {
    return this.isLeader() ? this.#term?.epoch : undefined;
  }

  holder(): string {
    return this.#seenHolder;
  }

  stop(): void {
    this.#stop.abort();
  }

  async run(): Promise<void> {
    const { delays } = this.#options;
    const { retryMillis } = this.#times;
    while (!this.#stop.signal.aborted) {
      await this.#step();
      // Candidates spread out; a leader renews on time.
      const wait = this.#term === undefined ? retryMillis * (1 + 0.2 * delays.random()) : retryMillis;
      await delays.sleep(wait, this.#stop.signal);
    }
    await this.#release();
  }

  async #step(): Promise<void> {
    try {
      this.#endOverdueTerm();
      const record = this.#term === undefined ? undefined : this.#record;
      if (record !== undefined) await this.#write(renewedLease(record, this.#holding()), 'renew');
      else await this.#readAndTry();
    } catch (error) {
      this.#report(messageOf(error));
      // The write may have been committed, so the next step starts by reading.
      this.#record = undefined;
    }
    this.#endOverdueTerm();
  }

  async #readAndTry(): Promise<void> {
    const answer = await this.#request('GET', undefined);
    if (this.#stop.signal.aborted) return;
    if (answer.status === 404) {
      this.#forget();
      if (this.#othersTermMayRun()) return;
      const body = newLease(this.#options, this.#seenTransitions + 1, this.#holding());
      await this.#write(body, 'create');
      return;
    }
    const record = answer.status === 200 ? readLease(answer.body) : undefined;
    if (record === undefined) throw new Error(`the lease cannot be read: ${describeAnswer(answer)}`);
    this.#observe(record);
    if (record.holder === this.#options.identity && this.#term !== undefined) {
      await this.#write(renewedLease(record, this.#holding()), 'renew');
      return;
    }
    this.#endTerm(`the lease is held by "${record.holder}"`);
    if (!this.#othersTermMayRun()) await this.#write(acquiredLease(record, this.#holding()), 'acquire');
  }

  async #write(body: unknown, intent: 'create' | 'acquire' | 'renew'): Promise<void> {
    const sentAt = this.#options.clock.monotonicMillis();
    const answer = await this.#request(intent === 'create' ? 'POST' : 'PUT', body);
    const record = answer.status === 200 || answer.status === 201 ? readLease(answer.body) : undefined;
    if (record === undefined) {
      this.#record = undefined;
      // Losing a race to another candidate is how an election goes.
      const lostRace = answer.status === 409 && intent !== 'renew';
      if (!lostRace) this.#report(`the lease could not be written (${intent}): ${describeAnswer(answer)}`);
      return;
    }
    this.#observe(record);
    // A reply that took too long proves nothing about now; the next step reads the lease again.
    if (this.#isOverdue({ epoch: record.transitions, renewedAt: sentAt })) return;
    const before = this.#term;
    this.#term = { epoch: record.transitions, renewedAt: sentAt };
    if (before === undefined) this.#notify(() => this.#options.onAcquired?.(record.transitions));
  }

  #isOverdue(term: Term): boolean {
    return this.#options.clock.monotonicMillis() - term.renewedAt > this.#times.renewDeadlineMillis;
  }

  #endOverdueTerm(): void {
    if (this.#term === undefined || !this.#isOverdue(this.#term)) return;
    this.#endTerm(`not renewed within ${String(this.#times.renewDeadlineMillis)} ms`);
  }

  #endTerm(why: string): void {
    const term = this.#term;
    if (term === undefined) return;
    this.#term = undefined;
    this.#record = undefined;
    this.#notify(() => this.#options.onLost?.(term.epoch, why));
  }

  #observe(record: LeaseRecord): void {
    this.#record = record;
    this.#seenHolder = record.holder;
    this.#seenTransitions = Math.max(this.#seenTransitions, record.transitions);
    if (record.resourceVersion === this.#seenVersion) return;
    this.#seenVersion = record.resourceVersion;
    this.#seenAt = this.#options.clock.monotonicMillis();
    this.#seenDurationMillis = record.leaseDurationMillis;
  }

  // Whoever deleted the object did not thereby end the term of its holder, who may not have noticed yet. A candidate
  // that never saw the holder cannot know; a new leader's relist before its first bind is what covers that.
  #forget(): void {
    this.#record = undefined;
    this.#seenVersion = '';
    this.#endTerm('the lease object is gone');
  }

  #othersTermMayRun(): boolean {
    if (this.#seenHolder === '' || this.#seenHolder === this.#options.identity) return false;
    const duration = Math.max(this.#seenDurationMillis, this.#times.leaseDurationMillis);
    return this.#options.clock.monotonicMillis() - this.#seenAt <= duration;
  }

  async #release(): Promise<void> {
    const record = this.#record;
    this.#endTerm('stopping');
    try {
      if (record?.holder !== this.#options.identity) return;
      const answer = await this.#request('PUT', releasedLease(record, this.#options.clock.wallMillis()));
      if (answer.status !== 200) this.#report(`the lease could not be released: ${describeAnswer(answer)}`);
    } catch (error) {
      this.#report(`the lease could not be released: ${messageOf(error)}`);
    }
  }

  #request(method: 'GET' | 'POST' | 'PUT', body: unknown): Promise<KubeAnswer> {
    const path = method === 'POST' ? this.#path : `${this.#path}/${this.#options.name}`;
    const timeoutMillis = this.#times.requestTimeoutMillis;
    return this.#options.api.request(method, path, { timeoutMillis, ...(body === undefined ? {} : { body }) });
  }

  #holding(): Holding {
    const { clock, identity } = this.#options;
    const { leaseDurationMillis } = this.#times;
    return { identity, leaseDurationMillis, wallMillis: clock.wallMillis() };
  }

  #notify(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#report(`a leadership callback threw: ${messageOf(error)}`);
    }
  }

  #report(message: string): void {
    try {
      this.#options.report?.(message);
    } catch (error) {
      // Nobody is left to tell, and the election must go on.
      void error;
    }
  }
}
