// Stands in for gpushare's device plugin (gpushare-device-plugin 45fb8b8), written from its contract: opaque slice ids,
// an Allocate that guesses the pod by size and oldest assume time among the node's pending pods and marks it as assigned,
// and an answer of success with a poisoned environment where it finds none. The kubelet's side is our own.

import type { DevicePlugin } from '../../../device-plugin/kubelet/device-plugin.ts';
import { startDevicePlugin } from '../../../device-plugin/kubelet/device-plugin.ts';
import type { ContainerAllocation } from '../../../device-plugin/kubelet/handlers.ts';
import type { ApiClient } from '../api.ts';
import { podsPath } from '../cluster.ts';
import type { LivePod } from '../cluster.ts';
import { nowNanos, slicesOf } from '../gpushare-extender.ts';
import type { NodeGpu } from './gpu-node.ts';
import type { RealNode } from './node.ts';

const MEMORY = 'aliyun.com/gpu-mem';
const COUNT = 'aliyun.com/gpu-count';
const PREFIX = 'ALIYUN_COM_GPU_MEM';
const PATCH = 'application/strategic-merge-patch+json';

export class GpusharePlugin {
  readonly #api: ApiClient;
  readonly #node: RealNode;
  readonly #gpus: readonly NodeGpu[];
  readonly #plugin: DevicePlugin;
  /** Its one mutex. */
  #allocating: Promise<unknown> = Promise.resolve();

  private constructor(api: ApiClient, node: RealNode, gpus: readonly NodeGpu[]) {
    this.#api = api;
    this.#node = node;
    this.#gpus = gpus;
    this.#plugin = startDevicePlugin({
      resourceName: MEMORY,
      kubeletDir: node.devicePluginDir,
      socketPrefix: 'aliyungpushare',
      preStartRequired: false,
      preferredAvailable: false,
      report: () => undefined,
      handlers: {
        allocate: (ids) => this.#inTurn(ids.length),
        preStart: () => Promise.reject(new Error('gpushare has no PreStartContainer')),
        prefer: () => [],
      },
    });
  }

  /** Writes the number of GPUs into the node's status, then announces the slices. */
  static async start(api: ApiClient, node: RealNode, gpus: readonly NodeGpu[]): Promise<GpusharePlugin> {
    const amounts = { [COUNT]: String(gpus.length) };
    const status = { capacity: amounts, allocatable: amounts };
    await api.call('PATCH', `/api/v1/nodes/${node.name}/status`, { status }, PATCH);
    const plugin = new GpusharePlugin(api, node, gpus);
    const ids = gpus.flatMap(({ uuid }) => Array.from({ length: plugin.#size }, (_, at) => `${uuid}-_-${at}`));
    plugin.#plugin.setDevices(ids.map((id) => ({ id, healthy: true })));
    return plugin;
  }

  stop(): Promise<void> {
    return this.#plugin.stop();
  }

  /** The first GPU's memory stands for all. */
  get #size(): number {
    return this.#gpus[0]?.slices ?? 0;
  }

  #inTurn(slices: number): Promise<ContainerAllocation> {
    const answer = this.#allocating.then(() => this.#allocate(slices));
    this.#allocating = answer.catch(() => undefined);
    return answer;
  }

  async #allocate(slices: number): Promise<ContainerAllocation> {
    const candidate = (await this.#candidates()).find((pod) => slicesOf(pod) === slices);
    if (candidate === undefined) {
      const [only, ...others] = this.#gpus;
      if (only === undefined || others.length > 0) return this.#poison(slices);
      return { env: this.#environment(only.uuid, '0', slices) };
    }
    const index = candidate.metadata?.annotations?.[`${PREFIX}_IDX`] ?? '-1';
    if (this.#gpus[Number(index)] === undefined) return this.#poison(slices);
    const annotations = { [`${PREFIX}_ASSIGNED`]: 'true', [`${PREFIX}_ASSUME_TIME`]: nowNanos() };
    const { namespace = '', name = '' } = candidate.metadata ?? {};
    await this.#api.call('PATCH', `${podsPath(namespace)}/${name}`, { metadata: { annotations } }, PATCH);
    return { env: this.#environment(index, index, slices) };
  }

  /** Pending pods of this node that were assumed and not yet assigned, the first assumed first. */
  async #candidates(): Promise<readonly LivePod[]> {
    const selector = encodeURIComponent(`spec.nodeName=${this.#node.name},status.phase=Pending`);
    const { items } = await this.#api.list<LivePod>(`/api/v1/pods?fieldSelector=${selector}`);
    const assumedAt = ({ metadata }: LivePod): bigint => BigInt(metadata?.annotations?.[`${PREFIX}_ASSUME_TIME`] ?? 0);
    return items
      .filter((pod) => {
        const annotations = pod.metadata?.annotations ?? {};
        return slicesOf(pod) > 0 && assumedAt(pod) > 0n && annotations[`${PREFIX}_ASSIGNED`] === 'false';
      })
      .toSorted((a, b) => (assumedAt(a) < assumedAt(b) ? -1 : 1));
  }

  #environment(visible: string, index: string, slices: number): Readonly<Record<string, string>> {
    return {
      NVIDIA_VISIBLE_DEVICES: visible,
      [`${PREFIX}_IDX`]: index,
      [`${PREFIX}_POD`]: String(slices),
      [`${PREFIX}_CONTAINER`]: String(slices),
      [`${PREFIX}_DEV`]: String(this.#size),
    };
  }

  #poison(slices: number): ContainerAllocation {
    return { env: this.#environment(`no-gpu-has-${slices}GiB-to-run`, '-1', slices) };
  }
}
