// A kubelet's device manager on real unix sockets, after Kubernetes 1.20 (generation 'old') and 1.26 and later ('new').
//
//   const kubelet = await FakeKubelet.start({ directory, generation: 'old', random });
//   await kubelet.waitFor(() => kubelet.allocatable('gpuloom.io/gpu-mem') === 64, 'the plugin to register');
//   const admission = await kubelet.admit(pod);            // 'admitted', or 'rejected' as UnexpectedAdmissionError
//   await kubelet.startContainer(pod.uid, 'main');         // PreStartContainer; also for a restart of the container
//   await kubelet.run(pod);                                // both, init containers first, each start awaited in order
//   kubelet.idsOf(pod.uid, 'main', resource); kubelet.responseOf(pod.uid, 'main', resource);
//   await kubelet.restart(); kubelet.remove(pod.uid); await kubelet.stop();
//
// What it keeps to: the newest registration of a resource wins; an old kubelet dials back after its answer and sends
// the socket's path as `:authority`, a new one dials, and asks for the options, before it answers. Lists above 4 MiB
// break the stream, and a broken stream makes all devices unhealthy (capacity stays, allocatable is 0). Admission is
// serial: per container and resource GetPreferredAllocation (if offered), Allocate, and only then are the ids recorded
// and the checkpoint written; ids come at random where nothing is preferred. Ids of ordinary init containers are used
// again by later containers of the pod. A restart empties the directory except the checkpoint, which is all that is
// remembered. A container restart calls PreStartContainer and never Allocate. PodResources lists app containers only,
// one entry per NUMA node, at `podResourcesSocket`; a pod is listed from before its admission until it is removed, also
// when it was rejected. Between a kubelet's restart and the registration of the plugin an old kubelet starts containers
// without PreStartContainer; a new one rejects pods with a container that has never run. A container's resources come
// in no order. `calls` records every call made to plugins, in order.
// inProcess() is the same without sockets and files, for many thousands of admissions: plugins attach() themselves.
// Left out: topology manager, the 5 minutes after which a silent resource disappears, the 100/s limit of PodResources.

import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { CHECKPOINT_FILE } from '../../device-plugin/kubelet/checkpoint.ts';
import { DEVICE_PLUGIN_VERSION, loadDevicePluginApi, loadPodResourcesApi } from '../../device-plugin/proto/services.ts';
import type {
  ContainerAllocateResponse,
  Empty,
  ListPodResourcesResponse,
  RegisterRequest,
} from '../../device-plugin/proto/types.ts';
import { DeviceAllocator } from './fake-kubelet-allocator.ts';
import type { PluginCall } from './fake-kubelet-allocator.ts';
import { DeviceBooks } from './fake-kubelet-devices.ts';
import type { CheckpointFormat, HeldDevices } from './fake-kubelet-devices.ts';
import { PluginEndpoint } from './fake-kubelet-endpoint.ts';
import type { KubeletEndpoint } from './fake-kubelet-endpoint.ts';

export interface FakeContainer {
  readonly name: string;
  /** Counts by extended resource. */
  readonly limits: Readonly<Record<string, number>>;
  /** A sidecar: an init container that keeps its ids. */
  readonly isSidecar?: boolean;
}

export interface FakePod {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly initContainers?: readonly FakeContainer[];
  readonly containers: readonly FakeContainer[];
}

export type Admission = { readonly kind: 'admitted' } | { readonly kind: 'rejected'; readonly message: string };

export interface FakeKubeletSettings {
  /** Undefined: in process. */
  readonly directory: string | undefined;
  /** Default: `pod-resources.sock` beside the directory. */
  readonly podResourcesSocket?: string;
  readonly generation: 'old' | 'new';
  /** Uniform in [0, 1); seed it. */
  readonly random: () => number;
  readonly checkpointFormat?: CheckpointFormat;
}

const WAIT_LIMIT_MILLIS = 20_000;

export class FakeKubelet {
  readonly calls: PluginCall[] = [];
  /** Registrations accepted since the start, restarts included. */
  registrations = 0;
  readonly podResourcesSocket: string;
  readonly #settings: FakeKubeletSettings;
  readonly #api = loadDevicePluginApi();
  readonly #podResourcesApi = loadPodResourcesApi();
  readonly #endpoints = new Map<string, KubeletEndpoint>();
  readonly #books = new DeviceBooks();
  readonly #allocator: DeviceAllocator;
  /** Pods at the API server, as far as this kubelet knows. */
  readonly #pods = new Map<string, FakePod>();
  readonly #rejected = new Set<string>();
  /** `<pod UID>/<container>` of containers that have run. */
  readonly #started = new Set<string>();
  readonly #waiters = new Set<() => void>();
  #admissions: Promise<unknown> = Promise.resolve();
  #servers: Server[] = [];

  private constructor(settings: FakeKubeletSettings) {
    this.#settings = settings;
    this.#allocator = new DeviceAllocator(this.#api, settings.random, this.calls);
    this.podResourcesSocket = settings.podResourcesSocket ?? `${settings.directory ?? ''}-pod-resources.sock`;
  }

  static async start(settings: FakeKubeletSettings): Promise<FakeKubelet> {
    const kubelet = new FakeKubelet(settings);
    await kubelet.#boot();
    return kubelet;
  }

  static inProcess(settings: Omit<FakeKubeletSettings, 'directory'>): FakeKubelet {
    return new FakeKubelet({ ...settings, directory: undefined });
  }

  get checkpointPath(): string {
    return join(this.#settings.directory ?? '', CHECKPOINT_FILE);
  }

  /** What is in the checkpoint. */
  get recorded(): readonly HeldDevices[] {
    return this.#books.written;
  }

  loseCheckpoint(): void {
    this.#books.loseCheckpoint(this.#file);
  }

  get #file(): string | undefined {
    return this.#settings.directory === undefined ? undefined : this.checkpointPath;
  }

  /** Devices known, healthy or not. */
  capacity(resourceName: string): number {
    return this.#endpoints.get(resourceName)?.devices.length ?? 0;
  }

  allocatable(resourceName: string): number {
    return this.#endpoints.get(resourceName)?.healthyIds.length ?? 0;
  }

  endpoint(resourceName: string): PluginEndpoint | undefined {
    const endpoint = this.#endpoints.get(resourceName);
    return endpoint instanceof PluginEndpoint ? endpoint : undefined;
  }

  /** A plugin in process registers. */
  attach(endpoint: KubeletEndpoint): void {
    this.#endpoints.get(endpoint.resourceName)?.close();
    this.#endpoints.set(endpoint.resourceName, endpoint);
    this.registrations += 1;
    this.#changed();
  }

  idsOf(podUid: string, container: string, resourceName: string): readonly string[] {
    return this.#books.of(podUid, container).find((held) => held.resourceName === resourceName)?.ids ?? [];
  }

  /** The plugin's answer, which the runtime uses. */
  responseOf(podUid: string, container: string, resourceName: string): ContainerAllocateResponse | undefined {
    return this.#books.of(podUid, container).find((held) => held.resourceName === resourceName)?.response;
  }

  /** Looks again after everything that happens here; rejects after 20 s with `what` it waited for. */
  waitFor(condition: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!condition()) return;
        clearTimeout(timer);
        this.#waiters.delete(look);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(look);
        reject(new Error(`The fake kubelet waited in vain for ${what}`));
      }, WAIT_LIMIT_MILLIS);
      this.#waiters.add(look);
      look();
    });
  }

  /** One pod at a time, in the order of the calls. */
  admit(pod: FakePod): Promise<Admission> {
    const admission = this.#admissions.then(() => this.#admitNow(pod));
    this.#admissions = admission;
    return admission;
  }

  /** PreStartContainer for every resource of the container that wants it. Rejects with the plugin's error. */
  async startContainer(podUid: string, container: string): Promise<void> {
    if (this.#rejected.has(podUid)) throw new Error(`pod ${podUid} was rejected`);
    for (const { resourceName, ids } of this.#books.of(podUid, container)) {
      const endpoint = this.#endpoints.get(resourceName);
      if (endpoint?.options.pre_start_required !== true) continue;
      this.calls.push({ method: 'PreStartContainer', resourceName, ids });
      await endpoint.call(this.#api.devicePlugin.PreStartContainer, { devices_ids: ids });
    }
    this.#started.add(`${podUid}/${container}`);
  }

  /** Admits the pod and starts its containers; rejects where a real pod would not run. */
  async run(pod: FakePod): Promise<void> {
    const admission = await this.admit(pod);
    if (admission.kind === 'rejected') throw new Error(admission.message);
    for (const { name } of [...(pod.initContainers ?? []), ...pod.containers]) await this.startContainer(pod.uid, name);
  }

  /** The pod is gone; its ids are free from the next allocation on. */
  remove(podUid: string): void {
    for (const { name } of containersOf(this.#pods.get(podUid))) this.#started.delete(`${podUid}/${name}`);
    this.#pods.delete(podUid);
    this.#rejected.delete(podUid);
  }

  isRejected(podUid: string): boolean {
    return this.#rejected.has(podUid);
  }

  /** Ends this kubelet and starts the next, which knows only the checkpoint. `whileDown` runs in between. */
  async restart(whileDown?: () => void | Promise<void>): Promise<void> {
    await this.stop();
    await whileDown?.();
    this.#books.load(this.#file, this.#api.decodeContainerAllocation);
    if (this.#settings.generation === 'new') this.#rejectUnstarted();
    await this.#boot();
  }

  /** No plugin is registered yet when the pods are admitted anew. */
  #rejectUnstarted(): void {
    for (const pod of this.#pods.values()) {
      const isRunning = containersOf(pod).every(({ name }) => this.#started.has(`${pod.uid}/${name}`));
      if (!isRunning) this.#rejected.add(pod.uid);
    }
  }

  /** As by SIGKILL: nothing in the directory is cleaned up. */
  stop(): Promise<void> {
    for (const endpoint of this.#endpoints.values()) endpoint.close();
    this.#endpoints.clear();
    for (const server of this.#servers) server.forceShutdown();
    this.#servers = [];
    this.#changed();
    return Promise.resolve();
  }

  async #boot(): Promise<void> {
    const { directory } = this.#settings;
    if (directory === undefined) return;
    for (const name of readdirSync(directory)) {
      if (name !== CHECKPOINT_FILE) rmSync(join(directory, name), { recursive: true, force: true });
    }
    rmSync(this.podResourcesSocket, { force: true });
    const lister = new Server();
    lister.addService(this.#podResourcesApi, {
      List: (
        _call: ServerUnaryCall<Empty, ListPodResourcesResponse>,
        answer: sendUnaryData<ListPodResourcesResponse>,
      ) => {
        answer(null, { pod_resources: this.podResources() });
      },
    });
    const registrar = new Server();
    registrar.addService(this.#api.registration, {
      Register: (call: ServerUnaryCall<RegisterRequest, Empty>, answer: sendUnaryData<Empty>) => {
        void this.#register(call.request).then(
          () => {
            answer(null, {});
            return undefined;
          },
          (error: unknown) => {
            answer({ code: status.UNKNOWN, details: String(error) });
          },
        );
      },
    });
    this.#servers = [lister, registrar];
    await bind(lister, this.podResourcesSocket);
    await bind(registrar, join(directory, 'kubelet.sock'));
  }

  async #register({ version, endpoint: file, resource_name, options }: RegisterRequest): Promise<void> {
    if (version !== DEVICE_PLUGIN_VERSION) throw new Error(`the plugin's version ${version} is not supported`);
    if (!resource_name.includes('/')) throw new Error(`the resource name "${resource_name}" is invalid`);
    if (options === null || file.includes('/')) throw new Error('the request has no options or no file name');
    const socketPath = join(this.#settings.directory ?? '', file);
    const isOld = this.#settings.generation === 'old';
    const authority = isOld ? socketPath : 'localhost';
    const endpoint = new PluginEndpoint(resource_name, socketPath, options, this.#api.devicePlugin, authority);
    if (isOld) {
      setImmediate(() => {
        this.#adopt(endpoint);
      });
      return;
    }
    this.calls.push({ method: 'GetDevicePluginOptions', resourceName: resource_name, ids: [] });
    endpoint.options = await endpoint.call(this.#api.devicePlugin.GetDevicePluginOptions, {});
    this.#adopt(endpoint);
  }

  #adopt(endpoint: PluginEndpoint): void {
    if (this.#servers.length === 0) {
      endpoint.close();
      return;
    }
    this.#endpoints.get(endpoint.resourceName)?.close();
    this.#endpoints.set(endpoint.resourceName, endpoint);
    this.registrations += 1;
    endpoint.listAndWatch(() => {
      this.#changed();
    });
    this.#changed();
  }

  async #admitNow(pod: FakePod): Promise<Admission> {
    this.#pods.set(pod.uid, pod);
    this.#collect();
    const reusable = new Map<string, Set<string>>();
    const initContainers = pod.initContainers ?? [];
    try {
      for (const container of [...initContainers, ...pod.containers]) {
        const isInit = initContainers.includes(container) && container.isSidecar !== true;
        for (const [resourceName, count] of this.#inNoOrder(Object.entries(container.limits))) {
          const free = reusable.get(resourceName) ?? new Set();
          reusable.set(resourceName, free);
          const ids = await this.#allocate(pod.uid, container.name, resourceName, count, free);
          for (const id of ids) if (isInit) free.add(id);
          if (!isInit) for (const id of ids) free.delete(id);
        }
        this.#books.write(this.#file, this.#settings.checkpointFormat ?? 'numa-map', this.#registeredIds());
      }
      return { kind: 'admitted' };
    } catch (error) {
      this.#books.restore();
      this.#rejected.add(pod.uid);
      const reason = error instanceof Error ? error.message : String(error);
      return { kind: 'rejected', message: `UnexpectedAdmissionError: Allocate failed due to ${reason}` };
    }
  }

  /** The recorded ids of a container that has them already, or new ones by way of the plugin. */
  async #allocate(
    podUid: string,
    container: string,
    resourceName: string,
    count: number,
    reusable: ReadonlySet<string>,
  ): Promise<readonly string[]> {
    const known = this.idsOf(podUid, container, resourceName);
    if (known.length >= count) return known;
    const endpoint = this.#endpoints.get(resourceName);
    if (endpoint === undefined) throw new Error(`can't allocate unregistered device ${resourceName}`);
    const inUse = this.#books.inUse(resourceName);
    const reserve = (ids: readonly string[]): void => this.#books.reserve(resourceName, ids);
    const granted = await this.#allocator.allocate(endpoint, { count, reusable, inUse, reserve });
    this.#books.record({ podUid, container, resourceName, ...granted });
    return granted.ids;
  }

  #collect(): void {
    this.#books.collect((podUid) => this.#pods.has(podUid) && !this.#rejected.has(podUid));
  }

  /** Go's maps have none. */
  #inNoOrder<T>(entries: readonly T[]): readonly T[] {
    if (entries.length < 2) return entries;
    const ranked = entries.map((entry) => ({ entry, rank: this.#settings.random() }));
    return ranked.sort((a, b) => a.rank - b.rank).map(({ entry }) => entry);
  }

  #registeredIds(): Record<string, readonly string[]> {
    return Object.fromEntries(
      [...this.#endpoints.values()].map(({ resourceName, devices }) => [resourceName, devices.map(({ id }) => id)]),
    );
  }

  /** The answer to a List. */
  podResources(): ListPodResourcesResponse['pod_resources'] {
    this.#collect();
    return [...this.#pods.values()].map((pod) => ({
      name: pod.name,
      namespace: pod.namespace,
      containers: pod.containers.map(({ name }) => ({
        name,
        cpu_ids: [],
        devices: this.#books.of(pod.uid, name).flatMap(({ resourceName, idsByNode }) =>
          Object.entries(idsByNode).map(([node, device_ids]) => ({
            resource_name: resourceName,
            device_ids,
            topology: node === '-1' ? null : { nodes: [{ ID: Number(node) }] },
          })),
        ),
      })),
    }));
  }

  #changed(): void {
    for (const look of this.#waiters) look();
  }
}

function containersOf(pod: FakePod | undefined): readonly FakeContainer[] {
  return pod === undefined ? [] : [...(pod.initContainers ?? []), ...pod.containers];
}

function bind(server: Server, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
}
