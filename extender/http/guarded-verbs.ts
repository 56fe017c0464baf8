// The verbs with their guards, shared by our own routes and the gpushare routes: decode and check what comes in, check and
// encode what goes out, measure. Nothing here throws, and nothing here chooses a status code.

import { performance } from 'node:perf_hooks';
import type { ExtenderArgs, ExtenderBindingArgs, ExtenderFilterResult } from '../app/extender-api.ts';
import type { Logger } from '../logging.ts';
import { decodeJson, messageOf } from './json-body.ts';
import { sendJson } from './listener.ts';
import type { Reply } from './listener.ts';
import type { VerbSurface } from './surface.ts';
import { createWireParsers, filterAnswerFault } from './wire.ts';
import type { Parsed } from './wire.ts';

export type VerbName = 'filter' | 'prioritize' | 'bind';

export interface VerbObserver {
  /** `failed`: the caller got an error instead of a decision. Seconds exclude the transfer of the body. */
  verbAnswered(verb: VerbName, seconds: number, failed: boolean): void;
  connectionRefused(reason: 'capacity' | 'tls' | 'client-name'): void;
}

/** The verbs with their guards. No method throws. */
export interface GuardedVerbs {
  extenderArgs(body: unknown): Parsed<ExtenderArgs> | { readonly kind: 'missing' };
  bindingArgs(body: unknown): Parsed<ExtenderBindingArgs> | { readonly kind: 'missing' };
  filter(args: ExtenderArgs): ExtenderFilterResult;
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
  return {
    extenderArgs: (body) => decode(body, (value) => wire.extenderArgs(value)),
    bindingArgs: (body) => decode(body, (value) => wire.bindingArgs(value)),
    filter: (args) => {
      try {
        const result = verbs.filter(args);
        const fault = filterAnswerFault(args, result);
        if (fault === undefined) return result;
        log.error('An answer was withheld', { verb: 'filter', detail: fault });
        return filterError(`internal error: ${fault}`);
      } catch (error) {
        log.error('A verb failed unexpectedly', { verb: 'filter', error });
        return filterError(`internal error: ${messageOf(error)}`);
      }
    },
    bind: async (args) => {
      try {
        return (await verbs.bind(args)).Error;
      } catch (error) {
        log.error('A verb failed unexpectedly', { verb: 'bind', error });
        return `internal error: ${messageOf(error)}`;
      }
    },
    send: (reply, { verb, startedMillis, status, failed, body }) => {
      const encoded = encode(body, verb, log);
      // Who is told nothing but errors connects anew, and a Service may then lead to the replica that can answer. An open
      // connection stays with this one, and kube-scheduler keeps connections for as long as it uses them.
      if (failed || encoded === undefined) void reply.header('connection', 'close');
      sendJson(reply, status, encoded ?? '{"Error":"internal error: the answer could not be encoded"}');
      observer.verbAnswered(verb, (performance.now() - startedMillis) / 1000, failed || encoded === undefined);
    },
  };
}

function decode<T>(body: unknown, parse: (value: unknown) => Parsed<T>): Parsed<T> | { readonly kind: 'missing' } {
  const decoded = decodeJson(body);
  if (decoded.kind === 'missing') return decoded;
  return decoded.kind === 'value' ? parse(decoded.value) : { kind: 'invalid', message: decoded.message };
}

/** Echoed Node objects are the caller's: nested deeply enough they exhaust the encoder's stack. */
function encode(body: unknown, verb: VerbName, log: Logger): string | undefined {
  try {
    return JSON.stringify(body);
  } catch (error) {
    log.error('An answer could not be encoded', { verb, error: messageOf(error) });
    return undefined;
  }
}

export function filterError(message: string): ExtenderFilterResult {
  return { Nodes: null, NodeNames: null, FailedNodes: {}, FailedAndUnresolvableNodes: {}, Error: message };
}
