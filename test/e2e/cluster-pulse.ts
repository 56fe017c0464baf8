// A steady small change of one node. kube-scheduler 1.20 puts a pod whose attempt failed aside until the cluster changes,
// or for a minute; a cluster with kubelets changes all the time, one of fake nodes must be made to.

import { setTimeout as delay } from 'node:timers/promises';

import type { ApiClient } from './api.ts';
import { ApiError } from './api.ts';

export interface Pulse {
  stop(): Promise<void>;
}

const EVERY_MILLIS = 1_000;

export function startPulse(api: ApiClient, node: string): Pulse {
  const ending = new AbortController();
  const running = beat(api, node, ending.signal);
  return {
    stop: () => {
      ending.abort();
      return running;
    },
  };
}

async function beat(api: ApiClient, node: string, signal: AbortSignal): Promise<void> {
  for (let count = 0; !signal.aborted; count++) {
    try {
      await api.mergePatch(`/api/v1/nodes/${node}`, { metadata: { labels: { 'example.com/beat': String(count) } } });
    } catch (cause) {
      // The API server is down for a while in some tests, and says so while it starts; a refusal is a fault of the test.
      if (cause instanceof ApiError && cause.status < 500 && cause.status !== 401 && cause.status !== 403) throw cause;
    }
    await delay(EVERY_MILLIS);
  }
}
