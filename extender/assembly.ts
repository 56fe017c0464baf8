// The application with what it calls and what watches over it: binder, pod reader, audit and metrics.
// Decides nothing; what does not exist yet (the feeds) is reached through functions.

import { createApplication, type Application } from './app/application.ts';
import { Audit } from './app/audit.ts';
import type { Clock } from './app/ports.ts';
import type { Readiness } from './app/readiness.ts';
import type { ExtenderConfig } from './config.ts';
import { PROFILES } from './core/resources.ts';
import type { ServingTls } from './http/tls.ts';
import { createBinder } from './kube/binder.ts';
import type { KubeEventSink } from './kube/events.ts';
import type { KubeApi } from './kube/kube-api.ts';
import { createPodReader } from './kube/pod-reader.ts';
import type { Logger } from './logging.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { gpuUsages, reservationCounts } from './metric-sources.ts';
import { createShapeCache } from './shape-cache.ts';

const AUDIT_NODES = 50;

export interface AssemblyParts {
  readonly config: ExtenderConfig;
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly events: KubeEventSink;
  readonly tls: ServingTls | undefined;
  readonly readiness: Readiness;
  readonly stalenessSeconds: () => readonly (readonly [feed: string, seconds: number])[];
  readonly log: Logger;
}

export interface Assembly {
  readonly app: Application;
  readonly metrics: Metrics;
  readonly audit: Audit;
}

export function assemble({ config, api, clock, events, tls, readiness, log, ...parts }: AssemblyParts): Assembly {
  const shapes = createShapeCache();
  const app = createApplication(
    {
      shapes,
      profile: PROFILES[config.profile],
      ranking: config.ranking,
      narrow: config.narrow,
      defaultPolicy: config.policy,
      limits: config.limits,
      weights: config.weights,
      mixWindow: config.mixWindow,
      bindTimeoutMillis: config.bindTimeoutMillis,
      reservationHoldMillis: config.reservationHoldMillis,
    },
    {
      binder: createBinder(api),
      podReader: createPodReader(api),
      events,
      clock,
      refusal: () => readiness.refusal(),
      metrics: {
        countRejection: (reason, nodes) => metrics.countRejection(reason, nodes),
        countBind: (end) => metrics.countBind(end),
        countTampered: () => log.error('An allocation annotation was changed from outside; the ledger keeps its own'),
      },
    },
  );
  const audit = new Audit(app.engine.ledger, AUDIT_NODES);
  const metrics = createMetrics({
    reservations: () => reservationCounts(app.engine.ledger),
    ledgerDrift: () => audit.drift,
    apiStalenessSeconds: parts.stalenessSeconds,
    gpus: () => gpuUsages(app.engine.ledger),
    shapeCache: () => shapes.figures(),
    tlsCertExpiryMillis: () => tls?.expiryMillis(),
  });
  return { app, metrics, audit };
}
