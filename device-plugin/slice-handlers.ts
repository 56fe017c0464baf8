// What the kubelet's calls for the memory resource mean under each way of binding.

import { setTimeout as sleep } from 'node:timers/promises';
import type { CdiMount } from './binding/cdi-spec.ts';
import { NobodyWaits, type EnvBinding } from './binding/env-binding.ts';
import type { LateBinding } from './binding/late-binding.ts';
import type { PluginHandlers } from './kubelet/handlers.ts';

/** Holds back the kubelet's calls until the judge's books are complete. */
export type WhenReady = () => Promise<void>;

/** The kubelet's watch and ours race; its patience with Allocate ends after 2 s. */
const SEEN_WITHIN_MILLIS = 1500;
const SEEN_POLL_MILLIS = 25;

export function cdiHandlers(binding: LateBinding, whenReady: WhenReady): PluginHandlers {
  return {
    allocate: (ids) => Promise.resolve({ annotations: binding.allocate(ids) }),
    async preStart(ids, call) {
      call.waitingFor('the books of running containers');
      await whenReady();
      call.waitingFor('the kubelet to say whose these slices are');
      await binding.preStart(ids);
    },
    prefer: ({ available, size }) => available.slice(0, size),
  };
}

export function envHandlers(binding: EnvBinding, mounts: readonly CdiMount[], whenReady: WhenReady): PluginHandlers {
  const given = mounts.map(({ hostPath, containerPath, options }) => ({
    hostPath,
    containerPath,
    readOnly: options.includes('ro'),
  }));
  return {
    async allocate(ids, call) {
      call.waitingFor('the books of running containers');
      await whenReady();
      call.waitingFor('the pod to be seen on this node');
      for (let waited = 0; ; waited += SEEN_POLL_MILLIS) {
        try {
          return { env: binding.allocate(ids), mounts: given };
        } catch (error) {
          if (!(error instanceof NobodyWaits) || waited >= SEEN_WITHIN_MILLIS) throw error;
          await pause(SEEN_POLL_MILLIS, call.signal);
        }
      }
    },
    async preStart(ids, call) {
      await whenReady();
      call.waitingFor('the kubelet to say whose these slices are');
      await binding.preStart(ids);
    },
    prefer: (question) => binding.prefer(question),
  };
}

/** Compute slices only count: the memory slices of the same container say which GPU. */
export function coreHandlers(): PluginHandlers {
  return {
    allocate: () => Promise.resolve({}),
    preStart: () => Promise.resolve(),
    prefer: ({ available, size }) => available.slice(0, size),
  };
}

async function pause(millis: number, signal: AbortSignal): Promise<void> {
  await sleep(millis, undefined, { signal }).catch(() => undefined);
}
