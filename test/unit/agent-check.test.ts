// `--check` on nodes in every state: what it says, and whether it says that the agent would start.

import { createServer } from 'node:net';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FileText } from '../../device-plugin/cdi-support.ts';
import { runCheck } from '../../device-plugin/check.ts';
import type { CheckProbes, CheckResult } from '../../device-plugin/check.ts';
import type { FolderFacts, GpuFacts, SocketFacts } from '../../device-plugin/check-findings.ts';
import { probeFolder, probeSocket, probeText, systemProbes } from '../../device-plugin/check-probes.ts';
import { loadAgentConfig } from '../../device-plugin/config.ts';
import type { AgentConfig } from '../../device-plugin/config.ts';
import type { GpuReading, ReadableGpu } from '../../device-plugin/inventory/source.ts';
import type { MpsReach } from '../../device-plugin/ports.ts';
import { isRecord, KubeUnreachable } from '../../extender/kube/kube-api.ts';
import type { KubeAnswer, KubeApi } from '../../extender/kube/kube-api.ts';

const KUBELET = '/var/lib/kubelet/device-plugins';
const POD_RESOURCES = '/var/lib/kubelet/pod-resources/kubelet.sock';

function configOf(argv: readonly string[] = [], file = ''): AgentConfig {
  const inputs = { argv: ['--config', 'f', ...argv], env: { NODE_NAME: 'gpu-1' }, readFile: () => file, version: '0' };
  const result = loadAgentConfig(inputs);
  if (result.kind !== 'config') throw new Error(JSON.stringify(result));
  return result.config;
}

function gpu(index: number, changes: Partial<ReadableGpu> = {}): ReadableGpu {
  return {
    kind: 'readable',
    uuid: `GPU-${index}`,
    index,
    minor: index,
    model: 'NVIDIA A100',
    memoryMiB: 40_960,
    pciBusId: '',
    numa: index,
    mig: 'disabled',
    ecc: undefined,
    memoryUsedMiB: undefined,
    smUtilisation: undefined,
    memoryUtilisation: undefined,
    processes: undefined,
    ...changes,
  };
}

function read(...gpus: readonly GpuReading[]): GpuFacts {
  return { kind: 'read', reading: { source: 'nvml', driverVersion: '550.54', gpus, links: [] }, passedOver: [] };
}

/** What differs from a node on which all is well. */
interface Node {
  readonly gpus?: GpuFacts;
  readonly folders?: Readonly<Record<string, FolderFacts['kind']>>;
  readonly sockets?: Readonly<Record<string, SocketFacts['kind']>>;
  /** Why the MPS control daemon is not reached; nothing: it is. */
  readonly mps?: string;
  readonly runtime?: string;
  readonly containerd?: FileText;
  readonly podResources?: string;
  readonly node?: number;
  readonly forbidden?: readonly string[];
  readonly apiServer?: string;
}

function probesOf(node: Node): CheckProbes {
  const presentSockets: readonly string[] = [`${KUBELET}/kubelet.sock`, POD_RESOURCES];
  return {
    gpus: async () => node.gpus ?? read(gpu(0), gpu(1)),
    folder: async (path) => ({ kind: node.folders?.[path] ?? 'writable' }),
    socket: async (path) => ({
      kind: node.sockets?.[path] ?? (presentSockets.includes(path) ? 'answers' : 'missing'),
    }),
    podResources: async () => {
      if (node.podResources !== undefined) throw new Error(node.podResources);
      return 3;
    },
    mps: async (): Promise<MpsReach> =>
      node.mps === undefined ? { kind: 'reached' } : { kind: 'unreached', why: node.mps },
    text: async () => node.containerd ?? { kind: 'missing' },
    apiServer() {
      if (node.apiServer === 'no credentials') throw new Error('no API server is known: give --kubeconfig');
      return { server: 'https://10.0.0.1:443', api: apiOf(node) };
    },
  };
}

function apiOf(node: Node): KubeApi {
  return {
    async request(_method, path, { body }): Promise<KubeAnswer> {
      if (node.apiServer === 'unreachable') throw new KubeUnreachable('no answer from https://10.0.0.1:443', 'no');
      if (path.endsWith('selfsubjectaccessreviews')) {
        const spec = isRecord(body) && isRecord(body['spec']) ? body['spec']['resourceAttributes'] : undefined;
        const asked = isRecord(spec) ? `${String(spec['verb'])} ${String(spec['resource'])}` : '';
        const allowed = node.forbidden?.includes(asked) !== true;
        return { status: 201, headers: {}, body: { status: { allowed } } };
      }
      const status = node.node ?? 200;
      const nodeInfo = { containerRuntimeVersion: node.runtime ?? 'containerd://2.0.1' };
      return { status, headers: {}, body: status === 200 ? { status: { nodeInfo } } : { message: 'so said it' } };
    },
    stream: async () => {
      throw new Error('nothing is watched in a check');
    },
  };
}

async function check(node: Node, config: AgentConfig = configOf()): Promise<CheckResult> {
  return runCheck(config, probesOf(node));
}

describe('a node on which all is well', () => {
  it('is told as such, with what the agent would offer', async () => {
    expect(await check({})).toEqual({
      ok: true,
      text: `Node gpu-1

ok     GPUs               2 found by nvml, driver 550.54
                          0  GPU-0  NVIDIA A100, 40960 MiB, NUMA node 0
                          1  GPU-1  NVIDIA A100, 40960 MiB, NUMA node 1
ok     slices             80 of 1024 MiB; the list takes 3 KiB of the 4 MiB that the kubelet reads
ok     kubelet folder     /var/lib/kubelet/device-plugins is there and can be written
ok     kubelet            /var/lib/kubelet/device-plugins/kubelet.sock answers
ok     pod resources      /var/lib/kubelet/pod-resources/kubelet.sock answers; 3 pods hold devices
ok     binding            cdi: containerd://2.0.1 has CDI unless it was switched off
ok     CDI folder         /var/run/cdi is there and can be written
ok     state folder       /var/lib/gpuloom is there and can be written
ok     API server         https://10.0.0.1:443 answers and has Node gpu-1

Nothing would stop the agent on this node.
`,
    });
  });

  it('is so too with the gpushare profile once its old plugin is gone, and with MPS once its daemon runs', async () => {
    const leftover: Node = { sockets: { [`${KUBELET}/aliyungpushare.sock`]: 'silent' } };
    const gone = await check(leftover, configOf(['--profile', 'gpushare']));
    expect(gone).toMatchObject({ ok: true });
    expect(gone.text).toContain('aliyungpushare.sock is left over');
    const mps = configOf([], 'isolation: mps\nmpsPipeDirectory: /tmp/nvidia-mps\n');
    const running = await check({}, mps);
    expect(running.ok).toBe(true);
    expect(running.text).toContain('MPS                the control daemon listens in /tmp/nvidia-mps');
  });
});

describe('the state folder', () => {
  it.each<[FolderFacts['kind'], string]>([
    ['missing', 'note   state folder       /var/lib/gpuloom is not there yet and will be made'],
    ['readonly', 'until then a restart forgets which GPUs were sick'],
    ['denied', 'until then a restart forgets which GPUs were sick'],
  ])('stops no agent when it is %s, but the check tells of it', async (kind, said) => {
    const { ok, text } = await check({ folders: { '/var/lib/gpuloom': kind } });
    expect(ok).toBe(true);
    expect(text).toContain(said);
  });
});

describe('a node that would stop the agent', () => {
  it.each<[string, Node, string]>([
    ['no GPU', { gpus: read() }, 'To try the agent without a GPU: --inventory file:gpus.yaml'],
    [
      'GPUs that cannot be read',
      { gpus: read({ kind: 'unreadable', index: 0, uuid: 'GPU-x', pciBusId: '', why: 'lost' }) },
      'cannot be read: lost',
    ],
    ['GPUs smaller than a slice', { gpus: read(gpu(0, { memoryMiB: 512 })) }, 'choose a smaller unit'],
    ['MIG on its only GPU', { gpus: read(gpu(0, { mig: 'enabled' })), node: 403 }, 'disable MIG to share it'],
    ['no kubelet folder', { folders: { [KUBELET]: 'missing' } }, 'mount it from the host'],
    ['a kubelet folder that cannot be written', { folders: { [KUBELET]: 'readonly' } }, 'run as root'],
    ['a kubelet that does not run', { sockets: { [`${KUBELET}/kubelet.sock`]: 'silent' } }, 'systemctl status kubelet'],
    ['no pod resources', { sockets: { [POD_RESOURCES]: 'missing' } }, 'is its folder mounted into this container'],
    ['an old kubelet', { podResources: 'Kubernetes 1.20 or later is needed' }, 'Kubernetes 1.20 or later'],
    ['no credentials', { apiServer: 'no credentials' }, 'give --kubeconfig'],
    ['no API server', { apiServer: 'unreachable' }, 'no answer from https://10.0.0.1:443'],
    ['another name in the cluster', { node: 404 }, '--node-name must be the name that kubectl get nodes shows'],
    ['no roles', { node: 403 }, 'deploy/kustomize/agent/rbac.yaml'],
    ['a token that is not valid', { node: 401 }, 'the token or certificate is not valid'],
    ['roles of which one is missing', { forbidden: ['patch nodes'] }, 'the API server forbids: patch nodes'],
  ])('because of %s is told what to do', async (_what, node, advice) => {
    const { ok, text } = await check(node);
    expect(ok).toBe(false);
    expect(text).toContain(advice);
    expect(text).toMatch(/would stop the agent on this node\.\n$/);
    expect(text).not.toMatch(/\n\s+at /);
  });

  it('because its slices are too many for the kubelet is given a unit that will do', async () => {
    const many: Node = { gpus: read(...[0, 1, 2, 3, 4, 5, 6, 7].map((index) => gpu(index, { memoryMiB: 143_771 }))) };
    const { ok, text } = await check(many, configOf(['--unit-mib', '8']));
    expect(ok).toBe(false);
    const [, proposal = ''] = /use --unit-mib (\d+) on all nodes/.exec(text) ?? [];
    expect(await check(many, configOf(['--unit-mib', proposal]))).toMatchObject({ ok: true });
  });

  it("because gpushare's plugin still runs is told, but only in its profile", async () => {
    const rival: Node = { sockets: { [`${KUBELET}/aliyungpushare.sock`]: 'answers' } };
    expect((await check(rival, configOf(['--profile', 'gpushare']))).text).toContain('remove its DaemonSet');
    expect((await check(rival)).ok).toBe(true);
  });

  it('because the right that gpushare needs besides is missing is told so', async () => {
    const { text } = await check({ forbidden: ['patch nodes'] }, configOf(['--profile', 'gpushare']));
    expect(text).toContain('forbids: patch nodes, patch nodes/status');
  });

  it('because the MPS control daemon does not run is told why that matters and how to start it', async () => {
    const config = configOf([], 'isolation: mps\nmpsPipeDirectory: /run/mps\n');
    const { ok, text } = await check({ mps: '/run/mps/control is not there' }, config);
    expect(ok).toBe(false);
    expect(text).toContain(`
STOPS  MPS                /run/mps/control is not there
                          no GPU container would start, because its limits would not be enforced
                          start nvidia-cuda-mps-control -d on this node with CUDA_MPS_PIPE_DIRECTORY=/run/mps, or`);
  });
});

describe('the way of binding', () => {
  const on17 = 'containerd://1.7.24';
  it.each<[string, string, Node, boolean, string]>([
    ['auto', 'CDI is not to be had', { runtime: 'containerd://1.6.20' }, true, 'env: CDI is not to be had'],
    ['auto', 'CDI is unknown', { runtime: on17 }, true, 'if you know better, say --binding cdi'],
    ['cdi', 'CDI is unknown', { runtime: on17 }, true, 'cdi, as configured: containerd://1.7.24 has CDI only with'],
    ['cdi', 'CDI is off', { runtime: on17, containerd: { kind: 'text', text: '' } }, false, 'set enable_cdi = true'],
    ['cdi', 'the folder is missing', { folders: { '/var/run/cdi': 'missing' } }, true, 'will be made'],
    ['cdi', 'the folder is read-only', { folders: { '/var/run/cdi': 'readonly' } }, false, 'cannot be written'],
    ['env', 'CDI is there', {}, true, 'so --binding cdi would be exact'],
  ])('%s, where %s', async (binding, _where, node, ok, said) => {
    const result = await check(node, configOf(['--binding', binding]));
    expect(result.text).toContain(said);
    expect(result.ok).toBe(ok);
  });
});

describe('the probes of a real node', () => {
  let folder = '';
  const server = createServer();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'check-'));
    await new Promise<void>((resolve) => {
      server.listen(join(folder, 'live.sock'), resolve);
    });
    await writeFile(join(folder, 'file'), 'text');
    await symlink('nowhere', join(folder, 'dangling'));
  });

  afterAll(async () => {
    await new Promise((resolve) => {
      server.close(resolve);
    });
    await rm(folder, { recursive: true });
  });

  it('tell sockets, folders and files that are there from those that are not', async () => {
    expect(await probeSocket(join(folder, 'live.sock'))).toEqual({ kind: 'answers' });
    expect(await probeSocket(join(folder, 'file'))).toEqual({ kind: 'silent' });
    expect(await probeSocket(join(folder, 'gone.sock'))).toEqual({ kind: 'missing' });
    expect(await probeFolder(folder)).toEqual({ kind: 'writable' });
    expect(await probeFolder(join(folder, 'file'))).toEqual({ kind: 'not-a-folder' });
    expect(await probeFolder(join(folder, 'dangling'))).toEqual({ kind: 'missing' });
    expect(await probeText(join(folder, 'file'))).toEqual({ kind: 'text', text: 'text' });
    expect(await probeText(join(folder, 'gone'))).toEqual({ kind: 'missing' });
    expect(await probeText(folder)).toMatchObject({ kind: 'unreadable' });
  });

  it('explain a machine without GPU, driver, kubelet or cluster in plain words', async () => {
    const inventory = { nvml: { library: join(folder, 'no-nvml.so') }, smi: { program: join(folder, 'no-smi') } };
    const credentials = (): never => {
      throw new Error('no API server is known: give --kubeconfig');
    };
    const config = { ...configOf(['--kubelet-dir', folder, '--pod-resources', join(folder, 'none.sock')]) };
    const { ok, text } = await runCheck(config, systemProbes({ credentials, userAgent: 'test', inventory }));
    expect(ok).toBe(false);
    for (const said of [
      'nvml: cannot load',
      'smi: ',
      'does nvidia-smi list it?',
      'kubelet.sock is not there',
      'give --kubeconfig',
    ]) {
      expect(text).toContain(said);
    }
    expect(text).not.toMatch(/\n\s+at |undefined|\[object/);
  });
});
