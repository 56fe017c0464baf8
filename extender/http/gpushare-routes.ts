// The routes of the gpushare extender, status codes and all, so that a scheduler configuration written for it works as is.
// Filter answers 200 whatever happens, bind answers 500 on failure. The decisions are the same as on the /v1 routes.

import { performance } from 'node:perf_hooks';
import type { ExtenderArgs, ExtenderFilterResult } from '../app/extender-api.ts';
import type { HostArgs } from '../app/host-bytes.ts';
import { JudgedHosts } from '../app/judged-hosts.ts';
import { filterError } from './guarded-verbs.ts';
import type { GuardedVerbs } from './guarded-verbs.ts';
import { sendJson } from './listener.ts';
import type { Reply, Request, WebInstance } from './listener.ts';
import type { GpushareInspect, OpsSurface } from './surface.ts';

const MISSING_BODY = 'Please send a request body';

export function addGpushareRoutes(app: WebInstance, guarded: GuardedVerbs, inspect: OpsSurface['inspect']): void {
  app.post('/gpushare-scheduler/filter', (request: Request, reply: Reply) => {
    const startedMillis = performance.now();
    const parsed = guarded.args(request.body);
    if (parsed.kind === 'missing') return sendPlain(reply, 400, MISSING_BODY);
    const body = parsed.kind === 'invalid' ? filterError(parsed.message) : filterAsGpushare(guarded, parsed.args);
    const failed = !(body instanceof JudgedHosts) && body.Error !== '';
    return guarded.send(reply, { verb: 'filter', startedMillis, status: 200, failed, body });
  });
  app.post('/gpushare-scheduler/bind', async (request: Request, reply: Reply) => {
    const startedMillis = performance.now();
    const parsed = guarded.bindingArgs(request.body);
    if (parsed.kind === 'missing') {
      sendPlain(reply, 400, MISSING_BODY);
      return reply;
    }
    const error = parsed.kind === 'invalid' ? parsed.message : await guarded.bind(parsed.args);
    const failed = error !== '';
    guarded.send(reply, { verb: 'bind', startedMillis, status: failed ? 500 : 200, failed, body: { Error: error } });
    return reply;
  });
  addInspectRoutes(app, '/gpushare-scheduler/inspect', inspect);
}

/** The inspect document for all nodes and for one. Mounted on both listeners. */
export function addInspectRoutes(app: WebInstance, path: string, inspect: OpsSurface['inspect']): void {
  const answer = (reply: Reply, nodeName: string | undefined): void => {
    const found = inspect(nodeName);
    if (found !== undefined) return sendJson(reply, 200, JSON.stringify(found));
    const unknown: GpushareInspect = {
      nodes: [],
      error: `node ${nodeName ?? ''} is not known as a GPU node; GET ${path} lists the known ones`,
    };
    return sendJson(reply, 404, JSON.stringify(unknown));
  };
  app.get(path, (_request: Request, reply: Reply) => answer(reply, undefined));
  app.get<{ Params: { nodename: string } }>(`${path}/:nodename`, (request, reply) => {
    answer(reply, request.params.nodename);
  });
}

function filterAsGpushare(guarded: GuardedVerbs, args: ExtenderArgs | HostArgs): ExtenderFilterResult | JudgedHosts {
  if (!args.Pod) return filterError('arg or pod is nil');
  if ('Hosts' in args) return guarded.filterHosts(args);
  if (!args.NodeNames && !args.Nodes) return filterError('cannot get node names');
  const result = guarded.filter(args);
  if (result.Error !== '') return result;
  // gpushare's callers read either form, so both are filled as far as the request allows.
  const names = result.NodeNames ?? (result.Nodes?.items ?? []).map((node) => node.metadata?.name ?? '');
  if (!args.Nodes || result.Nodes !== null) return { ...result, NodeNames: names };
  const fitting = new Set(names);
  const items = (args.Nodes.items ?? []).filter((node) => fitting.has(node.metadata?.name ?? ''));
  return { ...result, NodeNames: names, Nodes: { items } };
}

function sendPlain(reply: Reply, status: number, text: string): void {
  void reply.code(status).type('text/plain; charset=utf-8').send(text);
}
