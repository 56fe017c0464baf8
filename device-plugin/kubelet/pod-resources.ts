// Asks the kubelet which pod and container hold which device ids (PodResources v1).
// At most one List is on its way, and at most one more waits for it; all callers share these two. The kubelet refuses
// above 100 calls/s with a burst of 10, so Lists start from a smaller bucket than that. No answer is ever kept:
// callers get a List that began after their call (listFresh) or was at least on its way (list).

import { status } from '@grpc/grpc-js';
import type { Client } from '@grpc/grpc-js';
import { loadPodResourcesApi } from '../proto/services.ts';
import type { PodResourcesService } from '../proto/services.ts';
import type { ContainerDevices, ListPodResourcesResponse } from '../proto/types.ts';
import { systemClock } from './clock.ts';
import type { KubeletClock } from './clock.ts';
import { messageOf } from './events.ts';
import { KubeletCallError, unaryCall, unixClient } from './kubelet-client.ts';

export interface ContainerDeviceIds {
  readonly name: string;
  /** Device ids by resource name; the entries of all NUMA nodes together. */
  readonly devices: ReadonlyMap<string, readonly string[]>;
}

export interface PodDevices {
  readonly namespace: string;
  readonly name: string;
  readonly containers: readonly ContainerDeviceIds[];
}

/**
 * `unavailable`: nobody answers on the socket. `too-slow`: no answer in time. `unsupported`: a kubelet older than 1.20.
 * `refused`: the kubelet answered with an error. `closed`: this reader was closed.
 */
export type PodResourcesProblem = 'unavailable' | 'too-slow' | 'unsupported' | 'refused' | 'closed';

export class PodResourcesError extends Error {
  readonly problem: PodResourcesProblem;

  constructor(problem: PodResourcesProblem, message: string) {
    super(message);
    this.problem = problem;
  }
}

export interface PodResourcesReader {
  /** Every pod with containers that hold devices. May share a List that is already on its way. */
  list(timeoutMillis: number): Promise<readonly PodDevices[]>;
  /** The same from a List that begins after this call. */
  listFresh(timeoutMillis: number): Promise<readonly PodDevices[]>;
  close(): void;
}

export interface PodResourcesSettings {
  /** `/var/lib/kubelet/pod-resources/kubelet.sock` on every usual node. */
  readonly socketPath: string;
  readonly clock?: KubeletClock;
}

const LISTS_PER_SECOND = 50;
const BURST = 5;
/** A List may take this long whatever its callers wait, so that a short wait of one does not fail the others. */
const LIST_TIMEOUT_MILLIS = 5_000;

export function openPodResources({ socketPath, clock = systemClock }: PodResourcesSettings): PodResourcesReader {
  return new KubeletPodResources(socketPath, clock, loadPodResourcesApi());
}

class KubeletPodResources implements PodResourcesReader {
  readonly #socketPath: string;
  readonly #clock: KubeletClock;
  readonly #api: PodResourcesService;
  #client: Client | undefined;
  #current: Promise<readonly PodDevices[]> | undefined;
  #next: Promise<readonly PodDevices[]> | undefined;
  #tokens = BURST;
  #refilledMillis: number;
  readonly #closed = new AbortController();

  constructor(socketPath: string, clock: KubeletClock, api: PodResourcesService) {
    this.#socketPath = socketPath;
    this.#clock = clock;
    this.#api = api;
    this.#refilledMillis = clock.monotonicMillis();
  }

  list(timeoutMillis: number): Promise<readonly PodDevices[]> {
    return this.#within(timeoutMillis, this.#current ?? this.#begin());
  }

  listFresh(timeoutMillis: number): Promise<readonly PodDevices[]> {
    if (this.#current === undefined) return this.#within(timeoutMillis, this.#begin());
    // The List on its way began before this call; the one after it serves everybody who asks until it begins.
    this.#next ??= this.#current.then(
      () => this.#begin(),
      () => this.#begin(),
    );
    return this.#within(timeoutMillis, this.#next);
  }

  close(): void {
    this.#closed.abort();
    this.#client?.close();
    this.#client = undefined;
  }

  #begin(): Promise<readonly PodDevices[]> {
    this.#next = undefined;
    const current = this.#request().finally(() => {
      if (this.#current === current) this.#current = undefined;
    });
    this.#current = current;
    return current;
  }

  async #request(): Promise<readonly PodDevices[]> {
    if (this.#closed.signal.aborted) throw new PodResourcesError('closed', 'The PodResources reader is closed');
    await this.#takeToken();
    const client = (this.#client ??= unixClient(this.#socketPath));
    try {
      const { signal } = this.#closed;
      return podDevices(await unaryCall(client, this.#api.List, {}, { timeoutMillis: LIST_TIMEOUT_MILLIS, signal }));
    } catch (error) {
      // A new client connects at once; an old one would wait out its backoff after the kubelet came back.
      client.close();
      if (this.#client === client) this.#client = undefined;
      throw this.#problem(error);
    }
  }

  async #takeToken(): Promise<void> {
    const now = this.#clock.monotonicMillis();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#refilledMillis) * LISTS_PER_SECOND) / 1_000);
    this.#refilledMillis = now;
    this.#tokens -= 1;
    if (this.#tokens >= 0) return;
    const waitMillis = (-this.#tokens * 1_000) / LISTS_PER_SECOND;
    await new Promise<void>((resolve) => {
      this.#clock.after(waitMillis, resolve);
    });
  }

  #within(timeoutMillis: number, list: Promise<readonly PodDevices[]>): Promise<readonly PodDevices[]> {
    return new Promise((resolve, reject) => {
      const cancelTimer = this.#clock.after(timeoutMillis, () => {
        const text = `The kubelet did not list its pods' devices at ${this.#socketPath} within ${timeoutMillis} ms`;
        reject(new PodResourcesError('too-slow', text));
      });
      void list.then(resolve, reject).finally(cancelTimer);
    });
  }

  #problem(error: unknown): PodResourcesError {
    const code = error instanceof KubeletCallError ? error.code : status.UNKNOWN;
    const text = `The kubelet's PodResources at ${this.#socketPath}`;
    const message = messageOf(error);
    if (this.#closed.signal.aborted) return new PodResourcesError('closed', 'The PodResources reader is closed');
    if (code === status.UNAVAILABLE) {
      return new PodResourcesError('unavailable', `${text} cannot be reached: ${message}`);
    }
    if (code === status.DEADLINE_EXCEEDED) {
      return new PodResourcesError('too-slow', `${text} did not answer within ${LIST_TIMEOUT_MILLIS} ms`);
    }
    if (code === status.UNIMPLEMENTED) {
      return new PodResourcesError('unsupported', `${text} has no v1 API; Kubernetes 1.20 or later is needed`);
    }
    return new PodResourcesError('refused', `${text} answered with an error: ${message}`);
  }
}

function podDevices(response: ListPodResourcesResponse): PodDevices[] {
  return response.pod_resources.map(({ namespace, name, containers }) => ({
    namespace,
    name,
    containers: containers.map((container) => ({ name: container.name, devices: mergedByResource(container.devices) })),
  }));
}

function mergedByResource(entries: readonly ContainerDevices[]): Map<string, readonly string[]> {
  const merged = new Map<string, string[]>();
  for (const { resource_name, device_ids } of entries) {
    const ids = merged.get(resource_name);
    if (ids === undefined) merged.set(resource_name, [...device_ids]);
    else ids.push(...device_ids);
  }
  return merged;
}
