// The two listeners, joined to the application: verbs for kube-scheduler, views and probes for people and machines.
// Creates them only; whoever asked for them opens and closes them.

import type { Readiness } from './app/readiness.ts';
import type { Assembly } from './assembly.ts';
import type { ExtenderConfig } from './config.ts';
import { renderExplanation, type Explanation } from './core/explain.ts';
import type { Listener, ListenAddress } from './http/listener.ts';
import { createOpsServer } from './http/ops-server.ts';
import type { ServingTls } from './http/tls.ts';
import { createVerbsServer } from './http/verbs-server.ts';
import type { Logger } from './logging.ts';

const MIB = 2 ** 20;
const BODIES_AT_ONCE = 4;

export interface ListenerParts extends Pick<Assembly, 'app' | 'metrics'> {
  readonly config: ExtenderConfig;
  readonly tls: ServingTls | undefined;
  readonly readiness: Readiness;
  readonly version: string;
  readonly log: Logger;
}

export function verbsListener({ app, metrics, config, tls, version, log }: ListenerParts): Listener {
  return createVerbsServer({
    verbs: app,
    inspect: (nodeName) => app.inspect(nodeName),
    version,
    log,
    limits: {
      bodyLimitBytes: config.bodyLimitMiB * MIB,
      bodyBudgetBytes: BODIES_AT_ONCE * config.bodyLimitMiB * MIB,
    },
    ...(tls === undefined ? {} : { tls }),
    observer: {
      verbAnswered: (verb, seconds, failed) => {
        metrics.observeVerb(verb, seconds);
        if (failed) metrics.countVerbError(verb);
      },
      connectionRefused: (reason) => metrics.countRefusedConnection(reason),
    },
  });
}

export function opsListener({ app, metrics, readiness, log }: ListenerParts): Listener {
  return createOpsServer({
    ops: {
      health: () => ({ live: true, detail: 'running' }),
      readiness: () => readiness.report(),
      explain: (pod) => app.explain(pod),
      snapshot: () => app.snapshot(),
      inspect: (nodeName) => app.inspect(nodeName),
    },
    metrics,
    renderText: (explanation) => (isExplanation(explanation) ? renderExplanation(explanation) : undefined),
    log,
  });
}

export function urlOf(scheme: 'http' | 'https', { host, port }: ListenAddress): string {
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function isExplanation(value: unknown): value is Explanation {
  return typeof value === 'object' && value !== null && 'nodes' in value && 'asks' in value;
}
