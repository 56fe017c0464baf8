// The device plugins of this node: memory slices, which decide a container's GPUs, and compute slices, which only count.

import { existsSync } from 'node:fs';
import type { Gpu } from '../extender/core/model.ts';
import { PROFILES } from '../extender/core/resources.ts';
import type { AgentOptions } from './agent-options.ts';
import type { CdiMount } from './binding/cdi-spec.ts';
import type { Environment } from './binding/container-env.ts';
import { EnvBinding } from './binding/env-binding.ts';
import type { NodeJudge } from './binding/judge.ts';
import { LateBinding, type LateBindingDeps } from './binding/late-binding.ts';
import { parseSliceId } from './inventory/devices.ts';
import type { PluginDevice } from './kubelet/device-list.ts';
import { startDevicePlugin, type DevicePlugin } from './kubelet/device-plugin.ts';
import type { ReportEvent } from './kubelet/events.ts';
import { loadDevicePluginApi } from './proto/services.ts';
import type { KubeletWitness, LimitKeeper, NodePods, RefusalSink, SpecStore } from './ports.ts';
import { cdiHandlers, coreHandlers, envHandlers, type WhenReady } from './slice-handlers.ts';

export interface SlicePluginDeps {
  readonly options: AgentOptions;
  readonly witness: KubeletWitness;
  readonly pods: NodePods;
  readonly judge: NodeJudge;
  readonly specs: SpecStore;
  readonly refusals: RefusalSink;
  readonly limits: LimitKeeper;
  readonly inventory: LateBindingDeps['inventory'];
  readonly disablesIsolation: () => boolean;
  readonly whenReady: WhenReady;
  readonly report: ReportEvent;
  /** The kubelet would not take the list. */
  readonly onOversized: (why: string | undefined) => void;
}

export interface SlicePlugins {
  readonly late: LateBinding;
  readonly env: EnvBinding;
  readonly memory: DevicePlugin;
  announceMemory(devices: readonly PluginDevice[]): void;
  announceCore(devices: readonly PluginDevice[]): void;
  stop(): Promise<void>;
}

const COMMON_DEVICE_NODES = ['/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/nvidia-uvm-tools', '/dev/nvidia-modeset'];
const GPUSHARE_SOCKET = 'aliyungpushare';

export function startSlicePlugins(deps: SlicePluginDeps): SlicePlugins {
  const { options, onOversized } = deps;
  const bindingDeps = bindingDepsOf(deps);
  const late = new LateBinding(bindingDeps);
  const env = new EnvBinding({ ...bindingDeps, gpuOfId, environmentIn: environmentReader() });
  const memory = startMemoryPlugin(deps, late, env);
  // gpushare has no compute resource; announcing one would change what its clusters see.
  const core = options.profile === 'gpushare' ? undefined : startCorePlugin(deps);
  const announce = (plugin: DevicePlugin | undefined, devices: readonly PluginDevice[]): void => {
    try {
      plugin?.setDevices(devices);
      if (plugin === memory) onOversized(undefined);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      onOversized(error.message);
    }
  };
  return {
    late,
    env,
    memory,
    announceMemory: (devices) => announce(memory, devices),
    announceCore: (devices) => announce(core, devices),
    stop: async () => {
      await Promise.all([memory.stop(), core?.stop()]);
    },
  };
}

function bindingDepsOf({
  options,
  witness,
  pods,
  judge,
  specs,
  refusals,
  limits,
  inventory,
  disablesIsolation,
}: SlicePluginDeps): LateBindingDeps {
  const { isolation, mpsPipeDirectory } = options;
  const mps = isolation === 'mps' && mpsPipeDirectory !== undefined ? { pipeDirectory: mpsPipeDirectory } : undefined;
  return {
    witness,
    pods,
    judge,
    specs,
    refusals,
    limits,
    inventory,
    settings: () => ({
      profile: options.profile,
      unitMiB: options.unitMiB,
      mps,
      disablesIsolation: disablesIsolation(),
      common: options.commonEnv ?? {},
    }),
    deviceNodes: (gpus) => (options.deviceNodes === 'none' ? [] : presentDeviceNodes(gpus)),
    mounts: mountsOf(options),
  };
}

/** An MPS client reaches its daemon through the pipe directory and shared memory of the host. */
function mountsOf({ isolation, mpsPipeDirectory, mounts = [] }: AgentOptions): readonly CdiMount[] {
  if (isolation !== 'mps' || mpsPipeDirectory === undefined) return mounts;
  const shared = [mpsPipeDirectory, '/dev/shm'].map((path) => ({
    hostPath: path,
    containerPath: path,
    options: ['rw', 'bind'],
  }));
  return [...mounts, ...shared];
}

function startMemoryPlugin(
  { options, whenReady, report }: SlicePluginDeps,
  late: LateBinding,
  env: EnvBinding,
): DevicePlugin {
  const isCdi = options.binding === 'cdi';
  return startDevicePlugin({
    resourceName: PROFILES[options.profile].memoryResource,
    kubeletDir: options.kubeletDir,
    socketPrefix: options.profile === 'gpushare' ? GPUSHARE_SOCKET : 'gpuloom-mem',
    preStartRequired: true,
    preferredAvailable: !isCdi,
    handlers: isCdi ? cdiHandlers(late, whenReady) : envHandlers(env, mountsOf(options), whenReady),
    report,
  });
}

function startCorePlugin({ options, report }: SlicePluginDeps): DevicePlugin {
  return startDevicePlugin({
    resourceName: PROFILES[options.profile].coreResource,
    kubeletDir: options.kubeletDir,
    socketPrefix: 'gpuloom-core',
    preStartRequired: false,
    preferredAvailable: false,
    handlers: coreHandlers(),
    report,
  });
}

function gpuOfId(id: string): string | undefined {
  const parsed = parseSliceId(id);
  return parsed.kind === 'slice' ? parsed.uuid : undefined;
}

function environmentReader(): (allocation: Buffer) => Environment | undefined {
  const { decodeContainerAllocation } = loadDevicePluginApi();
  return (allocation) => {
    try {
      return decodeContainerAllocation(allocation).envs;
    } catch {
      // Damaged: then the ids must say it.
      return undefined;
    }
  };
}

/** Device files of these GPUs and of the driver, as far as they are on this node. */
function presentDeviceNodes(gpus: readonly Gpu[]): readonly string[] {
  return [...gpus.map(({ minor }) => `/dev/nvidia${minor}`), ...COMMON_DEVICE_NODES].filter((path) => existsSync(path));
}
