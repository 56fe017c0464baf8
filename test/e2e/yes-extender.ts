// A scheduler extender that agrees with everything: the least an extender can cost, as a yardstick for benchmarks.
// filter answers all names it was sent, or the first K with `--narrow K`; prioritize gives 0; bind posts the Binding.
// Run: node test/e2e/yes-extender.ts --kubeconfig FILE --listen 127.0.0.1:PORT [--narrow K]

import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';

import type {
  ExtenderArgs,
  ExtenderBindingArgs,
  ExtenderBindingResult,
  ExtenderFilterResult,
  HostPriority,
} from '../../extender/app/extender-api.ts';

import { ApiClient } from './api.ts';
import { podsPath } from './cluster.ts';
import { readKubeconfig } from './kubeconfig.ts';

const { values } = parseArgs({
  options: {
    kubeconfig: { type: 'string' },
    listen: { type: 'string' },
    narrow: { type: 'string', default: '0' },
  },
});
if (values.kubeconfig === undefined || values.listen === undefined) throw new Error('needs --kubeconfig and --listen');
const { hostname, port } = new URL(`http://${values.listen}`);
const narrow = Number(values.narrow);
const api = new ApiClient(await readKubeconfig(values.kubeconfig));

function filter({ NodeNames }: ExtenderArgs): ExtenderFilterResult {
  const names = NodeNames ?? [];
  return {
    Nodes: null,
    NodeNames: narrow > 0 ? names.slice(0, narrow) : names,
    FailedNodes: {},
    FailedAndUnresolvableNodes: {},
    Error: '',
  };
}

function prioritize({ NodeNames }: ExtenderArgs): readonly HostPriority[] {
  return (NodeNames ?? []).map((Host) => ({ Host, Score: 0 }));
}

async function bind(order: ExtenderBindingArgs): Promise<ExtenderBindingResult> {
  const { PodName = '', PodNamespace = '', PodUID = '', Node = '' } = order;
  try {
    await api.create(`${podsPath(PodNamespace)}/${PodName}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: PodName, uid: PodUID },
      target: { apiVersion: 'v1', kind: 'Node', name: Node },
    });
    return { Error: '' };
  } catch (cause) {
    return { Error: String(cause) };
  }
}

async function answer(incoming: IncomingMessage): Promise<unknown> {
  if (incoming.url === '/healthz') return 'ok';
  const body: unknown = JSON.parse(await text(incoming));
  if (incoming.url === '/filter') return filter(body as ExtenderArgs);
  if (incoming.url === '/prioritize') return prioritize(body as ExtenderArgs);
  if (incoming.url === '/bind') return await bind(body as ExtenderBindingArgs);
  throw new Error(`no route ${String(incoming.url)}`);
}

createServer((incoming, outgoing) => {
  answer(incoming).then(
    (result) => outgoing.setHeader('content-type', 'application/json').end(JSON.stringify(result)),
    (cause: unknown) => outgoing.writeHead(500).end(String(cause)),
  );
}).listen(Number(port), hostname);
