// What the kubelet's calls for the memory resource mean under each way of binding.

import { setTimeout as sleep } from 'node:timers/promises';
import type { CdiMount } from './binding/cdi-spec.ts';
import type { EnvBinding } from './binding/env-binding.ts';
import type { LateBinding } from './binding/late-binding.ts';
import type { CallContext, PluginHandlers } from './kubelet/handlers.ts';

/** Holds back the kubelet's calls until the judge's books are complete. */
export type WhenReady = () => Promise<void>;

export type Wait = (millis: number, signal: AbortSignal) => Promise<void>;

/** The kubelet's watch and ours race; its patience with Allocate ends after 2 s, and a preference is worth less. */
const SEEN_WITHIN_MILLIS = { allocate: 1500, prefer: 600 } as const;
const SEEN_POLL_MILLIS = 25;
const LOOK_AFTER_POLLS = 4;

export function cdiHandlers(binding: LateBinding, whenReady: WhenReady): PluginHandlers {
  return {
    async allocate(ids, call) {
      call.waitingFor('the file of an earlier pod to be removed');
      await binding.forget(ids);
      return { annotations: binding.allocate(ids) };
    },
    async preStart(ids, call) {
      call.waitingFor('the books of running containers');
      await whenReady();
      call.waitingFor('the kubelet to say whose these slices are');
      await binding.preStart(ids);
    },
    prefer: ({ available, size }) => available.slice(0, size),
  };
}

/** `wait` is for tests that must not take real time. */
export function envHandlers(
  binding: EnvBinding,
  mounts: readonly CdiMount[],
  whenReady: WhenReady,
  wait: Wait = pause,
): PluginHandlers {
  const given = mounts.map(({ hostPath, containerPath, options }) => ({
    hostPath,
    containerPath,
    readOnly: options.includes('ro'),
  }));
  const ready = async (call: CallContext): Promise<void> => {
    call.waitingFor('the books of running containers');
    await whenReady();
  };
  return {
    async allocate(ids, call) {
      await ready(call);
      await untilAwaited(binding, ids.length, { withinMillis: SEEN_WITHIN_MILLIS.allocate, wait }, call);
      return { env: await binding.allocate(ids), mounts: given };
    },
    async preStart(ids, call) {
      await ready(call);
      call.waitingFor('the kubelet to say whose these slices are');
      await binding.preStart(ids);
    },
    async prefer(question, call) {
      await ready(call);
      await untilAwaited(binding, question.size, { withinMillis: SEEN_WITHIN_MILLIS.prefer, wait }, call);
      return await binding.prefer(question);
    },
  };
}

/** Until a pod that waits for that many slices has been seen, for a while, with one look past a watch that lags. */
async function untilAwaited(
  binding: EnvBinding,
  size: number,
  { withinMillis, wait }: { readonly withinMillis: number; readonly wait: Wait },
  call: CallContext,
): Promise<void> {
  call.waitingFor('the pod to be seen on this node');
  // Nobody waits for none.
  for (let polls = 0; size > 0 && polls * SEEN_POLL_MILLIS < withinMillis && !call.signal.aborted; polls++) {
    if (await binding.isAwaited(size)) return;
    if (polls === LOOK_AFTER_POLLS && !(await binding.lookAhead(size))) return;
    await wait(SEEN_POLL_MILLIS, call.signal);
  }
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
