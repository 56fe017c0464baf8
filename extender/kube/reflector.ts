// List and watch: keeps an ObjectFeed equal to one collection of the API server, through every failure, until stopped.
// It must not keep raw objects, must not end on its own, and must not touch the feed before a list is complete.
// One loop per reflector; feed calls are synchronous, in order and never overlap.

import { backoffMillis } from './delays.ts';
import { describeAnswer, isExpired, messageOf, retryAfterMillis } from './kube-api.ts';
import type { Query } from './kube-api.ts';
import { isOlderVersion, KnownObjects } from './known-objects.ts';
import type { Change, ListDraft } from './known-objects.ts';
import { listInPages } from './paged-list.ts';
import { DEFAULT_REFLECTOR_LIMITS } from './reflector-options.ts';
import type {
  Reflector,
  ReflectorLimits,
  ReflectorOptions,
  ReflectorProblem,
  ReflectorStatus,
} from './reflector-options.ts';
import { parseWatchLine } from './watch-event.ts';

export function startReflector<T>(options: ReflectorOptions<T>): Reflector {
  const loop = new ReflectorLoop(options);
  const done = loop.run();
  return {
    status: () => loop.status(),
    relist: () => loop.relist(),
    stop: () => {
      loop.stop();
      return done;
    },
  };
}

/** How a list or a watch came to its end, and so what to do next. */
type Ending =
  | { readonly next: 'list' | 'watch'; readonly pause: 'none' }
  | { readonly next: 'list' | 'watch'; readonly pause: 'backoff'; readonly atLeastMillis: number };

const LIST_NOW: Ending = { next: 'list', pause: 'none' };
const WATCH_NOW: Ending = { next: 'watch', pause: 'none' };

class ReflectorLoop<T> {
  readonly #options: ReflectorOptions<T>;
  readonly #limits: ReflectorLimits;
  readonly #known: KnownObjects<T>;
  readonly #stop = new AbortController();
  #wake = new AbortController();
  #waiters: ((delivered: boolean) => void)[] = [];
  #resourceVersion = '';
  #attempt = 0;
  #fruitless = 0;
  #silent = 0;
  #expiredLists = 0;
  #lists = 0;
  #watches = 0;
  #feedErrors = 0;
  #synced = false;
  #lastContact = Number.NEGATIVE_INFINITY;
  #lastByte = 0;
  #lastError: string | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#limits = { ...DEFAULT_REFLECTOR_LIMITS, ...options.limits };
    this.#known = new KnownObjects(options.project, (kind, key, message) => {
      this.#report(kind, message, key);
    });
  }

  status(): ReflectorStatus {
    return {
      synced: this.#synced,
      lastContactMonotonicMillis: this.#lastContact,
      objects: this.#known.size,
      relists: Math.max(0, this.#lists - 1),
      restarts: Math.max(0, this.#watches - 1),
      feedErrors: this.#feedErrors,
      lastError: this.#lastError,
    };
  }

  relist(): Promise<boolean> {
    if (this.#stop.signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.#wake.abort();
    });
  }

  stop(): void {
    this.#stop.abort();
    this.#wake.abort();
  }

  async run(): Promise<void> {
    let ending: Ending = LIST_NOW;
    while (!this.#stop.signal.aborted) {
      // Renewed before the waiters are looked at, so that a relist() from here on is never missed.
      this.#wake = new AbortController();
      const mustList = ending.next === 'list' || this.#waiters.length > 0;
      ending = mustList ? await this.#list() : await this.#watch();
      await this.#pause(ending);
    }
    for (const resolve of this.#waiters.splice(0)) resolve(false);
  }

  async #pause(ending: Ending): Promise<void> {
    this.#statusChanged();
    if (ending.pause === 'none' || this.#stop.signal.aborted) return;
    const { delays } = this.#options;
    this.#wake = new AbortController();
    const backoff = backoffMillis(this.#limits.backoff, this.#attempt, () => delays.random());
    this.#attempt += 1;
    await delays.sleep(Math.max(backoff, ending.atLeastMillis), this.#wake.signal);
  }

  async #list(): Promise<Ending> {
    // Only calls of relist() made before this list began are answered by it.
    const waiters = this.#waiters.splice(0);
    const draft: ListDraft<T> = { entries: new Map() };
    const outcome = await listInPages({
      api: this.#options.api,
      path: this.#options.path,
      query: this.#options.query ?? {},
      // A list slower than the server's compaction would never end; ever larger pages make it end.
      pageSize: this.#limits.pageSize * 4 ** Math.min(this.#expiredLists, 8),
      pageTimeoutMillis: this.#limits.pageTimeoutMillis,
      signal: this.#stop.signal,
      onObject: (raw) => {
        this.#known.addToDraft(draft, raw);
      },
    });
    if (this.#stop.signal.aborted) {
      this.#waiters.push(...waiters);
      return LIST_NOW;
    }
    if (outcome.kind === 'complete' && this.#deliverList(draft, outcome.resourceVersion)) {
      for (const resolve of waiters) resolve(true);
      return WATCH_NOW;
    }
    this.#waiters.unshift(...waiters);
    if (outcome.kind === 'complete') return backOff('list');
    this.#expiredLists = outcome.expired ? this.#expiredLists + 1 : 0;
    this.#report(outcome.expired ? 'expired' : 'list-failed', outcome.message);
    return outcome.expired && this.#expiredLists === 1 ? LIST_NOW : backOff('list', outcome.retryAfterMillis);
  }

  #deliverList(draft: ListDraft<T>, resourceVersion: string): boolean {
    if (isOlderVersion(resourceVersion, this.#resourceVersion)) {
      this.#report('went-backwards', `a list at version ${resourceVersion} after version ${this.#resourceVersion}`);
    }
    const { items, drift } = this.#known.commit(draft);
    this.#resourceVersion = resourceVersion;
    this.#expiredLists = 0;
    this.#fruitless = 0;
    // A feed that could not take the list has no known state, so it is asked again and does not count as synced.
    this.#synced = this.#feed('', () => {
      this.#options.feed.replace(items);
    });
    if (!this.#synced) return false;
    this.#lists += 1;
    this.#lastContact = this.#options.clock.monotonicMillis();
    if (this.#lists > 1) this.#observe(() => this.#options.onDrift?.(drift));
    return true;
  }

  async #watch(): Promise<Ending> {
    const { clock } = this.#options;
    const control = this.#wake;
    const started = clock.monotonicMillis();
    this.#watches += 1;
    this.#lastByte = started;
    const watchdog = this.#abortWhenSilent(control);
    const ending = await this.#readWatch(control.signal);
    const silent = clock.monotonicMillis() - this.#lastByte >= this.#limits.inactivityMillis;
    control.abort();
    await watchdog;
    if (this.#stop.signal.aborted || this.#waiters.length > 0) return WATCH_NOW;
    if (silent) {
      this.#report('watch-silent', `no byte for ${String(this.#limits.inactivityMillis)} ms; reconnecting`);
      this.#silent += 1;
      return this.#silent % this.#limits.silentWatches === 0 ? LIST_NOW : WATCH_NOW;
    }
    const stable = clock.monotonicMillis() - started >= this.#limits.stableMillis;
    if (stable) this.#attempt = 0;
    return stable || (ending.next === 'list' && this.#attempt === 0) ? this.#unpaused(ending) : ending;
  }

  /** After a healthy stream there is no reason to wait, unless the server asked for it. */
  #unpaused(ending: Ending): Ending {
    if (ending.pause === 'backoff' && ending.atLeastMillis > 0) return ending;
    this.#attempt += ending.next === 'list' ? 1 : 0;
    return { next: ending.next, pause: 'none' };
  }

  async #abortWhenSilent(control: AbortController): Promise<void> {
    const { clock, delays } = this.#options;
    while (!control.signal.aborted) {
      const idle = clock.monotonicMillis() - this.#lastByte;
      if (idle >= this.#limits.inactivityMillis) control.abort();
      else await delays.sleep(this.#limits.inactivityMillis - idle, control.signal);
    }
  }

  async #readWatch(signal: AbortSignal): Promise<Ending> {
    const { api, path, query } = this.#options;
    try {
      const stream = await api.stream(path, { ...query, ...this.#watchQuery() }, signal);
      if (stream.kind === 'refused') {
        const { answer } = stream;
        const expired = isExpired(answer.status, answer.body);
        const busy = answer.status === 429 || answer.status >= 500;
        return this.#watchFailed(describeAnswer(answer), { expired, busy, atLeastMillis: retryAfterMillis(answer) });
      }
      this.#heard();
      for await (const line of stream.lines) {
        this.#heard();
        const ending = this.#handleLine(line);
        if (ending !== undefined) return ending;
        if (signal.aborted) break;
      }
      return backOff('watch');
    } catch (error) {
      if (signal.aborted) return WATCH_NOW;
      return this.#watchFailed(messageOf(error), { expired: false, busy: true, atLeastMillis: 0 });
    }
  }

  #watchQuery(): Query {
    const variation = 0.9 + 0.2 * this.#options.delays.random();
    return {
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: this.#resourceVersion,
      timeoutSeconds: Math.round(this.#limits.watchSeconds * variation),
    };
  }

  #heard(): void {
    this.#lastByte = this.#options.clock.monotonicMillis();
    this.#lastContact = this.#lastByte;
  }

  #handleLine(line: string): Ending | undefined {
    const event = parseWatchLine(line);
    if (event.kind === 'error') {
      return this.#watchFailed(event.message, { ...event, busy: false, atLeastMillis: event.retryAfterMillis });
    }
    if (event.kind === 'unreadable') {
      return this.#watchFailed(event.message, { expired: false, busy: false, atLeastMillis: 0 });
    }
    if (event.kind === 'put') this.#deliver(this.#known.put(event.raw));
    if (event.kind === 'drop') this.#deliver(this.#known.drop(event.raw));
    this.#fruitless = 0;
    this.#silent = 0;
    if (!isOlderVersion(event.resourceVersion, this.#resourceVersion)) {
      this.#resourceVersion = event.resourceVersion;
      return undefined;
    }
    this.#report('went-backwards', `watch at version ${event.resourceVersion} after ${this.#resourceVersion}`);
    // A bookmark speaks for the whole collection: this server lives in the past of what was delivered.
    return event.kind === 'bookmark' ? backOff('list') : undefined;
  }

  #watchFailed(message: string, failure: { expired: boolean; busy: boolean; atLeastMillis: number }): Ending {
    this.#report(failure.expired ? 'expired' : 'watch-failed', message);
    if (!failure.busy) this.#fruitless += 1;
    const giveUp = failure.expired || this.#fruitless >= this.#limits.fruitlessWatches;
    return backOff(giveUp ? 'list' : 'watch', failure.atLeastMillis);
  }

  #deliver(changes: readonly Change<T>[]): void {
    const { feed } = this.#options;
    for (const { kind, key, item } of changes) {
      this.#feed(key, () => {
        if (kind === 'upsert') feed.upsert(item);
        else feed.remove(item);
      });
    }
  }

  #feed(key: string, call: () => void): boolean {
    try {
      call();
      return true;
    } catch (error) {
      this.#feedErrors += 1;
      this.#report('feed-threw', messageOf(error), key);
      return false;
    }
  }

  #report(kind: ReflectorProblem['kind'], message: string, key?: string): void {
    const { path, report } = this.#options;
    this.#lastError = `${kind}: ${message}`;
    this.#observe(() => report?.({ kind, path, message, ...(key === undefined || key === '' ? {} : { key }) }));
  }

  #statusChanged(): void {
    this.#observe(() => this.#options.onStatus?.(this.status()));
  }

  // An observer must not be able to stop the loop; its failure shows in the status.
  #observe(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#lastError = `an observer of the reflector threw: ${messageOf(error)}`;
    }
  }
}

function backOff(next: 'list' | 'watch', atLeastMillis: number = 0): Ending {
  return { next, pause: 'backoff', atLeastMillis };
}
