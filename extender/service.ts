// The extender as a running service: cluster connection, application, listeners and background duties, put together.
// Decides nothing itself. `close` ends everything it started, in an order that answers calls in flight first.

import type { Application } from './app/application.ts';
import type { Clock } from './app/ports.ts';
import { Readiness } from './app/readiness.ts';
import { assemble } from './assembly.ts';
import { leaderElectionFor, type ExtenderConfig } from './config.ts';
import { PROFILES } from './core/resources.ts';
import { startDuties, type Duties } from './duties.ts';
import { startFeeds, type Feeds } from './feeds.ts';
import type { Listener } from './http/listener.ts';
import { createServingTls, type ServingTls } from './http/tls.ts';
import { connectKube, type ClusterTarget, type KubeClient } from './kube/client.ts';
import { systemDelays, type Delays } from './kube/delays.ts';
import { createEventSink, type KubeEventSink } from './kube/events.ts';
import { startServiceEndpoint, type ServiceEndpoint } from './kube/service-endpoint.ts';
import { ALWAYS_LEADER, electLeader, NOT_LEADING, type Leadership } from './leadership.ts';
import { opsListener, urlOf, verbsListener, type ListenerParts } from './listeners.ts';
import type { Logger } from './logging.ts';
import type { Metrics } from './metrics.ts';

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

const EVENTS_DRAIN_MILLIS = 1000;

const systemClock: Clock = { wallMillis: () => Date.now(), monotonicMillis: () => performance.now() };

export async function startService(options: ServiceOptions): Promise<Service> {
  const { config, log } = options;
  const ground = await breakGround(options);
  const { api, clock, delays, events, tls } = ground;
  const roles: Roles = { feeds: undefined, leadership: NOT_LEADING, endpoint: undefined };
  const readiness = readinessOf(roles, clock, config.staleAfterMillis);
  const stalenessSeconds = (): ReturnType<Feeds['stalenessSeconds']> => roles.feeds?.stalenessSeconds() ?? [];
  const assembly = assemble({ config, api, clock, events, tls, readiness, stalenessSeconds, log });
  const { app, metrics, audit } = assembly;

  roles.feeds = startFeeds({ api, app, profile: PROFILES[config.profile], clock, delays, log });
  roles.leadership = leadershipFor(options, ground, roles);
  const duties = startDuties(app, audit, log);
  const parts: ListenerParts = { ...assembly, config, tls, readiness, version: options.version, log };
  const verbs = verbsListener(parts);
  const ops = opsListener(parts);
  const verbsAddress = await verbs.listen(config.listen);
  const opsAddress = await ops.listen(config.ops);
  roles.endpoint = endpointFor(options, ground, roles, verbsAddress.port);
  return {
    verbsUrl: urlOf(tls === undefined ? 'http' : 'https', verbsAddress),
    opsUrl: urlOf('http', opsAddress),
    app,
    readiness,
    close: () => closeAll({ ...ground, ...roles, readiness, verbs, ops, duties, metrics }),
  };
}

/** What everything else stands on. */
interface Ground {
  readonly api: KubeClient;
  readonly clock: Clock;
  readonly delays: Delays;
  readonly events: KubeEventSink;
  readonly tls: ServingTls | undefined;
}

async function breakGround({ config, target, version, log }: ServiceOptions): Promise<Ground> {
  const delays = systemDelays();
  const clock = systemClock;
  const report = (message: string): void => log.warn('The API server connection had trouble', { detail: message });
  const api = await connectKube(target, { version, report });
  const instance = config.identity ?? 'gpuloom-extender';
  const events = createEventSink({ api, clock, delays, instance, report });
  const tls =
    config.tls === undefined
      ? undefined
      : await createServingTls({ files: config.tls, clientNames: config.tls.clientNames, log });
  return { api, clock, delays, events, tls };
}

/** Parts that look at each other and start one after the other, hence filled in as they come. */
interface Roles {
  feeds: Feeds | undefined;
  leadership: Leadership;
  endpoint: ServiceEndpoint | undefined;
}

function readinessOf(roles: Roles, clock: Clock, staleAfterMillis: number): Readiness {
  const sources = {
    unsynced: () => roles.feeds?.unsynced() ?? ['nodes', 'pods'],
    lastContactMillis: () => roles.feeds?.lastContactMillis() ?? 0,
    isLeader: () => roles.leadership.isLeader(),
    isCaughtUp: () => roles.leadership.isCaughtUp(),
  };
  return new Readiness(sources, clock, staleAfterMillis);
}

function leadershipFor({ config, cluster, log }: ServiceOptions, ground: Ground, roles: Roles): Leadership {
  if (!leaderElectionFor(config, cluster)) return ALWAYS_LEADER;
  return electLeader({
    ...ground,
    namespace: config.leaseNamespace,
    name: config.leaseName,
    identity: config.identity,
    log,
    relist: () => roles.feeds?.relist() ?? Promise.resolve(false),
    onCaughtUp: () => roles.endpoint?.wake(),
  });
}

function endpointFor(
  { config, log }: ServiceOptions,
  { api, delays }: Ground,
  roles: Roles,
  port: number,
): ServiceEndpoint | undefined {
  if (config.publish === undefined) return undefined;
  const { service, podIp } = config.publish;
  return startServiceEndpoint({
    api,
    delays,
    namespace: config.leaseNamespace,
    service,
    address: { ip: podIp, port },
    mayPublish: () => roles.leadership.isLeader() && roles.leadership.isCaughtUp(),
    onPublished: (before) => {
      const detail = `${service} led to ${before.length === 0 ? 'nobody' : before.join(', ')} before`;
      log.info('The Service leads to this replica now', { address: `${podIp}:${port}`, detail });
    },
    report: (message) => log.warn('Pointing the Service at the leader had trouble', { detail: message }),
  });
}

interface Parts extends Ground, Roles {
  readonly readiness: Readiness;
  readonly verbs: Listener;
  readonly ops: Listener;
  readonly duties: Duties;
  readonly metrics: Metrics;
}

async function closeAll(parts: Parts): Promise<void> {
  parts.readiness.drain();
  // The Service is emptied while the lease is still held, so that this cannot cross the successor's first write.
  await Promise.all([parts.verbs.close(), parts.endpoint?.stop()]);
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
  await parts.api.close();
}
