// The verbs with their guards, shared by our own routes and the gpushare routes: decode and check what comes in, check and
// encode what goes out, measure. Nothing here throws, and nothing here chooses a status code.

import { performance } from 'node:perf_hooks';
import type { ExtenderArgs, ExtenderBindingArgs, ExtenderFilterResult, HostPriority } from '../app/extender-api.ts';
import type { HostArgs, HostBytes } from '../app/host-bytes.ts';
import { JudgedHosts, ScoredHosts } from '../app/judged-hosts.ts';
import type { Logger } from '../logging.ts';
import { writeFilterResult, writePriorities } from './host-answer.ts';
import { createHostReader } from './host-request.ts';
import { decodeJson, messageOf } from './json-body.ts';
import { sendJson } from './listener.ts';
import type { Reply } from './listener.ts';
import { Page, Pages } from './page.ts';
import type { VerbSurface } from './surface.ts';
import { createWireParsers, filterAnswerFault, priorityAnswerFault, requestedHosts, scoresFault } from './wire.ts';
import type { Parsed } from './wire.ts';

export type VerbName = 'filter' | 'prioritize' | 'bind';

export interface VerbObserver {
  /** `failed`: the caller got an error instead of a decision. Seconds exclude the transfer of the body. */
  verbAnswered(verb: VerbName, seconds: number, failed: boolean): void;
  connectionRefused(reason: 'capacity' | 'tls' | 'client-name'): void;
}

/** The verbs with their guards. No method throws. */
export interface GuardedVerbs {
  /** Names stay bytes where the application takes them so and the body allows it. */
  args(body: unknown): Parsed<ExtenderArgs | HostArgs> | { readonly kind: 'missing' };
  bindingArgs(body: unknown): Parsed<ExtenderBindingArgs> | { readonly kind: 'missing' };
  filter(args: ExtenderArgs): ExtenderFilterResult;
  filterHosts(args: HostArgs): ExtenderFilterResult | JudgedHosts;
  /** A text says why there is no list to send. */
  prioritize(args: ExtenderArgs | HostArgs): readonly HostPriority[] | ScoredHosts | string;
  bind(args: ExtenderBindingArgs): Promise<string>;
  /** Encodes and sends, and records how long the verb took since `startedMillis`. */
  send(reply: Reply, sent: Answer): void;
}

export interface Answer {
  readonly verb: VerbName;
  readonly startedMillis: number;
  readonly status: number;
  readonly failed: boolean;
  readonly body: unknown;
}

export function createGuardedVerbs(verbs: VerbSurface, observer: VerbObserver, log: Logger): GuardedVerbs {
  const wire = createWireParsers();
  const { inBytes } = verbs;
  const pages = new Pages();
  const readHosts = inBytes === undefined ? undefined : createHostReader();
  const extenderArgs = (body: unknown): Parsed<ExtenderArgs> | { readonly kind: 'missing' } =>
    decode(body, (value) => wire.extenderArgs(value));
  return {
    args: (body) => {
      const parts = readHosts?.(body);
      if (parts === undefined) return extenderArgs(body);
      const head = extenderArgs(parts.head);
      // Whole nodes beside the names are rare, and gpushare's answer holds both.
      return head.kind === 'args' && head.args.Nodes ? extenderArgs(body) : withHosts(head, parts.hosts);
    },
    bindingArgs: (body) => decode(body, (value) => wire.bindingArgs(value)),
    filter: (args) =>
      guardFilter(log, () => {
        const result = verbs.filter(args);
        const fault = filterAnswerFault(args, result);
        if (fault === undefined) return result;
        log.error('An answer was withheld', { verb: 'filter', detail: fault });
        return filterError(`internal error: ${fault}`);
      }),
    filterHosts: (args) => guardFilter(log, () => inBytes?.filter(args) ?? filterError(NOT_IN_BYTES)),
    prioritize: (args) => guardPrioritize(verbs, args, log),
    bind: async (args) => {
      try {
        return (await verbs.bind(args)).Error;
      } catch (error) {
        log.error('A verb failed unexpectedly', { verb: 'bind', error });
        return `internal error: ${messageOf(error)}`;
      }
    },
    send: (reply, { verb, startedMillis, status, failed, body }) => {
      const encoded = encode(body, verb, pages, log);
      // Who is told nothing but errors connects anew, and a Service may then lead to the replica that can answer. An open
      // connection stays with this one, and kube-scheduler keeps connections for as long as it uses them.
      if (failed || encoded === undefined) void reply.header('connection', 'close');
      if (encoded instanceof Page) {
        // A connection that breaks off never finishes; its page is left to the garbage collector.
        reply.raw.once('finish', () => pages.giveBack(encoded));
        sendJson(reply, status, encoded.content());
      } else sendJson(reply, status, encoded ?? '{"Error":"internal error: the answer could not be encoded"}');
      observer.verbAnswered(verb, (performance.now() - startedMillis) / 1000, failed || encoded === undefined);
    },
  };
}

const NOT_IN_BYTES = 'internal error: this application takes no names in bytes';

function withHosts(
  head: Parsed<ExtenderArgs> | { readonly kind: 'missing' },
  Hosts: HostBytes,
): Parsed<HostArgs> | { readonly kind: 'missing' } {
  return head.kind === 'args' ? { kind: 'args', args: { Pod: head.args.Pod ?? null, Hosts } } : head;
}

function guardFilter<Answer>(log: Logger, answer: () => Answer): Answer | ExtenderFilterResult {
  try {
    return answer();
  } catch (error) {
    log.error('A verb failed unexpectedly', { verb: 'filter', error });
    return filterError(`internal error: ${messageOf(error)}`);
  }
}

/**
 * A bare list has no place for an error text, so a refusal is told by the status. kube-scheduler ignores a failed
 * prioritize, exactly as it would ignore equal scores, but a person sees why.
 */
function guardPrioritize(
  verbs: VerbSurface,
  args: ExtenderArgs | HostArgs,
  log: Logger,
): readonly HostPriority[] | ScoredHosts | string {
  try {
    const scored = 'Hosts' in args ? (verbs.inBytes?.prioritize(args) ?? []) : verbs.prioritize(args);
    const fault =
      scored instanceof ScoredHosts
        ? scoresFault(scored)
        : priorityAnswerFault('Hosts' in args ? [] : requestedHosts(args), scored);
    if (fault === undefined) return scored;
    log.error('An answer was withheld', { verb: 'prioritize', detail: fault });
    return `internal error: ${fault}`;
  } catch (error) {
    log.warn('Prioritize was refused', { verb: 'prioritize', error: messageOf(error) });
    return messageOf(error);
  }
}

function decode<T>(body: unknown, parse: (value: unknown) => Parsed<T>): Parsed<T> | { readonly kind: 'missing' } {
  const decoded = decodeJson(body);
  if (decoded.kind === 'missing') return decoded;
  return decoded.kind === 'value' ? parse(decoded.value) : { kind: 'invalid', message: decoded.message };
}

/** Echoed Node objects are the caller's: nested deeply enough they exhaust the encoder's stack. */
function encode(body: unknown, verb: VerbName, pages: Pages, log: Logger): string | Page | undefined {
  try {
    if (body instanceof JudgedHosts && body.candidates.hosts !== undefined) {
      const page = pages.take();
      writeFilterResult(page, body, body.candidates.hosts);
      return page;
    }
    if (body instanceof ScoredHosts && body.candidates.hosts !== undefined) {
      const page = pages.take();
      writePriorities(page, body, body.candidates.hosts);
      return page;
    }
    return JSON.stringify(body);
  } catch (error) {
    log.error('An answer could not be encoded', { verb, error: messageOf(error) });
    return undefined;
  }
}

export function filterError(message: string): ExtenderFilterResult {
  return { Nodes: null, NodeNames: null, FailedNodes: {}, FailedAndUnresolvableNodes: {}, Error: message };
}
