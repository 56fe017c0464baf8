// The agent as it is shipped, as a process of its own: compiled, with the flags and the environment of the image and the
// DaemonSet, between a fake kubelet and an API server behind TLS. What it reads there is as long as in a real cluster.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { boundPod, MEMORY, standUuid } from '../support/agent-stand.ts';
import { FakeKubelet } from '../support/fake-kubelet.ts';
import { selfSignedCertificate } from '../support/self-signed-certificate.ts';
import type { ShippedStart } from '../support/shipped-agent.ts';
import { freePorts } from '../e2e/process.ts';
import { seeded } from './bench-cluster.ts';

const ROOT = resolve(import.meta.dirname, '../..');
export const GPUS = 8;
export const SLICES = 80;
const POLL_MILLIS = 2000;
const LONG = { image: 'registry.example/a/team/and/its/image', images: 50, fields: 'f:spec'.repeat(600) } as const;

/** Compiles as the image does, into a folder from which the packages are found. */
export function buildAgent(): { readonly folder: string; remove(): void } {
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const folder = mkdtempSync(join(ROOT, '.cache/agent-'));
  execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--outDir', folder], { cwd: ROOT });
  const isProto = (path: string): boolean => !path.endsWith('.ts');
  cpSync(join(ROOT, 'device-plugin/proto'), join(folder, 'device-plugin/proto'), { recursive: true, filter: isProto });
  return { folder, remove: () => rmSync(folder, { recursive: true }) };
}

export interface AgentStart extends ShippedStart {
  /** Where `dist/` of the image is here. */
  readonly dist: string;
  readonly inventory: 'file' | 'nvml';
}

interface Parts {
  readonly folder: string;
  readonly server: EmbeddedApiServer;
  readonly tls: TlsServer;
  /** Where the agent's own listener is. */
  readonly port: number;
  readonly child: ChildProcess;
}

export class AgentProcess {
  readonly kubelet: FakeKubelet;
  readonly #parts: Parts;
  readonly #poll: NodeJS.Timeout;

  private constructor(parts: Parts, kubelet: FakeKubelet) {
    this.#parts = parts;
    this.kubelet = kubelet;
    this.#poll = setInterval(() => void this.lookAt(), POLL_MILLIS);
  }

  /** Resolves once the kubelet has the slices. */
  static async start(start: AgentStart): Promise<AgentProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'gpuloom-agent-'));
    const server = new EmbeddedApiServer();
    await server.listen();
    server.cluster.create('nodes', node());
    const { tls, kubeconfig } = await secured(server);
    writeFileSync(join(folder, 'kubeconfig'), kubeconfig);
    writeFileSync(join(folder, 'gpus.yaml'), inventory());
    mkdirSync(join(folder, 'k'));
    const kubelet = await FakeKubelet.start({ directory: join(folder, 'k'), generation: 'new', random: seeded(5) });
    const [port = 0] = await freePorts(1);
    const child = spawnAgent(start, folder, kubelet.podResourcesSocket, port);
    const running = new AgentProcess({ folder, server, tls, port, child }, kubelet);
    await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === GPUS * SLICES, 'the agent to register');
    return running;
  }

  /** One pod, from its Binding until its container may start. */
  async runPod(name: string, gpu: number): Promise<void> {
    const { manifest, pod } = boundPod({ name, slices: [4], gpus: [gpu % GPUS] });
    this.#parts.server.cluster.create('pods', withManagedFields(manifest));
    await this.kubelet.run(pod);
  }

  removePod(name: string): void {
    this.#parts.server.cluster.delete('pods', 'default', name, { gracePeriodSeconds: 0 });
    this.kubelet.remove(`uid-${name}`);
  }

  /** All that extender, Prometheus and the kubelet's probes ask for. */
  async lookAt(): Promise<void> {
    for (const path of ['report', 'metrics', 'healthz', 'readyz'])
      await fetch(`http://127.0.0.1:${this.#parts.port}/${path}`).then(
        (response) => response.text(),
        () => '',
      );
  }

  /** Resident memory as the kernel counts it, now and at its highest so far. */
  memory(): { readonly rssMiB: number; readonly highestMiB: number } {
    const status = readFileSync(`/proc/${String(this.#parts.child.pid)}/status`, 'utf8');
    const kib = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
    return { rssMiB: kib('VmRSS') / 1024, highestMiB: kib('VmHWM') / 1024 };
  }

  async stop(): Promise<void> {
    clearInterval(this.#poll);
    const { folder, server, tls, child } = this.#parts;
    if (child.exitCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    await this.kubelet.stop();
    tls.close();
    await server.close();
    rmSync(folder, { recursive: true });
  }
}

function spawnAgent(start: AgentStart, folder: string, podResources: string, port: number): ChildProcess {
  const options = {
    'node-name': 'gpu-1',
    kubeconfig: join(folder, 'kubeconfig'),
    inventory: start.inventory === 'nvml' ? 'nvml' : `file:${join(folder, 'gpus.yaml')}`,
    'kubelet-dir': join(folder, 'k'),
    'pod-resources': podResources,
    'cdi-dir': join(folder, 'cdi'),
    'state-dir': join(folder, 'state'),
    binding: 'cdi',
    listen: `127.0.0.1:${port}`,
  };
  const script = join(start.dist, start.script.replace(/^dist\//, ''));
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const env = { PATH: process.env['PATH'], ...start.env };
  return spawn(process.execPath, [...start.flags, script, ...args], { stdio: ['ignore', 'ignore', 'inherit'], env });
}

/** The API server behind TLS, since what TLS needs is part of what an agent needs. */
async function secured(server: EmbeddedApiServer): Promise<{ readonly tls: TlsServer; readonly kubeconfig: string }> {
  const { cert, key } = selfSignedCertificate('127.0.0.1');
  const { hostname, port } = new URL(server.url);
  const tls = createTlsServer({ cert, key }, (socket) => {
    const upstream = connect(Number(port), hostname);
    socket.pipe(upstream).pipe(socket);
    socket.on('error', () => upstream.destroy());
    upstream.on('error', () => socket.destroy());
  });
  tls.listen(0, '127.0.0.1');
  await once(tls, 'listening');
  const address = tls.address();
  const securePort = typeof address === 'object' && address !== null ? address.port : 0;
  const cluster = {
    server: `https://127.0.0.1:${securePort}`,
    'certificate-authority-data': Buffer.from(cert).toString('base64'),
  };
  const kubeconfig = {
    'current-context': 'bench',
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'agent' } }],
    clusters: [{ name: 'bench', cluster }],
    users: [{ name: 'agent', user: { token: 'none' } }],
  };
  return { tls, kubeconfig: JSON.stringify(kubeconfig) };
}

function inventory(): string {
  const gpus = Array.from(
    { length: GPUS },
    (_, index) => `  - uuid: ${standUuid(index)}\n    model: A100\n    memoryMiB: ${SLICES * 1024}`,
  );
  return `gpus:\n${gpus.join('\n')}\n`;
}

function node(): object {
  const images = Array.from({ length: LONG.images }, (_, at) => ({
    names: [`${LONG.image}-${at}@sha256:${'0'.repeat(64)}`, `${LONG.image}-${at}:v1`],
    sizeBytes: 100_000_000,
  }));
  return { apiVersion: 'v1', kind: 'Node', metadata: { name: 'gpu-1' }, status: { images } };
}

function withManagedFields(manifest: object): Parameters<EmbeddedApiServer['cluster']['create']>[1] {
  const { metadata, ...rest } = manifest as { readonly metadata: object };
  const managedFields = [{ manager: 'kube-controller-manager', fieldsV1: { of: LONG.fields } }];
  return { apiVersion: 'v1', kind: 'Pod', ...rest, metadata: { ...metadata, managedFields } };
}
