// The agent as a process of its own between a fake kubelet and the embedded API server, killed as the kernel's memory killer
// would and started again.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { decodeInventory } from '../../extender/core/inventory-codec.ts';
import { INVENTORY_ANNOTATION, PROFILES } from '../../extender/core/resources.ts';
import { EmbeddedApiServer } from '../../extender/embedded/api-server.ts';
import { seeded } from '../bench/bench-cluster.ts';
import { FakeKubelet } from '../support/fake-kubelet.ts';

const AGENT = join(import.meta.dirname, '../../device-plugin/main.ts');
const MEMORY = PROFILES.gpuloom.memoryResource;
const PATIENCE = { timeout: 20_000, interval: 10 };

let folder: string;
let server: EmbeddedApiServer;
let kubelet: FakeKubelet;
let agent: ChildProcess;
let output: string;

const path = (name: string): string => join(folder, name);

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gpuloom-restart-'));
  server = new EmbeddedApiServer();
  await server.listen();
  server.cluster.create('nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'gpu-1' }, status: {} });
  writeFileSync(path('kubeconfig'), server.kubeconfig());
  mkdirSync(path('k'));
  kubelet = await FakeKubelet.start({ directory: path('k'), generation: 'old', random: seeded(5) });
});

afterEach(async () => {
  await kill();
  await kubelet.stop();
  await server.close();
  rmSync(folder, { recursive: true });
});

/** GPUs of 16 slices; those of `lost` cannot be read. */
function writeGpus(uuids: readonly string[], lost: readonly string[] = []): void {
  const gpus = uuids.map(
    (uuid) =>
      `  - uuid: ${uuid}\n    model: A100\n    memoryMiB: 16384\n    health: ${lost.includes(uuid) ? 'lost' : 'ok'}`,
  );
  writeFileSync(path('gpus.yaml'), `gpus:\n${gpus.join('\n')}\n`);
}

/** A GPU that was sick stays so for longer than this test takes. */
function start(): void {
  output = '';
  const own = ['--node-name=gpu-1', `--kubeconfig=${path('kubeconfig')}`, `--inventory=file:${path('gpus.yaml')}`];
  const folders = [`--kubelet-dir=${path('k')}`, `--cdi-dir=${path('cdi')}`, `--state-dir=${path('state')}`];
  const sockets = [`--pod-resources=${kubelet.podResourcesSocket}`, '--listen=127.0.0.1:0', '--binding=cdi'];
  const env = {
    ...process.env,
    GPULOOM_HEALTH_PROBE_INTERVAL_MILLIS: '500',
    GPULOOM_HEALTH_CLEAN_PROBES: '1',
    GPULOOM_HEALTH_LEAST_UNHEALTHY_MILLIS: '3600000',
  };
  agent = spawn(process.execPath, [AGENT, ...own, ...folders, ...sockets], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [agent.stdout, agent.stderr]) stream?.on('data', (text) => (output += String(text)));
}

async function kill(): Promise<void> {
  if (agent.exitCode !== null || agent.signalCode !== null) return;
  const gone = once(agent, 'exit');
  agent.kill('SIGKILL');
  await gone;
}

function published(): Readonly<Record<string, string>> {
  const node = server.cluster.get('nodes', undefined, 'gpu-1');
  const read = decodeInventory(node?.metadata.annotations?.[INVENTORY_ANNOTATION] ?? '');
  return read.kind === 'inventory' ? Object.fromEntries(read.inventory.gpus.map((gpu) => [gpu.uuid, gpu.health])) : {};
}

/** Waits until this life of the agent has registered and says this of its GPUs. */
async function says(gpus: Readonly<Record<string, string>>, since: number): Promise<void> {
  await vi.waitFor(() => {
    expect(kubelet.registrations, output).toBeGreaterThan(since);
    expect([published(), kubelet.capacity(MEMORY)]).toEqual([gpus, Object.keys(gpus).length * 16]);
    const healthy = Object.values(gpus).filter((health) => health === 'healthy').length;
    expect(kubelet.allocatable(MEMORY)).toBe(healthy * 16);
  }, PATIENCE);
}

it('an agent that was killed does not call a sick GPU healthy, and lists one that vanished meanwhile as lost', async () => {
  writeGpus(['GPU-a', 'GPU-b', 'GPU-c']);
  start();
  await says({ 'GPU-a': 'healthy', 'GPU-b': 'healthy', 'GPU-c': 'healthy' }, 0);
  writeGpus(['GPU-a', 'GPU-b', 'GPU-c'], ['GPU-b']);
  await says({ 'GPU-a': 'healthy', 'GPU-b': 'unhealthy', 'GPU-c': 'healthy' }, 0);
  await vi.waitFor(() => expect(readFileSync(path('state/agent-state.json'), 'utf8')).toContain('"GPU-b":{'), PATIENCE);
  await kill();
  // Meanwhile GPU-b can be read again, and GPU-c is gone.
  writeGpus(['GPU-a', 'GPU-b']);
  server.cluster.patch('nodes', undefined, 'gpu-1', { metadata: { annotations: { [INVENTORY_ANNOTATION]: '' } } });
  const before = kubelet.registrations;
  start();
  await says({ 'GPU-a': 'healthy', 'GPU-b': 'unhealthy', 'GPU-c': 'unhealthy' }, before);
  expect(output).toContain('GPU GPU-c is unhealthy: the driver no longer lists it');
  await kill();
  writeFileSync(path('state/agent-state.json'), '{"v":1,');
  const then = kubelet.registrations;
  start();
  await says({ 'GPU-a': 'unhealthy', 'GPU-b': 'unhealthy' }, then);
  expect(output).toContain('every GPU is unhealthy until it has passed its probes');
});
