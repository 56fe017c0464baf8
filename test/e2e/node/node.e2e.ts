// Proves the test node itself: real kubelet, real containerd, real containers. Nothing of gpuloom runs here.

import { access, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';

import { requireBinaries } from '../binaries.ts';
import type { ControlPlane } from '../control-plane.ts';
import { startControlPlane } from '../control-plane.ts';
import {
  PRINT_ENVIRONMENT,
  containerLog,
  containerStatus,
  createNodePod,
  environmentOf,
  isRunningPod,
  untilPod,
} from './containers.ts';
import { nodeBinariesOrSkip } from './node-binaries.ts';
import type { NodeBinaries } from './node-binaries.ts';
import { nodeUser, startNode } from './node.ts';
import type { RealNode } from './node.ts';

const binaries = await nodeBinariesOrSkip();
const SYSCTLS = ['vm/overcommit_memory', 'kernel/panic', 'kernel/panic_on_oops'];

describe.skipIf(binaries === undefined)('a real node on this machine', () => {
  const found = binaries as NodeBinaries;
  let plane: ControlPlane;
  let node: RealNode;
  let machineBefore: readonly string[];

  beforeAll(async () => {
    machineBefore = await machineState();
    plane = await startControlPlane({ binaries: await requireBinaries(), users: [nodeUser('node-a')] });
    node = await startNode(plane, {
      name: 'node-a',
      runtime: 'containerd-1.7',
      binaries: found,
      user: 'system:node:node-a',
      labels: { 'gpuloom.io/tested': 'yes' },
    });
  });
  afterAll(async () => {
    await node?.stop();
    await plane?.stop();
  });
  beforeEach(() => {
    onTestFailed(async () => {
      console.error(await node.logTails());
    });
  });

  test('registers with its labels, under the rights that a kubelet has in a cluster', async () => {
    const registered = await plane.admin.get('/api/v1/nodes/node-a');
    expect(registered.metadata?.labels).toMatchObject({ 'gpuloom.io/tested': 'yes' });
  });

  test('shows a program inside what a daemon on the node sees, and ends it when asked', async () => {
    const script = `
      console.log(fs.readdirSync('/var/lib/kubelet/device-plugins').join());
      process.on('SIGTERM', () => { console.log('asked'); process.exit(); });
      setInterval(() => {}, 1000);`;
    const program = await node.startInNode({ name: 'daemon', command: process.execPath, args: ['-e', script] });
    const said = (): Promise<string> => readFile(program.logFile, 'utf8');
    await program.untilReady(async () => (await said()) !== '', 10_000);
    expect(await said()).toContain('kubelet.sock');
    expect(await readdir(node.devicePluginDir)).toContain('kubelet.sock');
    await program.stop();
    expect(await said()).toContain('asked');
    expect(program.end).toBe('0');
  });

  test('runs an init container, then two containers, each with its own environment', async () => {
    const created = await createNodePod(plane.admin, {
      name: 'two',
      nodeName: 'node-a',
      initContainers: [{ name: 'before', script: PRINT_ENVIRONMENT, env: { WHO: 'before' } }],
      containers: [
        { name: 'c1', env: { WHO: 'first', LINES: 'one\ntwo' } },
        { name: 'c2', env: { WHO: 'second' } },
      ],
    });
    const pod = await untilPod(plane.admin, 'two', isRunningPod);
    expect(containerStatus(pod, 'before')?.state?.terminated?.exitCode).toBe(0);
    expect(await environmentOf(node, created, 'before')).toMatchObject({ WHO: 'before' });
    expect(await environmentOf(node, created, 'c1')).toMatchObject({ WHO: 'first', LINES: 'one\ntwo' });
    expect(await environmentOf(node, created, 'c2')).toMatchObject({ WHO: 'second' });
  });

  test('keeps containers running while the kubelet is killed and started again', async () => {
    const before = await untilPod(plane.admin, 'two', isRunningPod);
    await node.killKubelet();
    await node.startKubelet();
    // A pod created now proves that the new kubelet works, not only that it is up.
    await createNodePod(plane.admin, { name: 'later', nodeName: 'node-a', containers: [{ name: 'main' }] });
    await untilPod(plane.admin, 'later', isRunningPod);
    const after = await untilPod(plane.admin, 'two', isRunningPod);
    expect(containerStatus(after, 'c1')).toEqual(containerStatus(before, 'c1'));
  });

  test('restarts a container that fails, with a log for each run', async () => {
    const created = await createNodePod(plane.admin, {
      name: 'looping',
      nodeName: 'node-a',
      containers: [{ name: 'main', script: `echo run; ${PRINT_ENVIRONMENT}; false`, env: { WHO: 'looping' } }],
    });
    const pod = await untilPod(plane.admin, 'looping', (pod) => (containerStatus(pod, 'main')?.restartCount ?? 0) >= 1);
    expect(containerStatus(pod, 'main')?.lastState?.terminated?.exitCode).toBe(1);
    for (const restart of [0, 1]) {
      expect((await containerLog(node, created, 'main', { restart }))[0]).toBe('run');
      expect(await environmentOf(node, created, 'main', { restart })).toMatchObject({ WHO: 'looping' });
    }
  });

  test('lets no pod take a CDI device by an annotation of its own', async () => {
    await writeCdiSpec(node, 'one', ['INJECTED=yes']);
    const created = await createNodePod(plane.admin, {
      name: 'greedy',
      nodeName: 'node-a',
      annotations: { 'cdi.k8s.io/mine': 'gpuloom.io/slice=one' },
      containers: [{ name: 'main' }],
    });
    await untilPod(plane.admin, 'greedy', isRunningPod);
    expect(await environmentOf(node, created, 'main')).not.toHaveProperty('INJECTED');
  });

  test('starts with containerd 1.6 too, beside the other node', async () => {
    const other = await startNode(plane, { name: 'node-b', runtime: 'containerd-1.6', binaries: found });
    try {
      const created = await createNodePod(plane.admin, {
        name: 'elsewhere',
        nodeName: 'node-b',
        containers: [{ name: 'main', env: { WHO: 'b' } }],
      });
      await untilPod(plane.admin, 'elsewhere', isRunningPod);
      expect(await environmentOf(other, created, 'main')).toMatchObject({ WHO: 'b' });
      expect(await other.ctr(['version'])).toContain('1.6.');
    } finally {
      await other.stop();
    }
  });

  test('leaves nothing on the machine when it stops, with a container still running', async () => {
    await untilPod(plane.admin, 'greedy', isRunningPod);
    const containers = (await node.ctr(['tasks', 'list', '--quiet'])).trim().split('\n');
    // The container and what holds its pod's namespaces open.
    expect(containers.length).toBeGreaterThanOrEqual(2);
    await node.stop();
    expect(await machineState()).toEqual(machineBefore);
    expect(await processesOf(plane.dir)).toEqual([]);
  });
});

async function writeCdiSpec(node: RealNode, device: string, env: readonly string[]): Promise<void> {
  const spec = {
    cdiVersion: '0.5.0',
    kind: 'gpuloom.io/slice',
    devices: [{ name: device, containerEdits: { env } }],
  };
  await writeFile(join(node.cdiDir, `gpuloom.io-${device}.json`), JSON.stringify(spec));
}

/** What a node could change on the machine: its cgroups, its mounts, its settings and its folders. */
async function machineState(): Promise<readonly string[]> {
  const hierarchies = await readdir('/sys/fs/cgroup');
  const cgroups = await Promise.all(hierarchies.map((name) => readdir(`/sys/fs/cgroup/${name}`).catch(() => [])));
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).trim().split('\n');
  const settings = await Promise.all(
    SYSCTLS.map(async (name) => `${name} ${await readFile(`/proc/sys/${name}`, 'utf8')}`),
  );
  const folders = ['/var/lib/kubelet', '/var/lib/containerd', '/var/log/pods', '/run/containerd', '/opt/containerd'];
  const present = await Promise.all(
    folders.map((path) =>
      access(path).then(
        () => [path],
        () => [],
      ),
    ),
  );
  const ours = cgroups.flat().filter((name) => name.startsWith(`gpuloom-e2e-${process.pid}`));
  return [...ours, ...mounts, ...settings, ...present.flat()];
}

/** Command lines that still name the control plane's folder, apart from the control plane itself. */
async function processesOf(dir: string): Promise<readonly string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  const isNodes = (command: string): boolean => command.includes(`${dir}/node-`);
  return commands.filter(isNodes);
}
