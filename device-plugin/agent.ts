// The node agent as a running whole: GPUs and their health on one side, the kubelet and the API server on the other, the
// binding of containers between them. Puts the parts together and decides nothing itself.

import { existsSync } from 'node:fs';
import type { Clock } from '../extender/app/ports.ts';
import type { Gpu, IsolationLevel, PodRecord } from '../extender/core/model.ts';
import { PROFILES, type ProfileName } from '../extender/core/resources.ts';
import { createEventSink, type KubeEventSink } from '../extender/kube/events.ts';
import { systemDelays } from '../extender/kube/delays.ts';
import type { KubeApi } from '../extender/kube/kube-api.ts';
import type { CdiMount } from './binding/cdi-spec.ts';
import { EnvBinding } from './binding/env-binding.ts';
import { NodeJudge } from './binding/judge.ts';
import { LateBinding } from './binding/late-binding.ts';
import { specFolder } from './binding/spec-folder.ts';
import { startAgentDuties } from './duties.ts';
import { HealthMonitor } from './health/monitor.ts';
import type { HealthPolicy } from './health/state.ts';
import type { XidSettings } from './health/xids.ts';
import { InventoryBoard } from './inventory-board.ts';
import { parseSliceId } from './inventory/devices.ts';
import { hostReader } from './inventory/host.ts';
import type { InventorySource } from './inventory/source.ts';
import { NO_RESERVE } from './inventory/to-inventory.ts';
import { watchNodePods } from './kube/node-pods.ts';
import { startPublisher } from './kube/inventory-publisher.ts';
import { kubeletWitness } from './kubelet-witness.ts';
import { systemClock as kubeletClock } from './kubelet/clock.ts';
import { startDevicePlugin, type DevicePlugin } from './kubelet/device-plugin.ts';
import type { PluginEvent } from './kubelet/events.ts';
import { openPodResources } from './kubelet/pod-resources.ts';
import { ownerReader } from './load/cgroup.ts';
import { loadReporter } from './load/report.ts';
import { agentMetrics, AgentCounters } from './metrics.ts';
import { startOpsListener } from './ops-listener.ts';
import { recoverGrants } from './recovery.ts';
import { cdiHandlers, coreHandlers, envHandlers } from './slice-handlers.ts';

export interface AgentOptions {
  readonly nodeName: string;
  readonly profile: ProfileName;
  readonly source: InventorySource;
  readonly api: KubeApi;
  readonly kubeletDir: string;
  readonly podResourcesSocket: string;
  readonly cdiDir: string;
  readonly binding: 'cdi' | 'env';
  readonly unitMiB: number;
  readonly isolation: IsolationLevel;
  readonly mpsPipeDirectory?: string;
  readonly mounts?: readonly CdiMount[];
  readonly deviceNodes: 'auto' | 'none';
  readonly healthPolicy?: HealthPolicy;
  readonly probeIntervalMillis?: number;
  readonly xids?: XidSettings;
  readonly procRoot?: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly log: AgentLog;
}

export interface AgentLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export interface Agent {
  readonly address: { readonly host: string; readonly port: number };
  /** Ends the plugin's streams and everything else; running containers keep what they have. Bounded. */
  stop(): Promise<void>;
}

const clock: Clock = { wallMillis: () => Date.now(), monotonicMillis: () => performance.now() };
const COMMON_DEVICE_NODES = ['/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/nvidia-uvm-tools', '/dev/nvidia-modeset'];
const RECOVERY_RETRY_MILLIS = 1000;
const GPUSHARE_SOCKET = 'aliyungpushare';

export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { log, api, nodeName, source } = options;
  const profile = PROFILES[options.profile];
  const delays = systemDelays();
  const counters = new AgentCounters();
  const judge = new NodeJudge();
  const specs = specFolder(options.cdiDir);
  const stopped = new AbortController();
  const events = createEventSink({
    api,
    clock,
    delays,
    controller: 'gpuloom.io/device-plugin',
    instance: nodeName,
    report: (message) => log.warn(message),
  });
  const pods = watchNodePods({
    api,
    clock,
    delays,
    nodeName,
    profile,
    onGone: (uid) => judge.release(uid),
    onSeen: () => undefined,
    report: ({ kind, message }) => log.warn(`watching the pods of this node: ${kind}: ${message}`),
  });
  const reader = openPodResources({ socketPath: options.podResourcesSocket });
  const witness = kubeletWitness({ reader, kubeletDir: options.kubeletDir, resource: profile.memoryResource });
  const publisher = startPublisher({
    api,
    delays,
    nodeName,
    profile: options.profile,
    report: (message) => log.warn(message),
  });
  const monitor = new HealthMonitor({
    source,
    timers: { now: () => clock.monotonicMillis(), after: kubeletClock.after },
    ...(options.healthPolicy === undefined ? {} : { policy: options.healthPolicy }),
    ...(options.probeIntervalMillis === undefined ? {} : { intervalMillis: options.probeIntervalMillis }),
    ...(options.xids === undefined ? {} : { xids: options.xids }),
    onTransition: ({ uuid, to }) => {
      log.info(`GPU ${uuid} is ${to.health}${to.reason === '' ? '' : `: ${to.reason}`}`);
      board.update();
    },
    onReading: () => board.update(),
    onTrouble: (why) => log.warn(`reading the GPUs: ${why}`),
  });
  const ready = Promise.withResolvers<void>();
  const { memory, core, late, env } = plugins();
  const board = new InventoryBoard({
    monitor,
    options: { unitMiB: options.unitMiB, isolation: options.isolation, reserve: NO_RESERVE },
    judge,
    announceMemory: (devices) => announce(memory, devices),
    announceCore: (devices) => announce(core, devices),
    publish: (inventory) => publisher.publish(inventory),
    onNotes: (notes) => notes.forEach(({ gpu, why }) => log.warn(`GPU ${gpu}: ${why}`)),
  });
  const report = loadReporter({
    node: nodeName,
    read: () => source.read(),
    host: hostReader(() => clock.monotonicMillis()),
    owner: ownerReader(options.procRoot),
    clock,
  });
  const duties = startAgentDuties({
    api,
    nodeName,
    monitor,
    judge,
    pods,
    late,
    env,
    events,
    report,
    counters,
    unitMiB: options.unitMiB,
    log,
  });
  monitor.start();
  void recover();
  const listener = await startOpsListener(options.listen, {
    notReady: () => whyNotReady(),
    metrics: () => agentMetrics({ board, monitor, judge, memory, counters }),
    report,
  });
  return { address: listener.address, stop };

  function plugins(): { memory: DevicePlugin; core: DevicePlugin | undefined; late: LateBinding; env: EnvBinding } {
    const common = {
      witness,
      pods,
      judge,
      inventory: () => board.inventory,
      settings: () => ({
        profile: options.profile,
        unitMiB: options.unitMiB,
        mps:
          options.isolation === 'mps' && options.mpsPipeDirectory !== undefined
            ? { pipeDirectory: options.mpsPipeDirectory }
            : undefined,
        disablesIsolation: duties.disablesIsolation(),
      }),
      refusals: { refused: refuse },
    };
    const lateBinding = new LateBinding({
      ...common,
      specs,
      deviceNodes: (gpus) => (options.deviceNodes === 'none' ? [] : presentDeviceNodes(gpus)),
      mounts: options.mounts ?? [],
    });
    const envBinding = new EnvBinding({ ...common, specs, gpuOfId });
    const whenReady = (): Promise<void> => ready.promise;
    const settings = { kubeletDir: options.kubeletDir, report: onPluginEvent };
    const memoryPlugin = startDevicePlugin({
      ...settings,
      resourceName: profile.memoryResource,
      socketPrefix: options.profile === 'gpushare' ? GPUSHARE_SOCKET : 'gpuloom-mem',
      preStartRequired: true,
      preferredAvailable: options.binding === 'env',
      handlers: options.binding === 'cdi' ? cdiHandlers(lateBinding, whenReady) : envHandlers(envBinding, whenReady),
    });
    // gpushare has no compute resource; announcing one would change what its clusters see.
    const corePlugin =
      options.profile === 'gpushare'
        ? undefined
        : startDevicePlugin({
            ...settings,
            resourceName: profile.coreResource,
            socketPrefix: 'gpuloom-core',
            preStartRequired: false,
            preferredAvailable: false,
            handlers: coreHandlers(),
          });
    return { memory: memoryPlugin, core: corePlugin, late: lateBinding, env: envBinding };
  }

  function announce(plugin: DevicePlugin | undefined, devices: Parameters<DevicePlugin['setDevices']>[0]): void {
    try {
      plugin?.setDevices(devices);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      log.error(error.message);
      counters.oversized = error.message;
    }
  }

  function refuse(pod: PodRecord | undefined, why: string): void {
    counters.refusals++;
    log.warn(`a container may not start: ${why}`);
    if (pod !== undefined) events.publish({ pod, type: 'Warning', reason: 'GpuRefusedByNode', message: why });
  }

  function onPluginEvent(event: PluginEvent): void {
    if (event.kind === 'registered') counters.registrations++;
    else if (event.kind === 'call-failed')
      log.warn(`${event.call} failed after ${Math.round(event.tookMillis)} ms: ${event.message}`);
    else if (event.kind === 'registration-failed' || event.kind === 'connection-refused') log.warn(event.message);
  }

  /** Tries until the kubelet has told what is held; nothing is granted before. */
  async function recover(): Promise<void> {
    while (!stopped.signal.aborted) {
      try {
        if (pods.reflector.status().synced && monitor.reading !== undefined) {
          const count = await recoverGrants({
            specs,
            witness,
            pods,
            judge,
            inventory: () => board.inventory,
            report: (message) => log.error(message),
          });
          if (count > 0) log.info(`${count} running pods are on the books again`);
          ready.resolve();
          return;
        }
      } catch (error) {
        log.warn(
          `the kubelet does not say yet what is held: ${error instanceof Error ? error.message : String(error)}`,
        );
      }
      await delays.sleep(RECOVERY_RETRY_MILLIS / 10, stopped.signal);
    }
  }

  function whyNotReady(): string | undefined {
    if (monitor.reading === undefined) return 'the GPUs have not been read yet';
    if (!memory.status().registered) return 'not registered with the kubelet';
    if (!publisher.isPublished()) return 'the inventory is not published yet';
    return counters.oversized;
  }

  async function stop(): Promise<void> {
    stopped.abort();
    duties.stop();
    monitor.stop();
    publisher.stop();
    await Promise.all([memory.stop(), core?.stop()]);
    await pods.reflector.stop();
    reader.close();
    await stopEvents(events);
    await source.close();
    await listener.close();
  }
}

async function stopEvents(events: KubeEventSink): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, 1000);
  await Promise.race([events.idle(), promise]);
  clearTimeout(timer);
  await events.stop();
}

function gpuOfId(id: string): string | undefined {
  const parsed = parseSliceId(id);
  return parsed.kind === 'slice' ? parsed.uuid : undefined;
}

/** Device files of these GPUs and of the driver, as far as they are on this node. */
function presentDeviceNodes(gpus: readonly Gpu[]): readonly string[] {
  return [...gpus.map(({ minor }) => `/dev/nvidia${minor}`), ...COMMON_DEVICE_NODES].filter((path) => existsSync(path));
}
