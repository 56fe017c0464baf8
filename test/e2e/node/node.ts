// A real node on this machine for end-to-end tests: kubelet and containerd in namespaces of their own, registered at a
// control plane of the harness. Its device-plugin folder is reachable from outside too, so a plugin may run in either
// place. One owner: start, use, stop; nothing of it stays on the machine. Kubelet calls must not overlap.

import { access, mkdir, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';

import type { StringMap } from '../../../extender/core/manifest.ts';
import type { ClusterUser } from '../accounts.ts';
import type { ApiObject } from '../api.ts';
import { ApiError } from '../api.ts';
import type { ControlPlane } from '../control-plane.ts';
import { eventually, freePorts } from '../process.ts';
import { createNodeCgroup, removeNodeCgroup } from './cgroups.ts';
import { dockerArchive, nodeImages } from './images.ts';
import type { Image } from './images.ts';
import type { ContainerRuntime, NodeBinaries } from './node-binaries.ts';
import { CONTAINERD_SOCKET, containerdConfig, kubeletConfig, loopbackNetwork } from './node-config.ts';
import { NodeNamespace } from './node-namespace.ts';
import type { NodeProgram, ProgramOptions } from './node-namespace.ts';

export interface NodeOptions {
  readonly name: string;
  readonly runtime: ContainerRuntime;
  readonly binaries: NodeBinaries;
  /** The kubelet's user at the API server: `admin` unless the control plane knows `nodeUser(name)`. */
  readonly user?: string;
  readonly labels?: StringMap;
  readonly kubeletArgs?: readonly string[];
}

type NodeStatusObject = ApiObject & {
  readonly status?: {
    readonly conditions?: readonly { readonly type?: string; readonly status?: string; readonly message?: string }[];
  };
};

const START_TIMEOUT_MILLIS = 60_000;

/** The user that a node's kubelet has in a cluster; RBAC and the node authorizer know its rights. */
export function nodeUser(name: string): ClusterUser {
  return { name: `system:node:${name}`, groups: ['system:nodes'] };
}

/** Starts containerd and kubelet and waits until the API server shows the node as Ready. */
export async function startNode(plane: ControlPlane, options: NodeOptions): Promise<RealNode> {
  const dir = join(plane.dir, options.name);
  await mkdir(dir);
  const cgroup = await createNodeCgroup(options.name);
  let namespace: NodeNamespace;
  try {
    namespace = await NodeNamespace.create(dir, cgroup);
  } catch (cause) {
    await removeNodeCgroup(cgroup);
    throw cause;
  }
  const node = new RealNode(plane, options, { dir, cgroup, namespace });
  try {
    await node.start();
    return node;
  } catch (cause) {
    const logs = await node.logTails();
    await node.stop();
    throw new Error(`node ${options.name} did not start: ${String(cause)}\n${logs}`, { cause });
  }
}

interface Place {
  readonly dir: string;
  readonly cgroup: string;
  readonly namespace: NodeNamespace;
}

export class RealNode {
  readonly name: string;
  readonly #plane: ControlPlane;
  readonly #options: NodeOptions;
  readonly #place: Place;
  readonly #programs = new Set<NodeProgram>();
  #kubelet: NodeProgram | undefined;
  #ports: readonly [kubelet: number, health: number] = [0, 0];

  constructor(plane: ControlPlane, options: NodeOptions, place: Place) {
    this.name = options.name;
    this.#plane = plane;
    this.#options = options;
    this.#place = place;
  }

  /** Where containerd reads CDI specs, on both sides. */
  get cdiDir(): string {
    return join(this.#place.dir, 'cdi');
  }

  get containerdConfigFile(): string {
    return join(this.#place.dir, 'containerd.toml');
  }

  /** The node's /var/lib/kubelet as it is seen from outside. */
  get kubeletDir(): string {
    return join(this.#place.dir, 'kubelet');
  }

  get devicePluginDir(): string {
    return join(this.kubeletDir, 'device-plugins');
  }

  get podResourcesSocket(): string {
    return join(this.kubeletDir, 'pod-resources/kubelet.sock');
  }

  /** The logs of the containers, as the runtime writes them: `<namespace>_<pod>_<uid>/<container>/<restart>.log`. */
  get podLogDir(): string {
    return join(this.#place.dir, 'log/pods');
  }

  /** For startNode only. */
  async start(): Promise<void> {
    const [kubeletPort = 0, healthPort = 0] = await freePorts(2);
    this.#ports = [kubeletPort, healthPort];
    await this.#startContainerd();
    for (const image of await nodeImages(this.#options.binaries)) await this.importImage(image);
    await this.startKubelet();
    await this.untilReady(START_TIMEOUT_MILLIS);
  }

  /** Starts a program in the node's namespaces, such as a device plugin; it ends with the node at the latest. */
  async startInNode(options: ProgramOptions): Promise<NodeProgram> {
    const program = await this.#place.namespace.start(options);
    this.#programs.add(program);
    return program;
  }

  /** Runs a program there to its end; answers with its standard output. */
  runInNode(command: string, args: readonly string[]): Promise<string> {
    return this.#place.namespace.run(command, args);
  }

  async importImage(image: Image): Promise<void> {
    const file = join(this.#place.dir, 'image.tar');
    await writeFile(file, dockerArchive(image));
    await this.ctr(['images', 'import', '--snapshotter', 'native', file]);
  }

  /** containerd's own client, in the kubelet's part of it. */
  ctr(args: readonly string[]): Promise<string> {
    const program = join(this.#options.binaries.runtimes[this.#options.runtime], 'ctr');
    return this.runInNode(program, ['--address', CONTAINERD_SOCKET, '--namespace', 'k8s.io', ...args]);
  }

  /** Starts the kubelet (again) and waits until it calls itself healthy. */
  async startKubelet(): Promise<void> {
    if (this.#kubelet !== undefined) throw new Error(`the kubelet of ${this.name} is running`);
    this.#kubelet = await this.startInNode(await this.#kubeletProgram());
    const health = `http://127.0.0.1:${this.#ports[1]}/healthz`;
    await this.#kubelet.untilReady(() => answers(health), START_TIMEOUT_MILLIS);
  }

  /** Asks the kubelet to end, as a service manager does; containers go on. */
  stopKubelet(): Promise<void> {
    return this.#endKubelet((kubelet) => kubelet.stop());
  }

  /** Ends the kubelet as a crash would; containers go on. */
  killKubelet(): Promise<void> {
    return this.#endKubelet((kubelet) => kubelet.kill());
  }

  async restartKubelet(): Promise<void> {
    await this.stopKubelet();
    await this.startKubelet();
  }

  async untilReady(timeoutMillis: number): Promise<void> {
    let why = 'it is not registered';
    const ready = await eventually(async () => {
      const node = await this.#registered();
      const condition = node?.status?.conditions?.find(({ type }) => type === 'Ready');
      if (condition !== undefined) why = condition.message ?? '';
      return condition?.status === 'True' || this.#kubelet?.end !== undefined;
    }, timeoutMillis);
    if (this.#kubelet?.end !== undefined) throw new Error(`the kubelet ended with ${this.#kubelet.end}`);
    if (!ready) throw new Error(`${this.name} was not Ready within ${timeoutMillis} ms: ${why}`);
  }

  /** The end of every program's log, for the report of a failed test. */
  async logTails(lines = 15): Promise<string> {
    const tails = await Promise.all([this.#place.namespace, ...this.#programs].map((one) => one.logTail(lines)));
    return tails.join('\n');
  }

  /** Ends kubelet, containerd and all containers, and gives back their mounts and cgroups. May be called again. */
  stop(): Promise<void> {
    return this.#place.namespace.stop();
  }

  async #endKubelet(end: (kubelet: NodeProgram) => Promise<void>): Promise<void> {
    if (this.#kubelet === undefined) return;
    await end(this.#kubelet);
    this.#programs.delete(this.#kubelet);
    this.#kubelet = undefined;
  }

  async #startContainerd(): Promise<void> {
    const { runtime, binaries } = this.#options;
    const networkConfigDir = join(this.#place.dir, 'network');
    await mkdir(networkConfigDir);
    await mkdir(this.cdiDir);
    await writeFile(join(networkConfigDir, '10-loopback.conflist'), loopbackNetwork());
    const config = this.containerdConfigFile;
    const root = join(this.#place.dir, 'containerd');
    const { networkPlugins } = binaries;
    await writeFile(config, containerdConfig({ runtime, root, cdiDir: this.cdiDir, networkPlugins, networkConfigDir }));
    const folder = binaries.runtimes[runtime];
    const path = [folder, dirname(binaries.runc), process.env['PATH'] ?? '', '/usr/sbin', '/sbin'].join(delimiter);
    const command = join(folder, 'containerd');
    const env = { PATH: path };
    const containerd = await this.startInNode({ name: 'containerd', command, args: ['--config', config], env });
    const socket = this.#place.namespace.pathOutside(CONTAINERD_SOCKET);
    await containerd.untilReady(() => exists(socket), START_TIMEOUT_MILLIS);
  }

  async #kubeletProgram(): Promise<ProgramOptions> {
    const { dir, cgroup } = this.#place;
    const [port, healthPort] = this.#ports;
    const config = join(dir, 'kubelet.yaml');
    await writeFile(config, kubeletConfig({ cgroup, port, healthPort }));
    const labels = Object.entries(this.#options.labels ?? {}).map(([key, value]) => `${key}=${value}`);
    const args = [
      `--config=${config}`,
      `--kubeconfig=${this.#plane.kubeconfig(this.#options.user ?? 'admin')}`,
      `--hostname-override=${this.name}`,
      '--container-runtime=remote',
      `--container-runtime-endpoint=unix://${CONTAINERD_SOCKET}`,
      `--cert-dir=${join(dir, 'kubelet-certificates')}`,
      `--volume-plugin-dir=${join(dir, 'volume-plugins')}`,
      // By default only the last ended run of a container keeps its log.
      '--maximum-dead-containers-per-container=10',
      ...(labels.length === 0 ? [] : [`--node-labels=${labels.join(',')}`]),
      ...(this.#options.kubeletArgs ?? []),
    ];
    const path = [process.env['PATH'] ?? '', '/usr/sbin', '/sbin'].join(delimiter);
    return { name: 'kubelet', command: this.#options.binaries.kubelet, args, env: { PATH: path } };
  }

  async #registered(): Promise<NodeStatusObject | undefined> {
    try {
      return await this.#plane.admin.get<NodeStatusObject>(`/api/v1/nodes/${this.name}`);
    } catch (cause) {
      if (cause instanceof ApiError && cause.status === 404) return undefined;
      throw cause;
    }
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch (cause) {
    // Refused, reset or timed out: it is not up, which is what the caller asks.
    if (cause instanceof Error) return false;
    throw cause;
  }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
