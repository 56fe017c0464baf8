// The agent's metrics, read at scrape time.

import type { NodeJudge } from './binding/judge.ts';
import type { HealthMonitor } from './health/monitor.ts';
import type { InventoryBoard } from './inventory-board.ts';
import type { DevicePlugin } from './kubelet/device-plugin.ts';
import type { NodeLimits } from './mps/limit-keeper.ts';
import type { MetricFamily } from './ops-listener.ts';

/** What happened so far. */
export class AgentCounters {
  refusals = 0;
  registrations = 0;
  /** Pods over their memory grant at the latest look; undefined where that cannot be told. */
  overusing: number | undefined;
  /** Why the kubelet would not take the device list, if it would not. */
  oversized: string | undefined;
}

export interface MetricDeps {
  readonly board: InventoryBoard;
  readonly monitor: HealthMonitor;
  readonly judge: NodeJudge;
  readonly memory: DevicePlugin;
  readonly limits: NodeLimits;
  readonly counters: AgentCounters;
}

export function agentMetrics({ board, monitor, judge, memory, limits, counters }: MetricDeps): readonly MetricFamily[] {
  const { gpus } = board.inventory;
  const granted = new Map<string, number>();
  for (const { gpuUuid, slices } of judge.grants()) granted.set(gpuUuid, (granted.get(gpuUuid) ?? 0) + slices);
  const perGpu = (value: (gpu: (typeof gpus)[number]) => number): MetricFamily['samples'] =>
    gpus.map((gpu) => [{ gpu: String(gpu.index), uuid: gpu.uuid, model: gpu.model }, value(gpu)]);
  const gauge = (name: string, help: string, samples: MetricFamily['samples']): MetricFamily => ({
    name,
    help,
    type: 'gauge',
    samples,
  });
  const counter = (name: string, help: string, value: number): MetricFamily => ({
    name,
    help,
    type: 'counter',
    samples: [[{}, value]],
  });
  const { registered, devices, streams } = memory.status();
  const isReached = limits.isDaemonReached();
  return [
    gauge(
      'gpuloom_agent_gpu_healthy',
      'Whether the GPU takes pods.',
      perGpu(({ health }) => (health === 'healthy' ? 1 : 0)),
    ),
    gauge(
      'gpuloom_agent_gpu_slices',
      'Memory slices of the GPU.',
      perGpu(({ slices }) => slices),
    ),
    gauge(
      'gpuloom_agent_gpu_granted_slices',
      'Slices granted to pods on this node.',
      perGpu(({ uuid }) => granted.get(uuid) ?? 0),
    ),
    gauge('gpuloom_agent_registered', 'Whether the kubelet knows the plugin.', [[{}, registered ? 1 : 0]]),
    gauge('gpuloom_agent_devices', 'Slice ids announced to the kubelet.', [[{}, devices]]),
    gauge('gpuloom_agent_streams', 'Open ListAndWatch streams.', [[{}, streams]]),
    gauge('gpuloom_agent_health_silence_seconds', 'Time since the GPUs were last probed.', [
      [{}, monitor.silentMillis / 1000],
    ]),
    gauge(
      'gpuloom_agent_overusing_pods',
      'Pods that use more GPU memory than they were granted; absent where processes cannot be told apart by pod.',
      counters.overusing === undefined ? [] : [[{}, counters.overusing]],
    ),
    gauge(
      'gpuloom_agent_mps_daemon_up',
      'Whether the MPS control daemon could be reached at the latest look; absent on nodes without isolation mps.',
      isReached === undefined ? [] : [[{}, isReached ? 1 : 0]],
    ),
    gauge('process_resident_memory_bytes', 'Resident memory.', [[{}, process.memoryUsage.rss()]]),
    counter('gpuloom_agent_registrations_total', 'Registrations with the kubelet.', counters.registrations),
    counter('gpuloom_agent_refusals_total', 'Containers that were not allowed to start.', counters.refusals),
  ];
}
