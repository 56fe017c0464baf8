// Stands in for gpushare's scheduler extender (gpushare-scheduler-extender c0b6141), written from its contract: its two
// paths and texts, best fit over GPUs of equal size, the annotation patched first and the Binding sent second, one bind
// at a time. Two differences: its cache is a fresh list each time, and it has no inspect path and no unhealthy list.

import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import { text } from 'node:stream/consumers';

import type { ExtenderArgs, ExtenderBindingArgs, ExtenderFilterResult } from '../../extender/app/extender-api.ts';
import type { ApiClient } from './api.ts';
import { podsPath } from './cluster.ts';
import type { LiveNode, LivePod } from './cluster.ts';

const MEMORY = 'aliyun.com/gpu-mem';
const COUNT = 'aliyun.com/gpu-count';
const ROOT = '/gpushare-scheduler';

export class GpushareExtender {
  readonly #api: ApiClient;
  readonly #server: Server;
  #binding: Promise<void> = Promise.resolve();

  private constructor(api: ApiClient) {
    this.#api = api;
    this.#server = createServer((incoming, outgoing) => {
      this.#answer(incoming).then(
        ({ status, body }) =>
          outgoing.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
        (cause: unknown) => outgoing.writeHead(500).end(String(cause)),
      );
    });
  }

  static async start(api: ApiClient): Promise<GpushareExtender> {
    const extender = new GpushareExtender(api);
    await new Promise<void>((resolve) => extender.#server.listen(0, '127.0.0.1', resolve));
    return extender;
  }

  get origin(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the extender does not listen');
    return `http://127.0.0.1:${address.port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(incoming: IncomingMessage): Promise<{ readonly status: number; readonly body: unknown }> {
    const body: unknown = JSON.parse(await text(incoming));
    if (incoming.url === `${ROOT}/filter`) return { status: 200, body: await this.#filter(body as ExtenderArgs) };
    if (incoming.url !== `${ROOT}/bind`) return { status: 404, body: {} };
    const bound = this.#binding.then(() => this.#bind(body as ExtenderBindingArgs));
    this.#binding = bound.catch(() => undefined);
    return bound.then(
      () => ({ status: 200, body: { Error: '' } }),
      (cause: unknown) => ({ status: 500, body: { Error: String(cause) } }),
    );
  }

  async #filter({ Pod, NodeNames }: ExtenderArgs): Promise<ExtenderFilterResult> {
    const wanted = slicesOf(Pod as LivePod);
    const fitting: LiveNode[] = [];
    const failed: Record<string, string> = {};
    for (const name of NodeNames ?? []) {
      const node = await this.#api.get<LiveNode>(`/api/v1/nodes/${name}`);
      if (deviceSizes(node).length === 0) failed[name] = `The node ${name} is not for GPU share, need skip`;
      else if ((await this.#freeOf(node)).some((free) => free >= wanted)) fitting.push(node);
      else failed[name] = 'Insufficient GPU Memory in one device';
    }
    return {
      Nodes: { items: fitting },
      NodeNames: fitting.map(({ metadata }) => metadata?.name ?? ''),
      FailedNodes: failed,
      FailedAndUnresolvableNodes: {},
      Error: '',
    };
  }

  async #bind({ PodName = '', PodNamespace = '', PodUID, Node = '' }: ExtenderBindingArgs): Promise<void> {
    const path = `${podsPath(PodNamespace)}/${PodName}`;
    const pod = await this.#api.get<LivePod>(path);
    if (pod.metadata?.uid !== PodUID) throw new Error(`the pod ${PodName} in ns ${PodNamespace}'s uid is another`);
    const node = await this.#api.get<LiveNode>(`/api/v1/nodes/${Node}`);
    const wanted = slicesOf(pod);
    const free = await this.#freeOf(node);
    const fitting = free.map((left, index) => ({ left, index })).filter(({ left }) => left >= wanted);
    const [best] = fitting.toSorted((a, b) => a.left - b.left || a.index - b.index);
    if (best === undefined || wanted <= 0) throw new Error(`the node ${Node} can't place the pod ${PodName}`);
    const annotations = {
      ALIYUN_COM_GPU_MEM_IDX: String(best.index),
      ALIYUN_COM_GPU_MEM_DEV: String(deviceSizes(node)[0]),
      ALIYUN_COM_GPU_MEM_POD: String(wanted),
      ALIYUN_COM_GPU_MEM_ASSIGNED: 'false',
      ALIYUN_COM_GPU_MEM_ASSUME_TIME: nowNanos(),
    };
    const patch = 'application/strategic-merge-patch+json';
    await this.#api.call('PATCH', path, { metadata: { annotations } }, patch);
    await this.#api.create(`${path}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: PodName, uid: PodUID },
      target: { apiVersion: 'v1', kind: 'Node', name: Node },
    });
  }

  /** Free slices of each GPU: what the annotations of pods say, deleted ones not counted any more. */
  async #freeOf(node: LiveNode): Promise<readonly number[]> {
    const free = [...deviceSizes(node)];
    const { items } = await this.#api.list<LivePod>('/api/v1/pods');
    for (const { metadata, spec, status } of items) {
      const isComplete =
        metadata?.deletionTimestamp !== undefined || status?.phase === 'Succeeded' || status?.phase === 'Failed';
      const index = Number(metadata?.annotations?.['ALIYUN_COM_GPU_MEM_IDX'] ?? -1);
      if (isComplete || spec?.nodeName !== node.metadata?.name || index < 0) continue;
      free[index] = (free[index] ?? 0) - Number(metadata?.annotations?.['ALIYUN_COM_GPU_MEM_POD'] ?? 0);
    }
    return free;
  }
}

/** Nanoseconds since 1970 as gpushare writes them, from a clock of milliseconds and one of finer steps. */
export function nowNanos(): string {
  return String(BigInt(Date.now()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n));
}

/** Sum of the containers' limits; init containers do not count. */
export function slicesOf(pod: LivePod): number {
  const containers = pod.spec?.containers ?? [];
  return containers.reduce((sum, { resources }) => sum + Number(resources?.limits?.[MEMORY] ?? 0), 0);
}

/** The node's capacity evenly over its GPUs; none on a node that is not for sharing. */
function deviceSizes({ status }: LiveNode): readonly number[] {
  const total = Number(status?.capacity?.[MEMORY] ?? 0);
  const count = Number(status?.capacity?.[COUNT] ?? 0);
  return total > 0 && count > 0 ? Array.from({ length: count }, () => Math.floor(total / count)) : [];
}
