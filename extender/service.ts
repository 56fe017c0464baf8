// The extender as a running service: cluster connection, application, listeners and background duties, put together.
// Decides nothing itself. `close` ends everything it started, in an order that answers calls in flight first.

import { createApplication, type Application } from './app/application.ts';
import { Audit } from './app/audit.ts';
import type { Clock } from './app/ports.ts';
import { Readiness } from './app/readiness.ts';
import { leaderElectionFor, type ExtenderConfig } from './config.ts';
import { renderExplanation, type Explanation } from './core/explain.ts';
import { PROFILES } from './core/resources.ts';
import { startFeeds, type Feeds } from './feeds.ts';
import type { ListenAddress, Listener } from './http/listener.ts';
import { createOpsServer } from './http/ops-server.ts';
import { createServingTls, type ServingTls } from './http/tls.ts';
import { createVerbsServer } from './http/verbs-server.ts';
import { createBinder } from './kube/binder.ts';
import { connectKube, type ClusterTarget, type KubeClient } from './kube/client.ts';
import { systemDelays } from './kube/delays.ts';
import { createEventSink, type KubeEventSink } from './kube/events.ts';
import { createPodReader } from './kube/pod-reader.ts';
import { ALWAYS_LEADER, electLeader, type Leadership } from './leadership.ts';
import type { Logger } from './logging.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { gpuUsages, reservationCounts } from './metric-sources.ts';
import { createShapeCache } from './shape-cache.ts';

export interface ServiceOptions {
  readonly config: ExtenderConfig;
  readonly cluster: 'kube' | 'embedded';
  readonly target: ClusterTarget;
  readonly version: string;
  readonly log: Logger;
}

export interface Service {
  readonly verbsUrl: string;
  readonly opsUrl: string;
  readonly app: Application;
  readonly readiness: Readiness;
  /** Refuses new calls, answers those in flight, gives the lease back and ends. Bounded. */
  close(): Promise<void>;
}

const SWEEP_EVERY_MILLIS = 5000;
const AUDIT_EVERY_MILLIS = 1000;
const AUDIT_NODES = 50;
const EVENTS_DRAIN_MILLIS = 1000;
const MIB = 2 ** 20;
const BODIES_AT_ONCE = 4;

const systemClock: Clock = { wallMillis: () => Date.now(), monotonicMillis: () => performance.now() };

export async function startService({ config, cluster, target, version, log }: ServiceOptions): Promise<Service> {
  const delays = systemDelays();
  const clock = systemClock;
  const report = (message: string): void => log.warn('The API server connection had trouble', { detail: message });
  const client = await connectKube(target, { version, report });
  const events = createEventSink({
    api: client,
    clock,
    delays,
    instance: config.identity ?? 'gpuloom-extender',
    report,
  });
  const tls =
    config.tls === undefined
      ? undefined
      : await createServingTls({ files: config.tls, clientNames: config.tls.clientNames, log });

  const shapes = createShapeCache();
  let feeds: Feeds | undefined;
  let leadership: Leadership = { ...ALWAYS_LEADER, isLeader: () => false };
  const readiness = new Readiness(
    {
      unsynced: () => (feeds === undefined || !leadership.isCaughtUp() ? ['nodes', 'pods'] : feeds.unsynced()),
      lastContactMillis: () => feeds?.lastContactMillis() ?? 0,
      isLeader: () => leadership.isLeader(),
    },
    clock,
    config.staleAfterMillis,
  );
  const { app, metrics, audit } = assemble();

  feeds = startFeeds({ api: client, app, profile: PROFILES[config.profile], clock, delays, log });
  leadership = leaderElectionFor(config, cluster)
    ? electLeader({
        api: client,
        clock,
        delays,
        namespace: config.leaseNamespace,
        name: config.leaseName,
        identity: config.identity,
        log,
        relist: () => feeds?.relist() ?? Promise.resolve(false),
      })
    : ALWAYS_LEADER;
  const duties = startDuties(app, audit, log);
  const verbs = verbsListener();
  const ops = opsListener();
  const verbsAddress = await verbs.listen(config.listen);
  const opsAddress = await ops.listen(config.ops);
  return {
    verbsUrl: urlOf(tls === undefined ? 'http' : 'https', verbsAddress),
    opsUrl: urlOf('http', opsAddress),
    app,
    readiness,
    close: () => closeAll({ readiness, verbs, ops, duties, leadership, feeds, events, metrics, client, tls }),
  };

  function assemble(): { app: Application; metrics: Metrics; audit: Audit } {
    const application = createApplication(
      {
        shapes,
        profile: PROFILES[config.profile],
        ranking: config.ranking,
        narrow: config.narrow,
        defaultPolicy: config.policy,
        limits: config.limits,
        mixWindow: config.mixWindow,
        bindTimeoutMillis: config.bindTimeoutMillis,
        reservationHoldMillis: config.reservationHoldMillis,
      },
      {
        binder: createBinder(client),
        podReader: createPodReader(client),
        events,
        clock,
        refusal: () => readiness.refusal(),
        metrics: {
          countRejection: (reason, nodes) => figures.countRejection(reason, nodes),
          countBind: (end) => figures.countBind(end),
          countTampered: () => log.error('An allocation annotation was changed from outside; the ledger keeps its own'),
        },
      },
    );
    const check = new Audit(application.engine.ledger, AUDIT_NODES);
    const figures = createMetrics({
      reservations: () => reservationCounts(application.engine.ledger),
      ledgerDrift: () => check.drift,
      apiStalenessSeconds: () => feeds?.stalenessSeconds() ?? [],
      gpus: () => gpuUsages(application.engine.ledger),
      shapeCache: () => shapes.figures(),
      tlsCertExpiryMillis: () => tls?.expiryMillis(),
    });
    return { app: application, metrics: figures, audit: check };
  }

  function verbsListener(): Listener {
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

  function opsListener(): Listener {
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
}

function isExplanation(value: unknown): value is Explanation {
  return typeof value === 'object' && value !== null && 'nodes' in value && 'asks' in value;
}

/** Background work on timers; returns how to end it. */
function startDuties(app: Application, audit: Audit, log: Logger): { stop(): void } {
  let isSweeping = false;
  const sweep = (): void => {
    if (isSweeping) return;
    isSweeping = true;
    app
      .sweep()
      .catch((error: unknown) => log.error('Settling doubtful reservations failed', { error }))
      .finally(() => {
        isSweeping = false;
      });
  };
  const check = (): void => {
    for (const detail of audit.step()) log.error('The ledger differs from its rebuild', { detail });
  };
  const timers = [setInterval(sweep, SWEEP_EVERY_MILLIS), setInterval(check, AUDIT_EVERY_MILLIS)];
  return { stop: () => timers.forEach((timer) => clearInterval(timer)) };
}

interface Parts {
  readonly readiness: Readiness;
  readonly verbs: Listener;
  readonly ops: Listener;
  readonly duties: { stop(): void };
  readonly leadership: Leadership;
  readonly feeds: Feeds | undefined;
  readonly events: KubeEventSink;
  readonly metrics: Metrics;
  readonly client: KubeClient;
  readonly tls: ServingTls | undefined;
}

async function closeAll(parts: Parts): Promise<void> {
  parts.readiness.drain();
  await parts.verbs.close();
  parts.duties.stop();
  await parts.leadership.stop();
  await parts.feeds?.stop();
  const { promise: limit, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, EVENTS_DRAIN_MILLIS);
  await Promise.race([parts.events.idle(), limit]);
  clearTimeout(timer);
  await parts.events.stop();
  await parts.ops.close();
  parts.tls?.close();
  parts.metrics.close();
  await parts.client.close();
}

function urlOf(scheme: string, { host, port }: ListenAddress): string {
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
