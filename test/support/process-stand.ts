// A node's binding in one process and without real time: the fake kubelet, the agent's handlers, judge and recovery, pods
// that a watch shows a moment after the API server has them, and spec files in memory that outlive the agent.

import type { MethodDefinition } from '@grpc/grpc-js';
import { deviceKey } from '../../device-plugin/binding/cdi-spec.ts';
import { EnvBinding } from '../../device-plugin/binding/env-binding.ts';
import { NodeJudge } from '../../device-plugin/binding/judge.ts';
import { LateBinding } from '../../device-plugin/binding/late-binding.ts';
import { memoryDevices, coreDevices, parseSliceId } from '../../device-plugin/inventory/devices.ts';
import { allocationMessage, completedPreference, type PluginHandlers } from '../../device-plugin/kubelet/handlers.ts';
import type { PluginDevice } from '../../device-plugin/kubelet/device-list.ts';
import type { KubeletWitness, NodePods, SpecStore } from '../../device-plugin/ports.ts';
import { loadDevicePluginApi } from '../../device-plugin/proto/services.ts';
import type {
  AllocateRequest,
  PreferredAllocationRequest,
  PreStartContainerRequest,
} from '../../device-plugin/proto/types.ts';
import { recoverGrants } from '../../device-plugin/recovery.ts';
import { cdiHandlers, coreHandlers, envHandlers } from '../../device-plugin/slice-handlers.ts';
import type { PodManifest } from '../../extender/core/manifest.ts';
import type { Inventory, PodRecord } from '../../extender/core/model.ts';
import { podRecord } from '../../extender/core/records.ts';
import { ALLOCATION_ANNOTATION, PROFILES } from '../../extender/core/resources.ts';
import { allocationOf, boundPod, CORE, MEMORY, specEnvironment, standUuid, type StandPod } from './agent-stand.ts';
import type { KubeletEndpoint } from './fake-kubelet-endpoint.ts';
import { FakeKubelet, type FakeKubeletSettings, type FakePod } from './fake-kubelet.ts';

export interface ProcessSettings extends Pick<FakeKubeletSettings, 'generation' | 'random'> {
  readonly memories: readonly number[];
  readonly binding: 'cdi' | 'env';
}

const api = loadDevicePluginApi();

export class ProcessStand {
  readonly kubelet: FakeKubelet;
  readonly #settings: ProcessSettings;
  readonly #inventory: Inventory;
  readonly #specs = new Map<string, string>();
  /** By name, as the API server has them. */
  readonly #server = new Map<string, PodRecord>();
  #watch = new Watch(new Map(), () => undefined);
  #gate: Promise<void> = Promise.resolve();
  #endpoints: readonly KubeletEndpoint[] = [];
  /** What the agent does when it starts and when it sees a new kubelet. */
  #register: () => void = () => undefined;

  private constructor(settings: ProcessSettings) {
    this.#settings = settings;
    this.kubelet = FakeKubelet.inProcess(settings);
    const gpus = settings.memories.map((memoryMiB, index) => ({
      ...{ uuid: standUuid(index), index, minor: index, model: 'A100', memoryMiB, numa: -1 },
      ...{ slices: memoryMiB / 1024, health: 'healthy' as const },
    }));
    this.#inventory = { unitMiB: 1024, isolation: 'none', gpus, links: [] };
  }

  static async start(settings: ProcessSettings): Promise<ProcessStand> {
    const stand = new ProcessStand(settings);
    await stand.startAgent();
    return stand;
  }

  async startAgent(): Promise<void> {
    const judge = new NodeJudge();
    judge.setInventory(this.#inventory);
    const watch = new Watch(this.#server, (uid) => judge.release(uid));
    this.#watch = watch;
    const deps = { witness: this.#witness(), pods: this.#pods(watch), judge, specs: this.#store(watch) };
    const inventory = (): Inventory => this.#inventory;
    await recoverGrants({ ...deps, inventory, report: () => undefined });
    const handlers = this.#handlers({ ...deps, inventory });
    this.#register = () => {
      this.#endpoints = [
        endpointOf(MEMORY, memoryDevices(this.#inventory.gpus), handlers),
        endpointOf(CORE, coreDevices(this.#inventory.gpus), coreHandlers()),
      ];
      for (const endpoint of this.#endpoints) this.kubelet.attach(endpoint);
    };
    this.#register();
  }

  /** As by SIGKILL: its calls are cut, it writes nothing more, and the kubelet finds its endpoints dead. */
  async stopAgent(): Promise<void> {
    for (const endpoint of this.#endpoints) endpoint.close();
    this.#register = () => undefined;
    this.#watch = new Watch(new Map(), () => undefined);
    await this.pause(1);
  }

  async kubeletIsBack(): Promise<void> {
    await this.pause(4);
    this.#register();
  }

  holdWatch(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  bind(sketch: StandPod): FakePod {
    const { manifest, pod } = boundPod(sketch);
    this.#change(pod.name, manifest);
    return pod;
  }

  forge({ name }: FakePod, annotation: string): void {
    const manifest = this.#manifests.get(name);
    if (manifest === undefined) return;
    const annotations = { ...manifest.metadata?.annotations, [ALLOCATION_ANNOTATION]: annotation };
    this.#change(name, { ...manifest, metadata: { ...manifest.metadata, annotations } });
  }

  completePod(name: string): void {
    this.#change(name, { ...this.#manifests.get(name), status: { phase: 'Succeeded' } });
  }

  deletePod(name: string): void {
    const record = this.#server.get(name);
    this.#server.delete(name);
    this.#manifests.delete(name);
    if (record !== undefined) this.#tell((watch) => watch.gone(record));
  }

  allocation(gpus: readonly number[]): string {
    return allocationOf(gpus);
  }

  environmentOf(pod: FakePod, container: string): Readonly<Record<string, string>> | undefined {
    const ids = this.kubelet.idsOf(pod.uid, container, MEMORY);
    if (this.#settings.binding === 'env') return this.kubelet.responseOf(pod.uid, container, MEMORY)?.envs;
    const text = ids.length === 0 ? undefined : this.#specs.get(deviceKey(ids));
    return text === undefined ? undefined : specEnvironment(text);
  }

  /** Some turns of the event loop. */
  async pause(millis: number): Promise<void> {
    for (let turn = 0; turn < millis; turn++) await new Promise(setImmediate);
  }

  async stop(): Promise<void> {
    await this.kubelet.stop();
  }

  readonly #manifests = new Map<string, PodManifest>();

  #change(name: string, manifest: PodManifest): void {
    const record = podRecord(manifest, PROFILES.gpuloom);
    if (record === undefined) throw new Error('a pod has an identity');
    this.#manifests.set(name, manifest);
    this.#server.set(name, record);
    this.#tell((watch) => watch.changed(record));
  }

  /** The watch is told later, in order, and of nothing that came before it began. */
  #tell(event: (watch: Watch) => void): void {
    const watch = this.#watch;
    watch.after(
      () => this.#gate,
      () => event(watch),
    );
  }

  #witness(): KubeletWitness {
    const { kubelet } = this;
    return {
      async holdings() {
        await new Promise(setImmediate);
        return kubelet.podResources().flatMap(({ namespace, name: pod, containers }) =>
          containers.flatMap(({ name: container, devices }) => {
            const ids = devices
              .filter(({ resource_name }) => resource_name === MEMORY)
              .flatMap((each) => each.device_ids);
            return ids.length === 0 ? [] : [{ namespace, pod, container, ids }];
          }),
        );
      },
      checkpoint: () =>
        Promise.resolve(
          kubelet.recorded
            .filter(({ resourceName }) => resourceName === MEMORY)
            .map(({ podUid, container, ids, encodedResponse }) => ({
              ...{ podUid, container, ids },
              allocation: Buffer.from(encodedResponse, 'base64'),
            })),
        ),
    };
  }

  #pods(watch: Watch): NodePods {
    const readLive = async (_: string, name: string): Promise<PodRecord | undefined> => {
      await new Promise(setImmediate);
      return this.#server.get(name);
    };
    const readAll = (): Promise<readonly PodRecord[]> =>
      Promise.resolve([...this.#server.values()].filter(({ terminal }) => !terminal));
    return {
      byUid: (uid) => watch.pods.get(uid),
      byName: (_, name) => [...watch.pods.values()].findLast((pod) => pod.name === name),
      all: () => watch.pods.values(),
      readLive,
      readAll,
    };
  }

  /** Of the agent that has this watch, for as long as it lives. */
  #store(watch: Watch): SpecStore {
    const specs = this.#specs;
    const change = (action: () => void): Promise<void> => {
      if (this.#watch === watch) action();
      return Promise.resolve();
    };
    return {
      write: (key, text) => change(() => specs.set(key, text)),
      list: () => Promise.resolve([...specs].map(([key, text]) => ({ key, text }))),
      remove: (key) => change(() => specs.delete(key)),
    };
  }

  #handlers(deps: {
    readonly witness: KubeletWitness;
    readonly pods: NodePods;
    readonly judge: NodeJudge;
    readonly specs: SpecStore;
    readonly inventory: () => Inventory;
  }): PluginHandlers {
    const settings = () => ({ profile: 'gpuloom' as const, unitMiB: 1024, mps: undefined, disablesIsolation: false });
    const limits = { whyUnenforced: () => Promise.resolve(undefined) };
    const common = { ...deps, settings, limits, refusals: { refused: () => undefined } };
    const ready = (): Promise<void> => Promise.resolve();
    if (this.#settings.binding === 'cdi')
      return cdiHandlers(new LateBinding({ ...common, deviceNodes: () => [], mounts: [] }), ready);
    const env = new EnvBinding({
      ...common,
      gpuOfId: (id) => {
        const parsed = parseSliceId(id);
        return parsed.kind === 'slice' ? parsed.uuid : undefined;
      },
      environmentIn: (allocation) => api.decodeContainerAllocation(allocation).envs,
    });
    return envHandlers(env, [], ready, () => this.pause(1));
  }
}

/** The pods of the node as the agent's watch shows them. */
class Watch {
  readonly pods = new Map<string, PodRecord>();
  readonly #onGone: (uid: string) => void;
  #events: Promise<void> = Promise.resolve();

  constructor(listed: ReadonlyMap<string, PodRecord>, onGone: (uid: string) => void) {
    this.#onGone = onGone;
    for (const pod of listed.values()) if (!pod.terminal) this.pods.set(pod.uid, pod);
  }

  changed(pod: PodRecord): void {
    if (pod.terminal) this.gone(pod);
    else this.pods.set(pod.uid, pod);
  }

  gone({ uid }: PodRecord): void {
    if (this.pods.delete(uid)) this.#onGone(uid);
  }

  after(gate: () => Promise<void>, event: () => void): void {
    const earlier = this.#events;
    const inTurn = async (): Promise<void> => {
      await earlier;
      await gate();
      event();
    };
    this.#events = inTurn();
  }
}

function endpointOf(resourceName: string, devices: readonly PluginDevice[], handlers: PluginHandlers): KubeletEndpoint {
  const call = { signal: new AbortController().signal, waitingFor: () => undefined };
  let isClosed = false;
  const { Allocate, GetPreferredAllocation, PreStartContainer } = api.devicePlugin;
  const answer = async (path: string, request: unknown): Promise<unknown> => {
    if (path === PreStartContainer.path) {
      await handlers.preStart((request as PreStartContainerRequest).devices_ids, call);
      return {};
    }
    if (path === Allocate.path) {
      const [asked] = (request as AllocateRequest).container_requests;
      return { container_responses: [allocationMessage(await handlers.allocate(asked?.devices_ids ?? [], call))] };
    }
    const [asked] = (request as PreferredAllocationRequest).container_requests;
    if (asked === undefined || path !== GetPreferredAllocation.path) throw new Error(`nobody answers ${path}`);
    const { available_deviceIDs: available, must_include_deviceIDs: mustInclude, allocation_size: size } = asked;
    const question = { available, mustInclude, size };
    return {
      container_responses: [{ deviceIDs: completedPreference(question, await handlers.prefer(question, call)) }],
    };
  };
  return {
    resourceName,
    options: {
      pre_start_required: resourceName === MEMORY,
      get_preferred_allocation_available: resourceName === MEMORY,
    },
    devices: devices.map(({ id, healthy: isHealthy }) => ({ id, isHealthy, numaNodes: [] })),
    get healthyIds() {
      return isClosed ? [] : devices.map(({ id }) => id);
    },
    async call<Request, Response>(method: MethodDefinition<Request, Response>, request: Request): Promise<Response> {
      await new Promise(setImmediate);
      if (isClosed) throw new Error('the connection was closed');
      const response = await answer(method.path, request);
      if (isClosed) throw new Error('the connection was closed');
      return response as Response;
    },
    close: () => {
      isClosed = true;
    },
  };
}
