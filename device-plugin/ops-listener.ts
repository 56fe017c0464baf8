// The agent's listener for probes, people, Prometheus and the extender: /healthz, /readyz, /metrics, /report. Read-only,
// over node:http alone, because the agent must stay small.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { http } from './node-http.ts';

export interface OpsViews {
  /** What keeps the agent from its work at the moment; undefined while it is ready. */
  readonly notReady: () => string | undefined;
  readonly metrics: () => readonly MetricFamily[];
  readonly report: () => Promise<unknown>;
}

export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'gauge' | 'counter';
  readonly samples: readonly (readonly [labels: Readonly<Record<string, string>>, value: number])[];
}

export interface OpsListener {
  readonly address: { readonly host: string; readonly port: number };
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 32;
const TIMEOUT_MILLIS = 5000;

export async function startOpsListener(
  at: { readonly host: string; readonly port: number },
  views: OpsViews,
): Promise<OpsListener> {
  const server = http.createServer(
    { requestTimeout: TIMEOUT_MILLIS, headersTimeout: TIMEOUT_MILLIS },
    (request, response) => {
      answer(request, response, views).catch((error: unknown) => {
        send(response, 500, 'text/plain', `${error instanceof Error ? error.message : String(error)}\n`);
      });
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(at.port, at.host, resolve);
  });
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : at.port;
  return {
    address: { host: at.host, port },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, views: OpsViews): Promise<void> {
  if (request.method !== 'GET') {
    send(response, 405, 'text/plain', 'only GET is answered\n');
    return;
  }
  const [path = ''] = (request.url ?? '/').split('?', 1);
  switch (path) {
    case '/healthz':
      send(response, 200, 'text/plain', 'ok\n');
      return;
    case '/readyz': {
      const why = views.notReady();
      send(
        response,
        why === undefined ? 200 : 503,
        'application/json',
        `${JSON.stringify({ ready: why === undefined, detail: why ?? 'ready' })}\n`,
      );
      return;
    }
    case '/metrics':
      send(response, 200, 'text/plain; version=0.0.4; charset=utf-8', renderMetrics(views.metrics()));
      return;
    case '/report':
      send(response, 200, 'application/json', `${JSON.stringify(await views.report())}\n`);
      return;
    default:
      send(response, 404, 'text/plain', 'there are /healthz, /readyz, /metrics and /report\n');
  }
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

/** Prometheus text exposition, version 0.0.4. */
export function renderMetrics(families: readonly MetricFamily[]): string {
  const lines = families.flatMap(({ name, help, type, samples }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(([labels, value]) => `${name}${renderLabels(labels)} ${value}`),
  ]);
  return `${lines.join('\n')}\n`;
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(
    ([key, value]) => `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  );
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}
