// Faults that tests and demos inject into the embedded API server, and counters of what it was asked.
// Owns the rules only; the server carries them out. Rules are tried in the order they were added.

import type { ResourceName } from './resources.ts';
import type { Route, Verb } from './routes.ts';
import { countedResource } from './routes.ts';

/** What a rule applies to; an absent field matches everything. */
export interface RequestMatcher {
  readonly verb?: Verb;
  /** `pods`, `pods/binding`, `pods/status`, `leases`, `/version`. */
  readonly resource?: string;
  readonly namespace?: string;
  readonly name?: string;
}

export type FaultAction =
  /** Answers with this status and does nothing else. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly message?: string;
      readonly reason?: string;
      readonly retryAfterSeconds?: number;
    }
  /** Cuts the connection; nothing was done. */
  | { readonly kind: 'drop-before' }
  /** Does the work, then cuts the connection: the reply is lost. */
  | { readonly kind: 'drop-after' }
  /** Does the work once `until` resolves, even if the client has given up by then. */
  | { readonly kind: 'delay-before'; readonly until: Promise<unknown> }
  /** Does the work at once and replies once `until` resolves. */
  | { readonly kind: 'delay-after'; readonly until: Promise<unknown> }
  /** Opens a watch that stays silent for ever; other requests are never answered and nothing is done. */
  | { readonly kind: 'freeze' };

export interface FaultRule {
  /** Requests that the rule was applied to. */
  readonly hits: number;
  remove(): void;
}

/** What the server does to its open watches and its history on behalf of a test. */
export interface Disturbance {
  /** No more bytes, no close: half-open connections. */
  freezeWatches(resource: ResourceName | undefined): void;
  /** Ends watches in order (`end`) or in mid-air (`cut`). */
  closeWatches(resource: ResourceName | undefined, how: 'end' | 'cut'): void;
  compactHistory(): void;
}

interface Rule {
  readonly matcher: RequestMatcher;
  readonly action: FaultAction;
  remaining: number;
  hits: number;
}

export class Faults {
  readonly #rules: Rule[] = [];
  readonly #disturbance: Disturbance;

  constructor(disturbance: Disturbance) {
    this.#disturbance = disturbance;
  }

  /** Applies `action` to the next `times` requests that match. */
  inject(matcher: RequestMatcher, action: FaultAction, times: number = Number.POSITIVE_INFINITY): FaultRule {
    const rule: Rule = { matcher, action, remaining: times, hits: 0 };
    this.#rules.push(rule);
    return {
      get hits(): number {
        return rule.hits;
      },
      remove(): void {
        rule.remaining = 0;
      },
    };
  }

  clear(): void {
    this.#rules.length = 0;
  }

  freezeWatches(resource?: ResourceName): void {
    this.#disturbance.freezeWatches(resource);
  }

  closeWatches(resource?: ResourceName, how: 'end' | 'cut' = 'cut'): void {
    this.#disturbance.closeWatches(resource, how);
  }

  /** Forgets the history: a watch or continue token from before now gets 410. Watches that are up to date go on. */
  compactHistory(): void {
    this.#disturbance.compactHistory();
  }

  /** The action for a request, counting it as a hit. */
  take(route: Route): FaultAction | undefined {
    const rule = this.#rules.find((candidate) => candidate.remaining > 0 && matches(candidate.matcher, route));
    if (rule === undefined) return undefined;
    rule.remaining--;
    rule.hits++;
    return rule.action;
  }
}

export function verbOfRoute(route: Route): Verb {
  return route.kind === 'plain' ? 'get' : route.verb;
}

function matches(matcher: RequestMatcher, route: Route): boolean {
  if (matcher.verb !== undefined && matcher.verb !== verbOfRoute(route)) return false;
  if (matcher.resource !== undefined && matcher.resource !== countedResource(route)) return false;
  const { namespace, name } = route.kind === 'plain' ? { namespace: undefined, name: '' } : route;
  if (matcher.namespace !== undefined && matcher.namespace !== namespace) return false;
  return matcher.name === undefined || matcher.name === name;
}

/** Requests received since the start or the last reset, faulty ones included. */
export class RequestCounter {
  readonly #counts = new Map<string, number>();

  add(route: Route): void {
    const key = `${verbOfRoute(route)} ${countedResource(route)}`;
    this.#counts.set(key, this.count(verbOfRoute(route), countedResource(route)) + 1);
  }

  count(verb: Verb, resource: string): number {
    return this.#counts.get(`${verb} ${resource}`) ?? 0;
  }

  /** All requests that may change something, on any resource. */
  writes(): number {
    let total = 0;
    for (const [key, count] of this.#counts) if (/^(create|update|patch|delete) /.test(key)) total += count;
    return total;
  }

  /** `verb resource` → count, for messages and reports. */
  all(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  reset(): void {
    this.#counts.clear();
  }
}
