// A steady small change of one node. kube-scheduler 1.20 puts a pod whose attempt failed aside until the cluster changes,
// or for a minute; a cluster with kubelets changes all the time, one of fake nodes must be made to.

import type { ApiClient } from './api.ts';
import { ApiError } from './api.ts';

export interface Pulse {
  stop(): Promise<void>;
}

const EVERY_MILLIS = 1_000;

export function startPulse(api: ApiClient, node: string): Pulse {
  let beat = 0;
  let running = Promise.resolve();
  const timer = setInterval(() => {
    running = running.then(async () => {
      try {
        await api.mergePatch(`/api/v1/nodes/${node}`, { metadata: { labels: { 'example.com/beat': String(beat++) } } });
      } catch (cause) {
        // The API server is down for a while in some tests; any answer of it, however, must be a good one.
        if (cause instanceof ApiError) throw cause;
      }
    });
  }, EVERY_MILLIS);
  return {
    stop: () => {
      clearInterval(timer);
      return running;
    },
  };
}
