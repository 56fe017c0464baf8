// The reflectors that feed the application, as one thing: started, relisted, watched and stopped together.

import type { Application } from './app/application.ts';
import type { Clock } from './app/ports.ts';
import { unhealthyList } from './app/unhealthy-list.ts';
import { nodeRecord, podRecord } from './core/records.ts';
import { RequestPool } from './core/request-pool.ts';
import { GPUSHARE_CONFIGMAP_PREFIX, type Profile } from './core/resources.ts';
import type { Delays } from './kube/delays.ts';
import { startConfigMapFeed, startNodeFeed, startPodFeed } from './kube/feeds.ts';
import type { KubeApi } from './kube/kube-api.ts';
import type { Reflector } from './kube/reflector-options.ts';
import type { Logger } from './logging.ts';

const GPUSHARE_NAMESPACE = 'kube-system';

export interface FeedsOptions {
  readonly api: KubeApi;
  readonly app: Application;
  readonly profile: Profile;
  readonly clock: Clock;
  readonly delays: Delays;
  readonly log: Logger;
}

export interface Feeds {
  /** Names of feeds that have not delivered a complete list yet. */
  unsynced(): readonly string[];
  lastContactMillis(): number;
  /** Seconds since each feed was last known to be current. */
  stalenessSeconds(): readonly (readonly [feed: string, seconds: number])[];
  /** Resolves true when fresh complete lists of everything have been taken in. */
  relist(): Promise<boolean>;
  stop(): Promise<void>;
}

export function startFeeds({ api, app, profile, clock, delays, log }: FeedsOptions): Feeds {
  const report = ({
    kind,
    path,
    message,
    key,
  }: {
    kind: string;
    path: string;
    message: string;
    key?: string;
  }): void => {
    log.warn('A feed had trouble', {
      feed: path,
      reason: kind,
      detail: message,
      ...(key === undefined ? {} : { pod: key }),
    });
  };
  const pool = new RequestPool();
  const common = { api, clock, delays, report };
  const reflectors = new Map<string, Reflector>([
    ['nodes', startNodeFeed({ ...common, feed: app.feeds.nodes, project: nodeRecord })],
    ['pods', startPodFeed({ ...common, feed: app.feeds.pods, project: (pod) => podRecord(pod, profile, pool) })],
  ]);
  if (profile.name === 'gpushare') {
    const where = { namespace: GPUSHARE_NAMESPACE, namePrefix: GPUSHARE_CONFIGMAP_PREFIX };
    reflectors.set(
      'configmaps',
      startConfigMapFeed({ ...common, ...where, feed: app.feeds.unhealthyLists, project: unhealthyList }),
    );
  }
  const all = (): Reflector[] => [...reflectors.values()];
  return {
    unsynced: () => [...reflectors].filter(([, reflector]) => !reflector.status().synced).map(([name]) => name),
    lastContactMillis: () => Math.min(...all().map((reflector) => reflector.status().lastContactMonotonicMillis)),
    stalenessSeconds: () =>
      [...reflectors].map(([name, reflector]) => [
        name,
        Math.max(0, clock.monotonicMillis() - reflector.status().lastContactMonotonicMillis) / 1000,
      ]),
    relist: async () => (await Promise.all(all().map((reflector) => reflector.relist()))).every(Boolean),
    stop: async () => {
      await Promise.all(all().map((reflector) => reflector.stop()));
    },
  };
}
