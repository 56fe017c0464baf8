// The node agent as a running whole: GPUs and their health on one side, the kubelet and the API server on the other, the
// binding of containers between them. Puts the parts together and decides nothing itself.

import type { Clock } from '../extender/app/ports.ts';
import { PROFILES } from '../extender/core/resources.ts';
import { createEventSink, type KubeEventSink } from '../extender/kube/events.ts';
import { systemDelays } from '../extender/kube/delays.ts';
import { messageOf } from '../extender/kube/kube-api.ts';
import { openAgentMemory, type AgentMemory } from './agent-memory.ts';
import type { AgentOptions } from './agent-options.ts';
import { NodeJudge } from './binding/judge.ts';
import { specFolder } from './binding/spec-folder.ts';
import { startAgentDuties } from './duties.ts';
import { HealthMonitor, type MonitorTimers } from './health/monitor.ts';
import { InventoryBoard } from './inventory-board.ts';
import { hostReader } from './inventory/host.ts';
import { NO_RESERVE } from './inventory/to-inventory.ts';
import { startPublisher, type InventoryPublisher } from './kube/inventory-publisher.ts';
import { watchNodePods, type WatchedNodePods } from './kube/node-pods.ts';
import { kubeletWitness } from './kubelet-witness.ts';
import { systemClock as kubeletClock } from './kubelet/clock.ts';
import type { PluginEvent } from './kubelet/events.ts';
import { openPodResources } from './kubelet/pod-resources.ts';
import { ownerReader } from './load/cgroup.ts';
import { whyNotHostPids } from './load/pid-namespace.ts';
import { loadReporter } from './load/report.ts';
import { agentMetrics, AgentCounters } from './metrics.ts';
import { nodeLimits, type NodeLimits } from './mps/limit-keeper.ts';
import { startOpsListener } from './ops-listener.ts';
import { recoverGrants, type RecoveryDeps } from './recovery.ts';
import { startSlicePlugins, type SlicePlugins } from './slice-plugins.ts';

export interface Agent {
  readonly address: { readonly host: string; readonly port: number };
  /** Ends the plugin's streams and everything else; running containers keep what they have. Bounded. */
  stop(): Promise<void>;
}

const clock: Clock = { wallMillis: () => Date.now(), monotonicMillis: () => performance.now() };
const delays = systemDelays();
const monitorTimers: MonitorTimers = {
  now: () => clock.monotonicMillis(),
  after: (delayMillis, action) => kubeletClock.after(delayMillis, action),
};
const RECOVERY_RETRY_MILLIS = 200;
const EVENTS_DRAIN_MILLIS = 1000;

export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { log, api, nodeName, source } = options;
  const memory = await openAgentMemory(options, clock);
  const whyNoProcesses = await whyNotHostPids(options.hostPids ?? 'auto', options.procRoot ?? '/proc');
  if (whyNoProcesses !== undefined) log.info(`use of GPUs is not told by pod: ${whyNoProcesses}`);
  const counters = new AgentCounters();
  const judge = new NodeJudge();
  const specs = specFolder(options.cdiDir);
  const recovered = Promise.withResolvers<void>();
  const stopped = new AbortController();
  const report = (message: string): void => log.warn(message);
  const events = createEventSink({
    api,
    clock,
    delays,
    controller: 'gpuloom.io/device-plugin',
    instance: nodeName,
    report,
  });
  const pods = watchPods(options, judge);
  const reader = openPodResources({ socketPath: options.podResourcesSocket });
  const resource = PROFILES[options.profile].memoryResource;
  const witness = kubeletWitness({ reader, kubeletDir: options.kubeletDir, resource });
  const publisher = startPublisher({ api, delays, nodeName, profile: options.profile, report });
  const monitor = createMonitor(options, memory, events, () => {
    board.update();
    memory.keep(monitor, board.inventory);
  });
  const limits = nodeLimits({
    options,
    timers: monitorTimers,
    publishForNode: (event) => events.publishForNode(event),
    onChange: () => board.update(),
  });
  const inventory = (): InventoryBoard['inventory'] => board.inventory;
  const plugins = startSlicePlugins({
    options,
    witness,
    pods,
    judge,
    specs,
    inventory,
    refusals: refusalSink(options, counters, events),
    limits,
    disablesIsolation: () => duties.disablesIsolation(),
    whenReady: () => recovered.promise,
    report: (event) => onPluginEvent(event, options, counters),
    onOversized: (why) => {
      if (why !== undefined && why !== counters.oversized) log.error(why);
      counters.oversized = why;
    },
  });
  const board = createBoard(options, memory, monitor, judge, plugins, limits, publisher);
  const loads = loadReporter({
    node: nodeName,
    read: () => source.read(),
    host: hostReader(() => clock.monotonicMillis()),
    owner: ownerReader(options.procRoot),
    whyNoProcesses,
    clock,
  });
  const { late, env } = plugins;
  const duties = startAgentDuties({
    api,
    nodeName,
    monitor,
    judge,
    pods,
    late,
    env,
    events,
    report: loads,
    counters,
    unitMiB: options.unitMiB,
    log,
  });
  // Nothing is published before it is known what may be promised.
  await limits.start();
  monitor.start();
  const isKnown = (): boolean => pods.reflector.status().synced && monitor.reading !== undefined;
  void recover(
    { witness, pods, judge, specs, inventory, report: (message) => log.error(message) },
    isKnown,
    stopped.signal,
    log,
  ).then(recovered.resolve);
  const listener = await startOpsListener(options.listen, {
    notReady: () => whyNotReady(monitor, plugins, publisher, counters),
    metrics: () => agentMetrics({ board, monitor, judge, memory: plugins.memory, limits, counters }),
    report: loads,
  });
  return {
    address: listener.address,
    stop: async () => {
      stopped.abort();
      duties.stop();
      monitor.stop();
      limits.stop();
      await memory.written();
      publisher.stop();
      await plugins.stop();
      await pods.reflector.stop();
      reader.close();
      await stopEvents(events);
      await source.close();
      await listener.close();
    },
  };
}

function watchPods({ api, nodeName, profile, log }: AgentOptions, judge: NodeJudge): WatchedNodePods {
  return watchNodePods({
    api,
    clock,
    delays,
    nodeName,
    profile: PROFILES[profile],
    onGone: (uid) => judge.release(uid),
    onSeen: () => undefined,
    report: ({ kind, message }) => log.warn(`watching the pods of this node: ${kind}: ${message}`),
  });
}

function createMonitor(
  { nodeName, source, healthPolicy, probeIntervalMillis, xids, log }: AgentOptions,
  { former }: AgentMemory,
  events: KubeEventSink,
  update: () => void,
): HealthMonitor {
  return new HealthMonitor({
    source,
    timers: monitorTimers,
    ...(healthPolicy === undefined ? {} : { policy: healthPolicy }),
    ...(probeIntervalMillis === undefined ? {} : { intervalMillis: probeIntervalMillis }),
    ...(xids === undefined ? {} : { xids }),
    known: former.known?.gpus.map(({ uuid }) => uuid) ?? [],
    remembered: former.health,
    initial: former.initial,
    onTransition: ({ uuid, from, to }) => {
      const message = `GPU ${uuid} is ${to.health}${to.reason === '' ? '' : `: ${to.reason}`}`;
      log.info(message);
      update();
      if (to.health !== 'healthy')
        events.publishForNode({ nodeName, type: 'Warning', reason: 'GpuUnhealthy', message });
      // That a GPU was healthy all along is no news.
      else if (from !== undefined) events.publishForNode({ nodeName, type: 'Normal', reason: 'GpuHealthy', message });
    },
    onReading: update,
    onTrouble: (why) => log.warn(`reading the GPUs: ${why}`),
  });
}

function createBoard(
  { unitMiB, isolation, log }: AgentOptions,
  { former }: AgentMemory,
  monitor: HealthMonitor,
  judge: NodeJudge,
  plugins: SlicePlugins,
  limits: NodeLimits,
  publisher: InventoryPublisher,
): InventoryBoard {
  return new InventoryBoard({
    monitor,
    known: former.known,
    options: { unitMiB, isolation, reserve: NO_RESERVE },
    judge,
    announceMemory: (devices) => plugins.announceMemory(devices),
    announceCore: (devices) => plugins.announceCore(devices),
    offered: (inventory) => limits.offered(inventory),
    publish: (inventory) => publisher.publish(inventory),
    onNotes: (notes) => notes.forEach(({ gpu, why }) => log.warn(`GPU ${gpu}: ${why}`)),
  });
}

function refusalSink(
  { log }: AgentOptions,
  counters: AgentCounters,
  events: KubeEventSink,
): Parameters<typeof startSlicePlugins>[0]['refusals'] {
  return {
    refused(pod, why) {
      counters.refusals++;
      log.warn(`a container may not start: ${why}`);
      if (pod !== undefined) events.publish({ pod, type: 'Warning', reason: 'GpuRefusedByNode', message: why });
    },
  };
}

function onPluginEvent(event: PluginEvent, { log }: AgentOptions, counters: AgentCounters): void {
  if (event.kind === 'registered') counters.registrations++;
  else if (event.kind === 'call-failed')
    log.warn(`${event.call} failed after ${Math.round(event.tookMillis)} ms: ${event.message}`);
  else if (event.kind === 'registration-failed' || event.kind === 'connection-refused') log.warn(event.message);
}

/** Tries until the kubelet has told what is held; nothing is granted before. */
async function recover(
  deps: RecoveryDeps,
  isKnown: () => boolean,
  signal: AbortSignal,
  log: AgentOptions['log'],
): Promise<void> {
  let told = '';
  while (!signal.aborted) {
    try {
      if (isKnown()) {
        const count = await recoverGrants(deps);
        if (count > 0) log.info(`${count} running pods are on the books again`);
        return;
      }
    } catch (error) {
      const trouble = `the kubelet does not say yet what is held: ${messageOf(error)}`;
      if (trouble !== told) log.warn(trouble);
      told = trouble;
    }
    await delays.sleep(RECOVERY_RETRY_MILLIS, signal);
  }
}

function whyNotReady(
  monitor: HealthMonitor,
  { memory }: SlicePlugins,
  publisher: InventoryPublisher,
  counters: AgentCounters,
): string | undefined {
  if (monitor.reading === undefined) return 'the GPUs have not been read yet';
  if (!memory.status().registered) return 'not registered with the kubelet';
  if (!publisher.isPublished()) return 'the inventory is not published yet';
  return counters.oversized;
}

async function stopEvents(events: KubeEventSink): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, EVENTS_DRAIN_MILLIS);
  await Promise.race([events.idle(), promise]);
  clearTimeout(timer);
  await events.stop();
}
