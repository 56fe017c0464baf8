// One real node with GPUs that a file describes: control plane, kubelet, containerd, and when asked our agent, our extender
// and kube-scheduler, all with the rights that they have as shipped. Runs pods and reads out of their containers which
// GPUs these were given. One owner: start, use, stop. Calls that start or stop a part must not overlap.

import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { expect } from 'vitest';

import { PROFILES } from '../../../extender/core/resources.ts';
import type { ProfileName } from '../../../extender/core/resources.ts';
import { shippedStart } from '../../support/shipped-agent.ts';
import { ApiError } from '../api.ts';
import type { ApiObject } from '../api.ts';
import { requireBinaries } from '../binaries.ts';
import { eventMessages, podsPath } from '../cluster.ts';
import type { LiveNode } from '../cluster.ts';
import { startControlPlane } from '../control-plane.ts';
import type { ControlPlane, RunningProgram } from '../control-plane.ts';
import { ExtenderProcess } from '../extender-process.ts';
import { AGENT_USER, EXTENDER_USER, installAgentRoles, installRoles, schedulerConfigFile } from '../installation.ts';
import { eventually, freePorts } from '../process.ts';
import { containerStatus, createNodePod, environmentOf, isRunningPod, readPod, untilPod } from './containers.ts';
import type { NodePod, PodOnNode } from './containers.ts';
import type { ContainerRuntime, NodeBinaries } from './node-binaries.ts';
import type { NodeProgram } from './node-namespace.ts';
import { startNode } from './node.ts';
import type { RealNode } from './node.ts';

export interface NodeGpu {
  readonly uuid: string;
  /** One slice is 1024 MiB. */
  readonly slices: number;
}

export interface GpuNodeOptions {
  readonly runtime: ContainerRuntime;
  readonly binaries: NodeBinaries;
  readonly gpus: readonly NodeGpu[];
  readonly profile?: ProfileName;
}

/** What happened to a pod on its way: it runs, or it was refused and has to be created anew. */
export type Outcome = { readonly kind: 'running' | 'refused'; readonly pod: PodOnNode };

const NODE = 'node-a';
const ALLOCATION = 'gpuloom.io/allocation';
const AGENT = join(import.meta.dirname, '../../../device-plugin/main.ts');
/** A kubelet of this age takes its time with pods that never started. */
const REMOVAL_MILLIS = 150_000;
const RUNNING_MILLIS = 120_000;

export class GpuNode {
  readonly plane: ControlPlane;
  readonly node: RealNode;
  readonly gpus: readonly NodeGpu[];
  readonly profile: ProfileName;
  #agent: NodeProgram | undefined;
  #scheduler: RunningProgram | undefined;
  #schedulers = 0;

  private constructor(plane: ControlPlane, node: RealNode, { gpus, profile = 'gpuloom' }: GpuNodeOptions) {
    this.plane = plane;
    this.node = node;
    this.gpus = gpus;
    this.profile = profile;
  }

  static async start(options: GpuNodeOptions): Promise<GpuNode> {
    const plane = await startControlPlane({ binaries: await requireBinaries(), users: [EXTENDER_USER, AGENT_USER] });
    try {
      await installRoles(plane, options.profile);
      await installAgentRoles(plane, options.profile);
      const { runtime, binaries, gpus } = options;
      await writeInventoryFile(plane, gpus, []);
      return new GpuNode(plane, await startNode(plane, { name: NODE, runtime, binaries }), options);
    } catch (cause) {
      await plane.stop();
      throw cause;
    }
  }

  get memory(): string {
    return PROFILES[this.profile].memoryResource;
  }

  get total(): number {
    return this.gpus.reduce((sum, { slices }) => sum + slices, 0);
  }

  get agent(): NodeProgram {
    if (this.#agent === undefined) throw new Error('the agent is not running');
    return this.#agent;
  }

  async stop(): Promise<void> {
    await this.node.stop();
    await this.plane.stop();
  }

  async logTails(): Promise<string> {
    return `${await this.node.logTails(25)}\n${await this.plane.logTails(10)}`;
  }

  /** Breaks these GPUs and mends all others, for the agent to find. */
  breakGpus(...uuids: readonly string[]): Promise<void> {
    return writeInventoryFile(this.plane, this.gpus, uuids);
  }

  /** Answers once the process is there; whether the kubelet has its slices is another question. */
  async startAgent(...args: readonly string[]): Promise<void> {
    if (this.#agent !== undefined) throw new Error('the agent is running');
    const [port = 0] = await freePorts(1);
    const own = [
      `--node-name=${NODE}`,
      `--kubeconfig=${this.plane.kubeconfig(AGENT_USER.name)}`,
      `--inventory=file:${inventoryFile(this.plane)}`,
      `--cdi-dir=${this.node.cdiDir}`,
      `--state-dir=${join(this.node.cdiDir, '../state')}`,
      `--profile=${this.profile}`,
      `--listen=127.0.0.1:${port}`,
    ];
    const env = {
      ...process.env,
      // A test does not want to wait a minute for a GPU to be trusted again.
      GPULOOM_HEALTH_LEAST_UNHEALTHY_MILLIS: '1000',
      GPULOOM_HEALTH_CLEAN_PROBES: '2',
      GPULOOM_HEALTH_PROBE_INTERVAL_MILLIS: '500',
      GPULOOM_CONTAINERD_CONFIG: this.node.containerdConfigFile,
    };
    const command = process.execPath;
    const { flags } = shippedStart();
    this.#agent = await this.node.startInNode({
      name: 'agent',
      command,
      args: [...flags, AGENT, ...own, ...args],
      env,
    });
  }

  /** As a crash or the kernel's memory killer ends it. */
  async killAgent(): Promise<void> {
    await this.#agent?.kill();
    this.#agent = undefined;
  }

  /** As a rolling update ends it. */
  async stopAgent(): Promise<void> {
    await this.#agent?.stop();
    this.#agent = undefined;
  }

  /** The log of the agent's present life and of all before it. */
  agentLog(): Promise<string> {
    return readFile(this.agent.logFile, 'utf8');
  }

  async startExtender(name = 'extender'): Promise<ExtenderProcess> {
    const extender = await ExtenderProcess.start(this.plane, {
      name,
      kubeconfig: this.plane.kubeconfig(EXTENDER_USER.name),
      args: ['--no-leader-election', `--profile=${this.profile}`],
    });
    await extender.untilReady();
    return extender;
  }

  /** Starts kube-scheduler with this extender; the one before ends. */
  async startScheduler(extenderOrigin: string): Promise<void> {
    await this.#scheduler?.stop();
    this.#scheduler = await this.plane.startScheduler({
      name: `kube-scheduler-${this.#schedulers++}`,
      configFile: schedulerConfigFile(this.plane, this.profile),
      extenderOrigin,
      qps: 1000,
    });
  }

  untilSlices(count: number): Promise<void> {
    return this.untilResource('allocatable', this.memory, count);
  }

  async untilResource(
    list: 'capacity' | 'allocatable',
    resource: string,
    count: number,
    timeoutMillis = 60_000,
  ): Promise<void> {
    let seen: unknown;
    const shown = await eventually(async () => {
      const { status } = await this.plane.admin.get<LiveNode>(`/api/v1/nodes/${NODE}`);
      seen = status?.[list]?.[resource];
      return seen === String(count) || (count === 0 && seen === undefined);
    }, timeoutMillis);
    if (!shown) throw new Error(`the node's ${list} of ${resource} is ${String(seen)} and not ${count}`);
  }

  limits(slices: number): { readonly limits: Readonly<Record<string, string>> } {
    return { limits: { [this.memory]: String(slices) } };
  }

  /** Waits until all containers of a new pod run; rejects at once where the node refuses it. */
  async run(pod: NodePod): Promise<PodOnNode> {
    await createNodePod(this.plane.admin, pod);
    const outcome = await this.outcomeOf(pod.name);
    if (outcome.kind === 'refused') throw new Error(`${pod.name} was refused: ${JSON.stringify(outcome.pod.status)}`);
    return outcome.pod;
  }

  /** Waits until the pod runs or the node has refused it, which a pod without an owner never gets over. */
  async outcomeOf(name: string): Promise<Outcome> {
    const pod = await untilPod(this.plane.admin, name, (each) => isRunningPod(each) || isRefused(each), RUNNING_MILLIS);
    return { kind: isRunningPod(pod) ? 'running' : 'refused', pod };
  }

  /**
   * Runs the pods as their owner would: whatever the node refuses is created anew under another name, until all run, each
   * of them exact. Answers with the refusals on the way.
   */
  async runAsOwner(pods: readonly NodePod[], rounds = 10): Promise<readonly string[]> {
    const refused: string[] = [];
    let wanting = pods;
    for (let round = 0; round < rounds && wanting.length > 0; round++) {
      await Promise.all(wanting.map((pod) => createNodePod(this.plane.admin, pod)));
      const again: NodePod[] = [];
      for (const wanted of wanting) {
        const { kind, pod } = await this.outcomeOf(wanted.name);
        if (kind === 'running') await this.expectExact(pod, ...wanted.containers.map(({ name }) => name));
        else {
          refused.push(`${wanted.name}: ${pod.status?.message ?? JSON.stringify(pod.status?.containerStatuses)}`);
          await this.discard(wanted.name);
          again.push({ ...wanted, name: `${wanted.name}-${round}` });
        }
      }
      wanting = again;
    }
    console.log(`${pods.length} pods run, ${refused.length} were refused on the way\n${refused.join('\n')}`);
    expect(wanting, `refused ${rounds} times`).toEqual([]);
    return refused;
  }

  /** Deletes all pods there are, and waits for nothing. */
  async discardAll(): Promise<void> {
    const { items } = await this.plane.admin.list(podsPath('default'));
    await this.discard(...items.map(({ metadata }) => metadata?.name ?? ''));
  }

  /** Deletes as a user does, and waits for nothing: pods of other names have room meanwhile. */
  async discard(...names: readonly string[]): Promise<void> {
    const remove = async (name: string): Promise<void> => {
      await this.plane.admin.call('DELETE', `${podsPath('default')}/${name}`).catch((cause: unknown) => {
        if (!(cause instanceof ApiError && cause.status === 404)) throw cause;
      });
    };
    await Promise.all(names.map(remove));
  }

  /** Waits until the kubelet has let go of all deleted pods; one of this age takes its time. */
  async untilOnly(...names: readonly string[]): Promise<void> {
    let others: readonly (string | undefined)[] = [];
    const gone = await eventually(async () => {
      const { items } = await this.plane.admin.list(podsPath('default'));
      others = items.map(({ metadata }) => metadata?.name).filter((name) => !names.includes(name ?? ''));
      return others.length === 0;
    }, REMOVAL_MILLIS);
    if (!gone) throw new Error(`${others.join(', ')} were still there after ${REMOVAL_MILLIS} ms`);
  }

  read(name: string): Promise<PodOnNode> {
    return readPod(this.plane.admin, name);
  }

  /** Messages of the Events about a pod, or about a node in their own namespace. */
  news(name: string, namespace = 'default'): Promise<readonly string[]> {
    return eventMessages(this.plane.admin, namespace, name);
  }

  /** Waits for an Event about the pod in these words. */
  async untilEvent(name: string, words: RegExp): Promise<void> {
    let said: readonly string[] = [];
    const found = await eventually(async () => {
      said = await this.news(name);
      return said.some((message) => words.test(message));
    }, 60_000);
    if (!found) throw new Error(`no event about ${name} matches ${words}:\n  ${said.join('\n  ')}`);
  }

  /** The environment in a container's own words names the GPUs in its pod's annotation. */
  async expectExact(pod: ApiObject, ...containers: readonly string[]): Promise<void> {
    for (const container of containers) {
      const env = await environmentOf(this.node, pod, container);
      expect(env['NVIDIA_VISIBLE_DEVICES'], `${pod.metadata?.name ?? ''}/${container}`).toBe(allocated(pod).join(','));
    }
  }

  /** The same for every start of a container so far; answers with how many those were. */
  async expectExactAtEveryStart(name: string, container: string): Promise<number> {
    const pod = await this.read(name);
    const starts = (containerStatus(pod, container)?.restartCount ?? 0) + 1;
    for (let restart = 0; restart < starts; restart++) {
      const env = await environmentOf(this.node, pod, container, { restart });
      expect(env['NVIDIA_VISIBLE_DEVICES'], `start ${restart} of ${name}/${container}`).toBe(allocated(pod).join(','));
    }
    return starts;
  }
}

function inventoryFile(plane: ControlPlane): string {
  return join(plane.dir, 'gpus.yaml');
}

/** At once, as an editor replaces a file: a reader never sees half of it. */
async function writeInventoryFile(
  plane: ControlPlane,
  gpus: readonly NodeGpu[],
  broken: readonly string[],
): Promise<void> {
  const lines = gpus.map(({ uuid, slices }) => {
    const health = broken.includes(uuid) ? ', health: broken' : '';
    return `  - { uuid: ${uuid}, model: FAKE, memoryMiB: ${slices * 1024}${health} }`;
  });
  const file = inventoryFile(plane);
  await writeFile(`${file}.new`, `gpus:\n${lines.join('\n')}\n`);
  await rename(`${file}.new`, file);
}

/** UUIDs that the pod's allocation names. */
export function allocated(pod: ApiObject): readonly string[] {
  const text = pod.metadata?.annotations?.[ALLOCATION] ?? '{"containers":[]}';
  const { containers } = JSON.parse(text) as { containers: { gpus: { uuid: string }[] }[] };
  return [...new Set(containers.flatMap(({ gpus }) => gpus.map(({ uuid }) => uuid)))];
}

/** The annotation that the extender would have written to give a container a GPU. */
export function forgedAllocation(gpu: NodeGpu, index: number, slices: number): Readonly<Record<string, string>> {
  const gpus = [{ uuid: gpu.uuid, index, slices, core: 0 }];
  return { [ALLOCATION]: JSON.stringify({ v: 1, containers: [{ name: 'c', gpus }] }) };
}

/** Failed at admission, or held back from starting for good: pods that only their owner can replace. */
export function isRefused(pod: PodOnNode): boolean {
  const { phase, containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  const isHeldBack = [...containerStatuses, ...initContainerStatuses].some(({ state }) =>
    state?.waiting?.message?.includes('delete the pod to try again'),
  );
  return phase === 'Failed' || isHeldBack;
}
