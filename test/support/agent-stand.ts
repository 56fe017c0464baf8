// A whole agent between a fake kubelet and the embedded API server, with GPUs from a file that the test may edit.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deviceKey } from '../../device-plugin/binding/cdi-spec.ts';
import { startAgent, type Agent } from '../../device-plugin/agent.ts';
import type { AgentOptions } from '../../device-plugin/agent-options.ts';
import { chooseInventory } from '../../device-plugin/inventory/choose.ts';
import { kubeconfigCredentials } from '../../device-plugin/kube/credentials.ts';
import { createRestClient, type NodeKubeApi } from '../../device-plugin/kube/rest.ts';
import { encodeAllocation } from '../../extender/core/allocation-codec.ts';
import { ALLOCATION_ANNOTATION } from '../../extender/core/resources.ts';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { FakeKubelet, type FakeContainer, type FakeKubeletSettings, type FakePod } from './fake-kubelet.ts';

export const MEMORY = 'gpuloom.io/gpu-mem';
export const CORE = 'gpuloom.io/gpu-core';

export interface StandPod {
  readonly name: string;
  /** `uid-<name>` where it is not given. */
  readonly uid?: string;
  /** Slices of each container, in order; the first `init` of them are init containers. */
  readonly slices: readonly number[];
  readonly init?: number;
  readonly count?: number;
  /** Percent of compute of each container, over all of its GPUs. */
  readonly core?: number;
  /** GPU indices of the allocation; none = the pod came past the extender. */
  readonly gpus?: readonly number[];
  /** The allocation annotation as it stands, instead of one that names `gpus`. */
  readonly annotation?: string;
}

export class AgentStand {
  readonly server = new EmbeddedApiServer();
  readonly folder = mkdtempSync(join(tmpdir(), 'gpuloom-stand-'));
  readonly warnings: string[] = [];
  readonly #random: () => number;
  readonly #options: Partial<AgentOptions>;
  /** How often the inventory file is looked at; undefined: as in production. Taken up by the next agent. */
  pollMillis: number | undefined = 20;
  kubelet!: FakeKubelet;
  agent!: Agent;
  #api!: NodeKubeApi;
  /** What the agent's watches wait for before each line. */
  #watchGate: Promise<void> = Promise.resolve();

  private constructor(random: () => number, options: Partial<AgentOptions>) {
    this.#random = random;
    this.#options = options;
  }

  static async start(
    gpuMemoriesMiB: readonly number[],
    random: () => number,
    options: Partial<AgentOptions> = {},
    generation: FakeKubeletSettings['generation'] = 'old',
  ): Promise<AgentStand> {
    const stand = new AgentStand(random, options);
    await stand.server.listen();
    stand.server.cluster.create('nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'gpu-1' }, status: {} });
    stand.writeGpus(gpuMemoriesMiB);
    mkdirSync(stand.#path('k'));
    stand.kubelet = await FakeKubelet.start({ directory: stand.#path('k'), generation, random: stand.#random });
    await stand.startAgent();
    return stand;
  }

  uuid(index: number): string {
    return standUuid(index);
  }

  writeGpus(memoriesMiB: readonly number[], unhealthy: readonly number[] = []): void {
    const gpus = memoriesMiB.map((memoryMiB, index) => {
      const health = unhealthy.includes(index) ? '\n    health: unhealthy' : '';
      return `  - uuid: ${this.uuid(index)}\n    model: A100\n    memoryMiB: ${memoryMiB}${health}`;
    });
    writeFileSync(this.#path('gpus.yaml'), `gpus:\n${gpus.join('\n')}\n`);
  }

  async startAgent(): Promise<void> {
    const kubeconfig = this.#path('kubeconfig');
    writeFileSync(kubeconfig, this.server.kubeconfig());
    const api = createRestClient(kubeconfigCredentials(kubeconfig), 'gpuloom-device-plugin/test');
    this.#api = heldBack(api, () => this.#watchGate);
    const { source } = await chooseInventory(`file:${this.#path('gpus.yaml')}`, {
      file: this.pollMillis === undefined ? {} : { pollMillis: this.pollMillis },
    });
    this.agent = await startAgent({
      nodeName: 'gpu-1',
      profile: 'gpuloom',
      source,
      api: this.#api,
      kubeletDir: this.#path('k'),
      podResourcesSocket: this.kubelet.podResourcesSocket,
      cdiDir: this.#path('cdi'),
      binding: 'cdi',
      unitMiB: 1024,
      isolation: 'none',
      deviceNodes: 'none',
      listen: { host: '127.0.0.1', port: 0 },
      log: {
        info: () => undefined,
        warn: (message) => this.warnings.push(message),
        error: (message) => this.warnings.push(message),
      },
      ...this.#options,
    });
  }

  async stopAgent(): Promise<void> {
    await this.agent.stop();
    this.#api.close();
  }

  /** The agent's watches show nothing new until the returned function is called; its reads are not held back. */
  holdWatch(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#watchGate = promise;
    return resolve;
  }

  /** Creates the pod at the API server as the extender would have bound it; returns it as the kubelet sees it. */
  bind(sketch: StandPod): FakePod {
    const { manifest, pod } = boundPod(sketch);
    this.server.cluster.create('pods', manifest);
    return pod;
  }

  deletePod(name: string): void {
    this.server.cluster.delete('pods', 'default', name, { gracePeriodSeconds: 0 });
  }

  completePod(name: string): void {
    this.server.cluster.setPodPhase('default', name, 'Succeeded');
  }

  /** The agent notices by itself. */
  kubeletIsBack(): Promise<void> {
    return Promise.resolve();
  }

  pause(millis: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, millis));
  }

  /** Somebody writes another allocation into the pod. */
  forge({ namespace, name }: FakePod, annotation: string): void {
    this.server.cluster.patch('pods', namespace, name, {
      metadata: { annotations: { [ALLOCATION_ANNOTATION]: annotation } },
    });
  }

  /** The annotation that names these GPUs. */
  allocation(gpus: readonly number[]): string {
    return allocationOf(gpus);
  }

  /** What the runtime gives the container: the environment of the CDI device for its ids, or that of Allocate's answer. */
  environmentOf(pod: FakePod, container: string): Readonly<Record<string, string>> | undefined {
    const key = deviceKey(this.kubelet.idsOf(pod.uid, container, MEMORY));
    if (this.#options.binding === 'env') return this.kubelet.responseOf(pod.uid, container, MEMORY)?.envs;
    const file = this.#path(`cdi/gpuloom-${key}.json`);
    return existsSync(file) ? specEnvironment(readFileSync(file, 'utf8')) : undefined;
  }

  async stop(): Promise<void> {
    await this.stopAgent();
    await this.kubelet.stop();
    await this.server.close();
    rmSync(this.folder, { recursive: true });
  }

  #path(name: string): string {
    return join(this.folder, name);
  }
}

/** The environment that a CDI spec gives. */
export function specEnvironment(text: string): Readonly<Record<string, string>> {
  const { devices } = JSON.parse(text) as { devices: { containerEdits: { env: string[] } }[] };
  const env = devices[0]?.containerEdits.env ?? [];
  return Object.fromEntries(env.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

export function standUuid(index: number): string {
  return `GPU-${index}`;
}

export function allocationOf(gpus: readonly number[]): string {
  const grants = gpus.map((index) => ({ uuid: standUuid(index), index, slices: 1, core: 0 }));
  return encodeAllocation({ containers: [{ name: 'c0', gpus: grants }] });
}

/** A pod as the extender would have bound it, and as the kubelet sees it. */
export function boundPod(sketch: StandPod): { readonly manifest: object; readonly pod: FakePod } {
  const { name, uid = `uid-${name}`, slices, init = 0, count = 1, core = 0, gpus } = sketch;
  const containers = slices.map((amount, at) => ({
    name: `c${at}`,
    limits: { [MEMORY]: amount, ...(core > 0 ? { [CORE]: core } : {}) },
  }));
  const annotation = sketch.annotation ?? (gpus === undefined ? undefined : allocationOf(gpus));
  const manifest = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'default',
      uid,
      labels: count > 1 ? { 'gpuloom.io/gpu-count': String(count) } : {},
      annotations: annotation === undefined ? {} : { [ALLOCATION_ANNOTATION]: annotation },
    },
    spec: {
      nodeName: 'gpu-1',
      initContainers: containers.slice(0, init).map(manifestOf),
      containers: containers.slice(init).map(manifestOf),
    },
    status: { phase: 'Pending' },
  };
  const [initContainers, main] = [containers.slice(0, init), containers.slice(init)];
  return { manifest, pod: { uid, namespace: 'default', name, initContainers, containers: main } };
}

function manifestOf({ name, limits }: FakeContainer): object {
  const written = Object.fromEntries(Object.entries(limits).map(([resource, amount]) => [resource, String(amount)]));
  return { name, image: 'none', resources: { limits: written } };
}

function heldBack(api: NodeKubeApi, gate: () => Promise<void>): NodeKubeApi {
  return {
    request: (method, path, request) => api.request(method, path, request),
    close: () => api.close(),
    async stream(path, query, signal) {
      const stream = await api.stream(path, query, signal);
      return stream.kind === 'open' ? { kind: 'open', lines: gatedLines(stream.lines, gate) } : stream;
    },
  };
}

async function* gatedLines(lines: AsyncIterable<string>, gate: () => Promise<void>): AsyncIterable<string> {
  for await (const line of lines) {
    await gate();
    yield line;
  }
}
