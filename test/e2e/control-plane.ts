// A real control plane on loopback for one test file or one benchmark: etcd, kube-apiserver and, when asked,
// kube-scheduler and kube-controller-manager, each with its log in one folder that goes away with it. Node taints by
// condition are off, so that nodes without a kubelet are usable and no controller manager is needed for them.
// One owner: start, use, stop. The kernel ends every program when the owner's process dies.

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { stringify } from 'yaml';

import { Accounts } from './accounts.ts';
import type { ClusterUser } from './accounts.ts';
import { ApiClient } from './api.ts';
import { AUDIT_POLICY, isPodWrite, readAuditLog } from './audit.ts';
import type { AuditedCall, AuditedWrite } from './audit.ts';
import type { KubernetesBinaries } from './binaries.ts';
import { isRunning } from './kubernetes-build.ts';
import { ManagedProcess, freePorts } from './process.ts';
import { prepareSchedulerConfig } from './scheduler-config.ts';

export interface ControlPlaneOptions {
  readonly binaries: KubernetesBinaries;
  /** Users beside `admin` and `system:kube-scheduler`; RBAC decides what they may do. */
  readonly users?: readonly ClusterUser[];
  /** Record the writes to pods, read with `auditedWrites`. */
  readonly auditLog?: boolean;
  readonly apiServerArgs?: readonly string[];
}

export interface SchedulerOptions {
  readonly name: string;
  /** A KubeSchedulerConfiguration; what is changed in it is said in scheduler-config.ts. */
  readonly configFile: string;
  readonly extenderOrigin?: string;
  readonly qps?: number;
}

export interface RunningProgram {
  readonly pid: number;
  readonly logFile: string;
  freeze(): void;
  thaw(): void;
  logTail(lines?: number): Promise<string>;
  /** Asks it to end (SIGTERM) and waits; kills it when it takes too long. */
  stop(): Promise<void>;
  /** Ends it at once, as a crash would (SIGKILL). */
  kill(): Promise<void>;
}

interface Ports {
  readonly etcdClient: number;
  readonly etcdPeer: number;
  readonly apiServer: number;
}

const DIR_PREFIX = 'gpuloom-e2e-';
const START_TIMEOUT_MILLIS = 60_000;

/** Starts etcd and kube-apiserver, ready to serve; a failed start leaves nothing behind. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  await removeAbandonedDirs();
  const dir = await mkdtemp(join(tmpdir(), `${DIR_PREFIX}${process.pid}-`));
  const [etcdClient = 0, etcdPeer = 0, apiServer = 0] = await freePorts(3);
  const plane = new ControlPlane(dir, { etcdClient, etcdPeer, apiServer }, options);
  try {
    await plane.start();
    return plane;
  } catch (cause) {
    await plane.stop();
    throw cause;
  }
}

export class ControlPlane {
  readonly dir: string;
  readonly url: string;
  readonly #options: ControlPlaneOptions;
  readonly #ports: Ports;
  readonly #accounts: Accounts;
  readonly #processes = new Set<ManagedProcess>();
  readonly #clients: ApiClient[] = [];
  #apiServer: ManagedProcess | undefined;
  #admin: ApiClient | undefined;
  #minor = 0;

  constructor(dir: string, ports: Ports, options: ControlPlaneOptions) {
    this.dir = dir;
    this.url = `https://127.0.0.1:${ports.apiServer}`;
    this.#ports = ports;
    this.#options = options;
    this.#accounts = new Accounts(dir, options.users ?? []);
  }

  /** Minor version of the programs, such as 20. */
  get minor(): number {
    return this.#minor;
  }

  /** The certificate authority of the API server, a PEM file. */
  get caFile(): string {
    return join(this.dir, 'apiserver/apiserver.crt');
  }

  get admin(): ApiClient {
    if (this.#admin === undefined) throw new Error('the control plane has not started');
    return this.#admin;
  }

  /** For startControlPlane only. */
  async start(): Promise<void> {
    this.#minor = await kubernetesMinor(this.#options.binaries.kubeApiserver);
    await this.#accounts.write();
    await writeFile(join(this.dir, 'audit-policy.yaml'), stringify(AUDIT_POLICY));
    await this.#startEtcd();
    await this.startApiServer();
    await this.#accounts.writeKubeconfigs(this.url, this.caFile);
    this.#admin = await this.client('admin');
  }

  /** A client with this user's rights; closed with the control plane. */
  async client(user: string, connections?: number): Promise<ApiClient> {
    const token = this.#accounts.token(user);
    const ca = await readFile(this.caFile, 'utf8');
    const client = new ApiClient({ url: this.url, ca, token, ...(connections === undefined ? {} : { connections }) });
    this.#clients.push(client);
    return client;
  }

  /** The kubeconfig file of this user. */
  kubeconfig(user: string): string {
    return this.#accounts.kubeconfig(user);
  }

  /** Starts the API server (again), on the same port with the same data. */
  async startApiServer(): Promise<void> {
    if (this.#apiServer !== undefined) throw new Error('the API server is running');
    const server = await this.#run('kube-apiserver', this.#options.binaries.kubeApiserver, this.#apiServerArgs());
    this.#apiServer = server;
    await this.#untilHealthy(server, this.url, '/readyz', this.caFile);
  }

  /** Kills the API server as a machine failure would; its port refuses connections from here on. */
  async stopApiServer(): Promise<void> {
    if (this.#apiServer === undefined) return;
    await this.#apiServer.stop({ graceMillis: 0 });
    this.#processes.delete(this.#apiServer);
    this.#apiServer = undefined;
  }

  /** Stops the API server from answering while its connections stay open, until thawApiServer. */
  freezeApiServer(): void {
    this.#apiServer?.signal('SIGSTOP');
  }

  thawApiServer(): void {
    this.#apiServer?.signal('SIGCONT');
  }

  async startScheduler(options: SchedulerOptions): Promise<RunningProgram> {
    const [securePort = 0, healthPort = 0] = await freePorts(2);
    const config = prepareSchedulerConfig(await readFile(options.configFile, 'utf8'), {
      kubeconfig: this.kubeconfig('system:kube-scheduler'),
      minor: this.#minor,
      insecureHealthAddress: `127.0.0.1:${healthPort}`,
      ...(options.extenderOrigin === undefined ? {} : { extenderOrigin: options.extenderOrigin }),
      ...(options.qps === undefined ? {} : { qps: options.qps }),
    });
    const folder = join(this.dir, options.name);
    await mkdir(folder, { recursive: true });
    const configFile = join(folder, 'config.yaml');
    await writeFile(configFile, config);
    const args = [`--config=${configFile}`, ...servingArgs(securePort, folder)];
    const scheduler = await this.#run(options.name, this.#options.binaries.kubeScheduler, args);
    await this.#untilHealthy(
      scheduler,
      `https://127.0.0.1:${securePort}`,
      '/healthz',
      join(folder, 'kube-scheduler.crt'),
    );
    return this.#program(scheduler);
  }

  /** Runs these controllers only, such as `garbagecollector` or `namespace`. */
  async startControllerManager(controllers: readonly string[]): Promise<RunningProgram> {
    const [securePort = 0] = await freePorts(1);
    const folder = join(this.dir, 'kube-controller-manager');
    const manager = await this.#run('kube-controller-manager', this.#options.binaries.kubeControllerManager, [
      // As the administrator: each controller's own account would need the whole token machinery.
      `--kubeconfig=${this.kubeconfig('admin')}`,
      `--controllers=${controllers.join(',')}`,
      `--service-account-private-key-file=${join(this.dir, 'sa.key')}`,
      '--leader-elect=false',
      // Older versions also open a plain-text port on all addresses unless told not to.
      ...(this.#minor < 24 ? ['--port=0'] : []),
      ...servingArgs(securePort, folder),
    ]);
    const certificate = join(folder, 'kube-controller-manager.crt');
    await this.#untilHealthy(manager, `https://127.0.0.1:${securePort}`, '/healthz', certificate);
    return this.#program(manager);
  }

  /** Starts any other program (an extender, say) whose life ends with the control plane's. */
  async startProgram(name: string, command: string, args: readonly string[]): Promise<RunningProgram> {
    return this.#program(await this.#run(name, command, args));
  }

  /** Writes to pods so far, in the order of their completion. Needs `auditLog`. */
  async auditedWrites(): Promise<readonly AuditedWrite[]> {
    return (await this.auditedCalls()).filter(isPodWrite);
  }

  /** The same with writes of leases and lists of pods and nodes. */
  auditedCalls(): Promise<readonly AuditedCall[]> {
    if (this.#options.auditLog !== true) throw new Error('start the control plane with auditLog');
    return readAuditLog(join(this.dir, 'audit.log'));
  }

  /** The end of every running program's log, for the report of a failed test. */
  async logTails(lines = 15): Promise<string> {
    const tails = await Promise.all([...this.#processes].map((managed) => managed.logTail(lines)));
    return tails.join('\n');
  }

  /** Ends every program and removes the folder. May be called more than once. */
  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    // In reverse: those that call others end first. The data is thrown away, so nobody needs time to save it.
    for (const managed of [...this.#processes].toReversed()) await managed.stop({ graceMillis: 0 });
    await rm(this.dir, { recursive: true, force: true });
  }

  #program(managed: ManagedProcess): RunningProgram {
    return {
      pid: managed.pid,
      logFile: managed.logFile,
      freeze: () => managed.signal('SIGSTOP'),
      thaw: () => managed.signal('SIGCONT'),
      logTail: (lines) => managed.logTail(lines),
      stop: async () => {
        await managed.stop({ graceMillis: 3_000 });
        this.#processes.delete(managed);
      },
      kill: async () => {
        await managed.stop({ graceMillis: 0 });
        this.#processes.delete(managed);
      },
    };
  }

  async #run(name: string, command: string, args: readonly string[]): Promise<ManagedProcess> {
    const managed = await ManagedProcess.start({ name, command, args, logFile: join(this.dir, `${name}.log`) });
    this.#processes.add(managed);
    return managed;
  }

  async #startEtcd(): Promise<void> {
    const client = `http://127.0.0.1:${this.#ports.etcdClient}`;
    const peer = `http://127.0.0.1:${this.#ports.etcdPeer}`;
    const etcd = await this.#run('etcd', this.#options.binaries.etcd, [
      `--data-dir=${join(this.dir, 'etcd')}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      '--unsafe-no-fsync',
    ]);
    await this.#untilHealthy(etcd, client, '/health');
  }

  #apiServerArgs(): readonly string[] {
    const audit = [
      `--audit-policy-file=${join(this.dir, 'audit-policy.yaml')}`,
      `--audit-log-path=${join(this.dir, 'audit.log')}`,
    ];
    return [
      `--etcd-servers=http://127.0.0.1:${this.#ports.etcdClient}`,
      ...servingArgs(this.#ports.apiServer, join(this.dir, 'apiserver')),
      '--advertise-address=127.0.0.1',
      '--endpoint-reconciler-type=none',
      ...(this.#minor < 24 ? ['--insecure-port=0'] : []),
      `--service-account-key-file=${join(this.dir, 'sa.pub')}`,
      `--service-account-signing-key-file=${join(this.dir, 'sa.key')}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--token-auth-file=${join(this.dir, 'tokens.csv')}`,
      '--authorization-mode=Node,RBAC',
      '--service-cluster-ip-range=10.0.0.0/24',
      '--disable-admission-plugins=ServiceAccount,TaintNodesByCondition',
      '--allow-privileged',
      ...(this.#options.auditLog === true ? audit : []),
      ...(this.#options.apiServerArgs ?? []),
    ];
  }

  async #untilHealthy(managed: ManagedProcess, url: string, path: string, certificate?: string): Promise<void> {
    let client: ApiClient | undefined;
    try {
      await managed.untilReady(async () => {
        const ca = certificate === undefined ? '' : await readIfPresent(certificate);
        if (ca === undefined) return false;
        client ??= new ApiClient({ url, ca, token: this.#accounts.token('admin') });
        return (await client.probe(path)) !== undefined;
      }, START_TIMEOUT_MILLIS);
    } finally {
      await client?.close();
    }
  }
}

function servingArgs(securePort: number, certDir: string): readonly string[] {
  return ['--bind-address=127.0.0.1', `--secure-port=${securePort}`, `--cert-dir=${certDir}`];
}

async function readIfPresent(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  }
}

async function kubernetesMinor(program: string): Promise<number> {
  const { stdout } = await promisify(execFile)(program, ['--version']);
  const minor = /v1\.(\d+)\./.exec(stdout)?.[1];
  if (minor === undefined)
    throw new Error(`${program} --version says ${stdout.trim()}, which is no Kubernetes version`);
  return Number(minor);
}

/** Folders of processes that were killed before they could clean up. */
async function removeAbandonedDirs(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(DIR_PREFIX) ? Number.parseInt(name.slice(DIR_PREFIX.length), 10) : Number.NaN;
    if (!Number.isNaN(pid) && !isRunning(pid)) await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
}
