// The configuration files of a test node's kubelet and containerd: everything on loopback or on sockets, nothing of the
// machine changed, no eviction by the machine's fill, and capacity reported within a second. Pure texts.

import { stringify } from 'yaml';

import { PAUSE_IMAGE } from './images.ts';
import type { ContainerRuntime } from './node-binaries.ts';

/** Paths inside the node's namespaces. */
export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

export interface KubeletConfigOptions {
  readonly cgroup: string;
  readonly port: number;
  readonly healthPort: number;
}

export interface ContainerdConfigOptions {
  readonly runtime: ContainerRuntime;
  readonly root: string;
  readonly cdiDir: string;
  readonly networkPlugins: string;
  readonly networkConfigDir: string;
}

export function kubeletConfig(options: KubeletConfigOptions): string {
  return stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    address: '127.0.0.1',
    port: options.port,
    readOnlyPort: 0,
    healthzBindAddress: '127.0.0.1',
    healthzPort: options.healthPort,
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${options.cgroup}`,
    failSwapOn: false,
    makeIPTablesUtilChains: false,
    // The default is ten seconds: so long would a device plugin's capacity take to show.
    nodeStatusUpdateFrequency: '1s',
    enableControllerAttachDetach: false,
    resolvConf: '',
    evictionHard: { 'memory.available': '0%', 'nodefs.available': '0%', 'imagefs.available': '0%' },
    imageGCHighThresholdPercent: 100,
    oomScoreAdj: 0,
  });
}

export function containerdConfig(options: ContainerdConfigOptions): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  const cdi = ['enable_cdi = true', `cdi_spec_dirs = [${JSON.stringify(options.cdiDir)}]`];
  return [
    'version = 2',
    `root = ${JSON.stringify(options.root)}`,
    'state = "/run/containerd"',
    // This one would make a folder in /opt.
    'disabled_plugins = ["io.containerd.internal.v1.opt"]',
    '[grpc]',
    `address = "${CONTAINERD_SOCKET}"`,
    `[${cri}]`,
    `sandbox_image = "${PAUSE_IMAGE}"`,
    // Without it runc dies where root may not lower the score (no CAP_SYS_RESOURCE).
    'restrict_oom_score_adj = true',
    ...(options.runtime === 'containerd-1.7' ? cdi : []),
    `[${cri}.containerd]`,
    // Works on every file system; the images are small.
    'snapshotter = "native"',
    `[${cri}.cni]`,
    `bin_dir = ${JSON.stringify(options.networkPlugins)}`,
    `conf_dir = ${JSON.stringify(options.networkConfigDir)}`,
    '',
  ].join('\n');
}

/** Enough for pods in the host's network, which are all that a test node runs. */
export function loopbackNetwork(): string {
  return JSON.stringify({ cniVersion: '0.4.0', name: 'loopback', plugins: [{ type: 'loopback' }] });
}
