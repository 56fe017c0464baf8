// The listener that kube-scheduler calls: decode, check, hand over, check the answer, encode.
// A refusal by the application is an answer (200 with `Error`); 4xx is kept for a caller that breaks the protocol.
// Filter and prioritize run to completion inside one turn of the event loop.

import { performance } from 'node:perf_hooks';
import { JudgedHosts } from '../app/judged-hosts.ts';
import type { Logger } from '../logging.ts';
import { addGpushareRoutes } from './gpushare-routes.ts';
import { createGuardedVerbs } from './guarded-verbs.ts';
import type { Answer, GuardedVerbs, VerbObserver } from './guarded-verbs.ts';
import { createListener, sendJson } from './listener.ts';
import type { Listener, ListenerLimits, Reply, Request, WebInstance } from './listener.ts';
import type { OpsSurface, VerbSurface } from './surface.ts';
import type { ServingTls } from './tls.ts';

export interface VerbsServerOptions {
  readonly verbs: VerbSurface;
  readonly inspect: OpsSurface['inspect'];
  /** Text of `GET /version`. */
  readonly version: string;
  readonly observer: VerbObserver;
  readonly log: Logger;
  readonly limits?: Partial<ListenerLimits>;
  readonly tls?: ServingTls;
}

export function createVerbsServer(options: VerbsServerOptions): Listener {
  const { observer, tls } = options;
  const listener = createListener({
    name: 'verbs',
    errorKey: 'Error',
    log: options.log,
    onRefused: (reason) => observer.connectionRefused(reason),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    ...(tls === undefined ? {} : { tls }),
  });
  if (tls?.pinned === true) refuseOtherClients(listener.app, tls, observer);
  const guarded = createGuardedVerbs(options.verbs, observer, options.log);
  addOwnRoutes(listener.app, guarded);
  addGpushareRoutes(listener.app, guarded, options.inspect);
  listener.app.get('/version', (_request, reply) => {
    void reply.type('text/plain; charset=utf-8').send(options.version);
  });
  return listener;
}

function refuseOtherClients(app: WebInstance, tls: ServingTls, observer: VerbObserver): void {
  // onRequest runs on the headers alone: a stranger's body is never read.
  app.addHook('onRequest', (request, reply, done) => {
    if (tls.allows(request.raw.socket)) {
      done();
      return;
    }
    observer.connectionRefused('client-name');
    const text = 'the client certificate carries none of the names allowed by --client-name';
    void reply.header('connection', 'close');
    sendJson(reply, 403, JSON.stringify({ Error: text }));
  });
}

const MISSING_BODY = 'the request has no body; POST the JSON of the extender v1 protocol';

function addOwnRoutes(app: WebInstance, guarded: GuardedVerbs): void {
  app.post('/v1/filter', (request: Request, reply: Reply) => {
    const call = { verb: 'filter', startedMillis: performance.now() } as const;
    const parsed = guarded.args(request.body);
    if (parsed.kind !== 'args') return refuse(guarded, reply, call, parsed);
    const body = 'Hosts' in parsed.args ? guarded.filterHosts(parsed.args) : guarded.filter(parsed.args);
    const failed = !(body instanceof JudgedHosts) && body.Error !== '';
    return guarded.send(reply, { ...call, status: 200, failed, body });
  });
  app.post('/v1/prioritize', (request: Request, reply: Reply) => {
    const call = { verb: 'prioritize', startedMillis: performance.now() } as const;
    const parsed = guarded.args(request.body);
    if (parsed.kind !== 'args') return refuse(guarded, reply, call, parsed);
    const scored = guarded.prioritize(parsed.args);
    if (typeof scored === 'string') {
      return guarded.send(reply, { ...call, status: 503, failed: true, body: { Error: scored } });
    }
    return guarded.send(reply, { ...call, status: 200, failed: false, body: scored });
  });
  app.post('/v1/bind', async (request: Request, reply: Reply) => {
    const call = { verb: 'bind', startedMillis: performance.now() } as const;
    const parsed = guarded.bindingArgs(request.body);
    if (parsed.kind !== 'args') {
      refuse(guarded, reply, call, parsed);
      return reply;
    }
    const error = await guarded.bind(parsed.args);
    guarded.send(reply, { ...call, status: 200, failed: error !== '', body: { Error: error } });
    return reply;
  });
}

function refuse(
  guarded: GuardedVerbs,
  reply: Reply,
  call: Pick<Answer, 'verb' | 'startedMillis'>,
  parsed: { readonly kind: 'missing' } | { readonly kind: 'invalid'; readonly message: string },
): void {
  const Error = parsed.kind === 'missing' ? MISSING_BODY : parsed.message;
  guarded.send(reply, { ...call, status: 400, failed: true, body: { Error } });
}
