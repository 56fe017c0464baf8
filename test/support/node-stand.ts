// A node for binding tests without gRPC: pods, the kubelet's two witnesses, and spec files in memory.

import type { CheckpointHolding, ContainerHolding } from '../../device-plugin/binding/owner.ts';
import type { Environment } from '../../device-plugin/binding/container-env.ts';
import { EnvBinding } from '../../device-plugin/binding/env-binding.ts';
import { NodeJudge } from '../../device-plugin/binding/judge.ts';
import { LateBinding } from '../../device-plugin/binding/late-binding.ts';
import type { KubeletWitness, NodePods, SpecStore } from '../../device-plugin/ports.ts';
import { encodeAllocation } from '../../extender/core/allocation-codec.ts';
import type { Inventory, IsolationLevel, PodRecord } from '../../extender/core/model.ts';
import { ALLOCATION_ANNOTATION } from '../../extender/core/resources.ts';
import { node, pod, type GpuSketch, type PodSketch } from './builders.ts';

export function inventoryOf(gpus: readonly GpuSketch[]): Inventory {
  const record = node({ name: 'this', gpus });
  if (record.gpus.kind !== 'inventory') throw new Error('the sketch has GPUs');
  return record.gpus.inventory;
}

/** A pod of this node as the extender would have bound it. */
export function allocatedPod(sketch: PodSketch, gpus: readonly number[]): PodRecord {
  const grants = gpus.map((index) => ({ uuid: `GPU-this-${index}`, index, slices: 1, core: 0 }));
  const allocation = encodeAllocation({ containers: [{ name: 'main', gpus: grants }] });
  return pod({
    ...sketch,
    nodeName: 'this',
    annotations: { ...sketch.annotations, [ALLOCATION_ANNOTATION]: allocation },
  });
}

export class NodeStand implements KubeletWitness, NodePods, SpecStore {
  readonly judge = new NodeJudge();
  readonly late: LateBinding;
  readonly env: EnvBinding;
  readonly refusals: string[] = [];
  /** Why limits would not be enforced now. */
  unenforced: string | undefined;
  readonly specs = new Map<string, string>();
  readonly held: ContainerHolding[] = [];
  readonly recorded: CheckpointHolding[] = [];
  /** Pods that only a live read shows. */
  readonly unseen: PodRecord[] = [];
  liveReads = 0;
  inventory: Inventory;
  readonly #pods = new Map<string, PodRecord>();

  constructor(gpus: readonly GpuSketch[]) {
    this.inventory = inventoryOf(gpus);
    this.judge.setInventory(this.inventory);
    const common = {
      witness: this,
      pods: this,
      judge: this.judge,
      refusals: { refused: (_: PodRecord | undefined, why: string) => this.refusals.push(why) },
      limits: { whyUnenforced: () => Promise.resolve(this.unenforced) },
      inventory: () => this.inventory,
      settings: () => ({ profile: 'gpuloom' as const, unitMiB: 1024, mps: undefined, disablesIsolation: false }),
    };
    this.late = new LateBinding({ ...common, specs: this, deviceNodes: () => [], mounts: [] });
    this.env = new EnvBinding({
      ...common,
      specs: this,
      gpuOfId: (id) => (id.includes('::') ? id.split('::')[0] : undefined),
      environmentIn: (allocation) => JSON.parse(allocation.toString()) as Readonly<Record<string, string>>,
    });
  }

  /** The agent was started again with another level of isolation. */
  offer(isolation: IsolationLevel): void {
    this.inventory = { ...this.inventory, isolation };
    this.judge.setInventory(this.inventory);
  }

  /** A GPU is found to be unhealthy. */
  ail(index: number): void {
    const gpus = this.inventory.gpus.map((gpu) =>
      gpu.index === index ? { ...gpu, health: 'unhealthy' as const } : gpu,
    );
    this.inventory = { ...this.inventory, gpus };
    this.judge.setInventory(this.inventory);
  }

  show(record: PodRecord): void {
    this.#pods.set(record.uid, record);
  }

  gone(uid: string): void {
    this.#pods.delete(uid);
    this.judge.release(uid);
  }

  /** The kubelet has admitted a container with these ids. */
  admit(record: PodRecord, container: string, ids: readonly string[], answer?: Environment): void {
    this.held.push({ namespace: record.namespace, pod: record.name, container, ids });
    const allocation = answer === undefined ? {} : { allocation: Buffer.from(JSON.stringify(answer)) };
    this.recorded.push({ podUid: record.uid, container, ids, ...allocation });
  }

  holdings = (): Promise<readonly ContainerHolding[]> => Promise.resolve(this.held);
  checkpoint = (): Promise<readonly CheckpointHolding[]> => Promise.resolve(this.recorded);
  byUid = (uid: string): PodRecord | undefined => this.#pods.get(uid);
  all = (): Iterable<PodRecord> => this.#pods.values();
  byName = (namespace: string, name: string): PodRecord | undefined =>
    [...this.#pods.values()].find((each) => each.namespace === namespace && each.name === name);
  readLive = (namespace: string, name: string): Promise<PodRecord | undefined> => {
    this.liveReads++;
    const found = this.unseen.find((each) => each.namespace === namespace && each.name === name);
    return Promise.resolve(found ?? this.byName(namespace, name));
  };
  readAll = (): Promise<readonly PodRecord[]> => Promise.resolve([...this.#pods.values(), ...this.unseen]);
  write = (key: string, text: string): Promise<void> => {
    this.specs.set(key, text);
    return Promise.resolve();
  };
  list = (): Promise<readonly { readonly key: string; readonly text: string }[]> =>
    Promise.resolve([...this.specs].map(([key, text]) => ({ key, text })));
  remove = (key: string): Promise<void> => {
    this.specs.delete(key);
    return Promise.resolve();
  };

  /** The environment that the spec for these ids gives, or undefined where there is no spec. */
  specEnv(ids: readonly string[]): Readonly<Record<string, string>> | undefined {
    const [name] = Object.values(this.late.allocate(ids));
    const text = this.specs.get(name?.split('=')[1] ?? '');
    if (text === undefined) return undefined;
    const { devices } = JSON.parse(text) as { devices: { containerEdits: { env: string[] } }[] };
    const env = devices[0]?.containerEdits.env ?? [];
    return Object.fromEntries(env.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  }
}

/** Slice ids `from` to `from + count - 1` of a GPU of this node. */
export function ids(gpu: number, count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, at) => `GPU-this-${gpu}::${from + at}`);
}
