// Pods per second of a real kube-scheduler over fake GPU nodes, with and without extenders. Setups take turns on one
// control plane, in alternating order, so that a ratio compares runs made minutes apart on the same machine.
// A run's pods exist before its scheduler starts; its time is from the first to the last pod seen bound, which
// leaves out start-up. Pods, nodes and order are the same in every run.

import { INVENTORY_ANNOTATION } from '../../extender/core/resources.ts';
import { encodeInventory } from '../../extender/core/inventory-codec.ts';
import type { KubernetesBinaries } from '../e2e/binaries.ts';
import type { FakeNode, PlainPod } from '../e2e/cluster.ts';
import { createNamespace, createNodes, createPods, deleteNodes, deletePods, untilBound } from '../e2e/cluster.ts';
import type { ControlPlane } from '../e2e/control-plane.ts';
import { startControlPlane } from '../e2e/control-plane.ts';

import type { SchedulerSetup } from './scheduler-setups.ts';

export interface SchedulerCase {
  readonly nodes: number;
  readonly pods: number;
}

export interface SchedulerBenchOptions {
  readonly binaries: KubernetesBinaries;
  readonly cases: readonly SchedulerCase[];
  /** The first one is what the others are compared with. */
  readonly setups: readonly SchedulerSetup[];
  readonly rounds: number;
  readonly progress: (line: string) => void;
  /** How long one run may take. */
  readonly runTimeoutMillis?: number;
}

export interface SchedulerMeasurement {
  readonly nodes: number;
  readonly pods: number;
  readonly setup: string;
  /** One figure per round. */
  readonly podsPerSecond: readonly number[];
  /** Against the first setup of the same round. */
  readonly ratios: readonly number[];
}

const NAMESPACE = 'bench';
const GPUS_PER_NODE = 8;
const SLICES_PER_GPU = 80;
const SLICE_MIB = 1024;
/** High enough that kube-scheduler's own call limiter never decides the result. */
const SCHEDULER_QPS = 5000;

export async function benchScheduler(options: SchedulerBenchOptions): Promise<readonly SchedulerMeasurement[]> {
  const plane = await startControlPlane({ binaries: options.binaries });
  try {
    await createNamespace(plane.admin, NAMESPACE);
    const results: SchedulerMeasurement[] = [];
    for (const size of options.cases) results.push(...(await benchCase(plane, size, options)));
    return results;
  } finally {
    await plane.stop();
  }
}

/** A table for people: the median of pods per second and of the ratios, with every round in brackets. */
export function schedulerTable(measurements: readonly SchedulerMeasurement[]): string {
  const header = ['nodes', 'pods', 'setup', 'pods/s (each round)', 'ratio (each round)'];
  const rows = measurements.map(({ nodes, pods, setup, podsPerSecond, ratios }) => [
    String(nodes),
    String(pods),
    setup,
    `${median(podsPerSecond).toFixed(0)} (${podsPerSecond.map((rate) => rate.toFixed(0)).join(', ')})`,
    `${median(ratios).toFixed(2)} (${ratios.map((ratio) => ratio.toFixed(2)).join(', ')})`,
  ]);
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

async function benchCase(
  plane: ControlPlane,
  size: SchedulerCase,
  options: SchedulerBenchOptions,
): Promise<readonly SchedulerMeasurement[]> {
  options.progress(`creating ${size.nodes} nodes`);
  await createNodes(
    plane.admin,
    Array.from({ length: size.nodes }, (_, index) => gpuNode(index)),
  );
  const rates = new Map<string, number[]>(options.setups.map(({ name }) => [name, []]));
  for (let round = 0; round < options.rounds; round += 1) {
    const order = round % 2 === 0 ? options.setups : options.setups.toReversed();
    for (const setup of order) {
      const rate = await runOnce(plane, size, setup, options.runTimeoutMillis ?? 600_000);
      rates.get(setup.name)?.push(rate);
      const where = `${size.nodes} nodes, ${size.pods} pods, round ${round + 1} of ${options.rounds}`;
      options.progress(`${where}, ${setup.name}: ${rate.toFixed(0)} pods/s`);
    }
  }
  await deleteNodes(plane.admin);
  const baseline = rates.get(options.setups[0]?.name ?? '') ?? [];
  return options.setups.map(({ name }) => {
    const podsPerSecond = rates.get(name) ?? [];
    const ratios = podsPerSecond.map((rate, round) => rate / (baseline[round] ?? Number.NaN));
    return { ...size, setup: name, podsPerSecond, ratios };
  });
}

async function runOnce(
  plane: ControlPlane,
  size: SchedulerCase,
  setup: SchedulerSetup,
  timeoutMillis: number,
): Promise<number> {
  await createPods(
    plane.admin,
    Array.from({ length: size.pods }, (_, index) => gpuPod(index)),
  );
  const started = await setup.start(plane);
  try {
    const scheduler = await plane.startScheduler({
      name: `scheduler-${setup.name.replaceAll(/\W+/g, '-')}`,
      configFile: started.configFile,
      qps: SCHEDULER_QPS,
      ...(started.extenderOrigin === undefined ? {} : { extenderOrigin: started.extenderOrigin }),
    });
    try {
      const bound = await untilBound(plane.admin, { namespace: NAMESPACE, count: size.pods, timeoutMillis });
      return ((size.pods - 1) * 1000) / (bound.lastMillis - bound.firstMillis);
    } finally {
      await scheduler.stop();
    }
  } catch (cause) {
    throw new Error(`setup ${setup.name}\n${await plane.logTails(8)}`, { cause });
  } finally {
    await started.stop();
    await deletePods(plane.admin, NAMESPACE);
  }
}

function gpuNode(index: number): FakeNode {
  const gpus = Array.from({ length: GPUS_PER_NODE }, (_, gpu) => ({
    uuid: `GPU-${index}-${gpu}`,
    index: gpu,
    minor: gpu,
    model: 'A100',
    memoryMiB: SLICES_PER_GPU * SLICE_MIB,
    slices: SLICES_PER_GPU,
    numa: gpu < GPUS_PER_NODE / 2 ? 0 : 1,
    health: 'healthy' as const,
  }));
  return {
    name: `gpu-node-${String(index).padStart(5, '0')}`,
    resources: {
      cpu: '96',
      memory: '1Ti',
      pods: '110',
      'gpuloom.io/gpu-mem': String(GPUS_PER_NODE * SLICES_PER_GPU),
      'gpuloom.io/gpu-core': String(GPUS_PER_NODE * 100),
    },
    annotations: {
      [INVENTORY_ANNOTATION]: encodeInventory({ unitMiB: SLICE_MIB, isolation: 'none', gpus, links: [] }),
    },
  };
}

/** 4 to 40 slices and 1 to 4 CPUs, in a fixed pattern that mixes them. */
function gpuPod(index: number): PlainPod {
  const slices = 4 * (1 + ((index * 7) % 10));
  const cpus = 1 + (index % 4);
  return {
    name: `pod-${String(index).padStart(5, '0')}`,
    namespace: NAMESPACE,
    limits: { cpu: String(cpus), 'gpuloom.io/gpu-mem': String(slices) },
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}
