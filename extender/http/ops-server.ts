// The listener for people, probes and Prometheus: health, readiness, metrics, explanations, snapshot, inspect.
// Read-only by construction: it has no route that changes anything, and it never takes a body.

import type { Logger } from '../logging.ts';
import { addInspectRoutes } from './gpushare-routes.ts';
import { createListener, sendJson } from './listener.ts';
import type { Listener, ListenerLimits, Reply, Request, WebInstance } from './listener.ts';
import type { OpsSurface } from './surface.ts';

export interface OpsServerOptions {
  readonly ops: OpsSurface;
  readonly metrics: { readonly contentType: string; render(): Promise<string> };
  /** Turns an explanation into text for `&format=text`; `undefined` when it does not know the shape. */
  readonly renderText?: (explanation: unknown) => string | undefined;
  readonly log: Logger;
  readonly limits?: Partial<ListenerLimits>;
}

const OPS_BODY_LIMIT_BYTES = 16 * 1024;
const TEXT = 'text/plain; charset=utf-8';
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

export function createOpsServer(options: OpsServerOptions): Listener {
  const listener = createListener({
    name: 'ops',
    errorKey: 'error',
    log: options.log,
    limits: { bodyLimitBytes: OPS_BODY_LIMIT_BYTES, bodyBudgetBytes: 64 * OPS_BODY_LIMIT_BYTES, ...options.limits },
  });
  addProbeRoutes(listener.app, options);
  addExplainRoute(listener.app, options);
  listener.app.get('/snapshot', (_request: Request, reply: Reply) => {
    void reply.header('content-disposition', 'attachment; filename="gpuloom-snapshot.json"');
    sendJson(reply, 200, JSON.stringify(options.ops.snapshot() ?? null));
  });
  addInspectRoutes(listener.app, '/inspect', (nodeName) => options.ops.inspect(nodeName));
  return listener;
}

function addProbeRoutes(app: WebInstance, { ops, metrics }: OpsServerOptions): void {
  app.get('/healthz', (_request: Request, reply: Reply) => {
    const health = ops.health();
    sendJson(reply, health.live ? 200 : 503, JSON.stringify(health));
  });
  // Without a query: whether this replica answers, for whatever chooses the replica to call. With standby=ok: whether it
  // is well, leading or not, for whatever replaces and evicts replicas.
  app.get('/readyz', (request: Request, reply: Reply) => {
    const standby: unknown = new Map(fieldsOf(request.query)).get('standby');
    if (standby !== undefined && standby !== 'ok') {
      return sendJson(reply, 400, JSON.stringify({ error: 'standby must be ok, as in /readyz?standby=ok' }));
    }
    const readiness = ops.readiness();
    const passes = standby === 'ok' ? readiness.warm : readiness.ready;
    sendJson(reply, passes ? 200 : 503, JSON.stringify(readiness));
  });
  app.get('/metrics', async (_request: Request, reply: Reply) => {
    const text = await metrics.render();
    return reply.type(metrics.contentType).send(text);
  });
}

function addExplainRoute(app: WebInstance, { ops, renderText }: OpsServerOptions): void {
  app.get('/explain', (request: Request, reply: Reply) => {
    const query = parseExplainQuery(request.query);
    if (typeof query === 'string') return sendJson(reply, 400, JSON.stringify({ error: query }));
    const explanation = ops.explain({ namespace: query.namespace, name: query.name });
    if (explanation === undefined) {
      const error =
        `no decision about pod ${query.namespace}/${query.name} is remembered: check the spelling, and that the pod ` +
        'asks for GPU memory and was offered to this replica (only the leader decides)';
      return sendJson(reply, 404, JSON.stringify({ error }));
    }
    if (query.format === 'json') return sendJson(reply, 200, JSON.stringify(explanation));
    const text = renderText?.(explanation) ?? JSON.stringify(explanation, null, 2);
    void reply.type(TEXT).send(text.endsWith('\n') ? text : `${text}\n`);
  });
}

function fieldsOf(query: unknown): readonly (readonly [name: string, value: unknown])[] {
  return typeof query === 'object' && query !== null ? Object.entries(query) : [];
}

interface ExplainQuery {
  readonly namespace: string;
  readonly name: string;
  readonly format: 'json' | 'text';
}

const EXAMPLE = 'for example /explain?pod=default/trainer-0&format=text';

/** The query, or a text that says what is wrong with it. */
function parseExplainQuery(query: unknown): ExplainQuery | string {
  const fields = new Map(fieldsOf(query));
  const pod = fields.get('pod');
  const format = fields.get('format') ?? 'json';
  for (const key of fields.keys()) {
    if (key !== 'pod' && key !== 'format')
      return `unknown query parameter ${key.slice(0, 50)}; use pod and format, ${EXAMPLE}`;
  }
  if (format !== 'json' && format !== 'text') return `format must be json or text, ${EXAMPLE}`;
  if (typeof pod !== 'string') return `give one pod as namespace/name, ${EXAMPLE}`;
  const [namespace, name, ...rest] = pod.split('/');
  if (namespace === undefined || name === undefined || rest.length > 0 || !NAME.test(namespace) || !NAME.test(name)) {
    return `pod must be namespace/name in Kubernetes spelling, ${EXAMPLE}`;
  }
  return { namespace, name, format };
}
