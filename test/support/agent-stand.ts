// A whole agent between a fake kubelet and the embedded API server, with GPUs from a file that the test may edit.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
import { FakeKubelet, type FakePod } from './fake-kubelet.ts';

export const MEMORY = 'gpuloom.io/gpu-mem';

export interface StandPod {
  readonly name: string;
  /** Slices of each container, in order; the first `init` of them are init containers. */
  readonly slices: readonly number[];
  readonly init?: number;
  readonly count?: number;
  /** GPU indices of the allocation; none = the pod came past the extender. */
  readonly gpus?: readonly number[];
}

export class AgentStand {
  readonly server = new EmbeddedApiServer();
  readonly folder = mkdtempSync(join(tmpdir(), 'gpuloom-stand-'));
  readonly warnings: string[] = [];
  readonly #random: () => number;
  readonly #options: Partial<AgentOptions>;
  kubelet!: FakeKubelet;
  agent!: Agent;
  #api!: NodeKubeApi;

  private constructor(random: () => number, options: Partial<AgentOptions>) {
    this.#random = random;
    this.#options = options;
  }

  static async start(
    gpuMemoriesMiB: readonly number[],
    random: () => number,
    options: Partial<AgentOptions> = {},
  ): Promise<AgentStand> {
    const stand = new AgentStand(random, options);
    await stand.server.listen();
    stand.server.cluster.create('nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'gpu-1' }, status: {} });
    stand.writeGpus(gpuMemoriesMiB);
    mkdirSync(stand.#path('k'));
    stand.kubelet = await FakeKubelet.start({ directory: stand.#path('k'), generation: 'old', random: stand.#random });
    await stand.startAgent();
    return stand;
  }

  uuid(index: number): string {
    return `GPU-${index}`;
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
    this.#api = createRestClient(kubeconfigCredentials(kubeconfig), 'gpuloom-device-plugin/test');
    const { source } = await chooseInventory(`file:${this.#path('gpus.yaml')}`, { file: { pollMillis: 20 } });
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

  /** Creates the pod at the API server as the extender would have bound it; returns it as the kubelet sees it. */
  bind({ name, slices, init = 0, count = 1, gpus }: StandPod): FakePod {
    const containers = slices.map((amount, at) => ({ name: `c${at}`, limits: { [MEMORY]: amount } }));
    const grants = (gpus ?? []).map((index) => ({ uuid: this.uuid(index), index, slices: 1, core: 0 }));
    const allocation = encodeAllocation({ containers: [{ name: 'c0', gpus: grants }] });
    const manifest = (list: typeof containers) =>
      list.map(({ name: container, limits }) => ({
        name: container,
        image: 'none',
        resources: { limits: { [MEMORY]: String(limits[MEMORY]) } },
      }));
    this.server.cluster.create('pods', {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'default',
        uid: `uid-${name}`,
        labels: count > 1 ? { 'gpuloom.io/gpu-count': String(count) } : {},
        annotations: gpus === undefined ? {} : { [ALLOCATION_ANNOTATION]: allocation },
      },
      spec: {
        nodeName: 'gpu-1',
        initContainers: manifest(containers.slice(0, init)),
        containers: manifest(containers.slice(init)),
      },
      status: { phase: 'Pending' },
    });
    return {
      uid: `uid-${name}`,
      namespace: 'default',
      name,
      initContainers: containers.slice(0, init),
      containers: containers.slice(init),
    };
  }

  /** What the runtime gives the container: the environment of the CDI device for its ids, or that of Allocate's answer. */
  environmentOf(pod: FakePod, container: string): Readonly<Record<string, string>> | undefined {
    const key = deviceKey(this.kubelet.idsOf(pod.uid, container, MEMORY));
    if (this.#options.binding === 'env') return this.kubelet.responseOf(pod.uid, container, MEMORY)?.envs;
    const file = readdirSync(this.#path('cdi')).find((each) => each.includes(key));
    if (file === undefined) return undefined;
    const { devices } = JSON.parse(readFileSync(this.#path(`cdi/${file}`), 'utf8')) as {
      devices: { containerEdits: { env: string[] } }[];
    };
    const env = devices[0]?.containerEdits.env ?? [];
    return Object.fromEntries(env.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
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
