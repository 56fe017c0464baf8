// `generate`: a made-up cluster and workload as files that `run` reads, and the GPU load of online pods over time.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import type { GenerateFlags } from './flags.ts';
import type { PodRequest } from '../../extender/core/model.ts';
import { generateLoadSeries, STEP_SECONDS } from '../generate/load-series.ts';
import { GENERATED_NODES, GENERATED_PODS, generateNodes } from '../generate/openb-like.ts';
import { generateTimedPods } from '../generate/timed-pods.ts';
import { poissonArrivals, type TimedWorkload } from '../timed/workload.ts';
import { TraceFault } from '../trace/fault.ts';
import type { Workload } from '../workload.ts';
import { writeOutput } from './output-file.ts';
import type { Terminal } from './terminal.ts';
import { generatedWorkload } from './workload-source.ts';

const DEFAULT_TIMED_LOAD = 0.9;
const DEFAULT_HOURS = 24;

export async function generate(flags: GenerateFlags, terminal: Terminal): Promise<number> {
  const { out, timed, load, hours, loadSeries } = flags;
  if (timed !== true && load !== undefined) {
    throw new TraceFault('--load: only timed workloads have one; add --timed, or write --inflate');
  }
  if (timed !== true && loadSeries === undefined && hours !== undefined) {
    throw new TraceFault('--hours: only timed workloads and load series have them; add --timed or --load-series');
  }
  try {
    mkdirSync(out, { recursive: true });
  } catch (error) {
    throw new TraceFault(`--out ${out}: ${error instanceof Error ? error.message : String(error)}; name a folder`);
  }
  if (timed === true) writeTimed(flags, terminal);
  else writeOrdered(flags, terminal);
  if (loadSeries !== undefined) writeLoads(flags, loadSeries, terminal);
  return 0;
}

function writeOrdered({ out, seed, scale, inflate }: GenerateFlags, terminal: Terminal): void {
  const workload = generatedWorkload(seed, scale, inflate);
  writeOutput(join(out, 'nodes.csv'), nodeLines(workload), terminal);
  writeOutput(join(out, 'pods.csv'), podLines(workload), terminal);
  const { nodes, pods } = workload.order;
  const record = { trace: workload.trace, seed, nodes: Array.from(nodes), pods: Array.from(pods) };
  writeOutput(join(out, 'arrivals.jsonl'), [`${JSON.stringify(record)}\n`], terminal);
  terminal.stdout.write(`${out}: ${nodes.length} nodes, ${workload.list.pods.length} pods, ${pods.length} arrivals\n`);
}

function writeTimed(flags: GenerateFlags, terminal: Terminal): void {
  const { out, seed, scale, load = DEFAULT_TIMED_LOAD, hours = DEFAULT_HOURS } = flags;
  const cluster = generateNodes(Math.max(1, Math.round(scale * GENERATED_NODES)));
  const made = generateTimedPods(Math.max(1, Math.round(scale * GENERATED_PODS)), seed);
  const workload = poissonArrivals('generated', cluster, made, seed, { load, hours });
  writeOutput(join(out, 'nodes.csv'), nodeLines(workload), terminal);
  writeOutput(join(out, 'pods.csv'), timedPodLines(workload), terminal);
  terminal.stdout.write(`${out}: ${cluster.length} nodes, ${workload.order.pods.length} pods over ${hours} hours\n`);
}

function writeLoads({ out, seed, hours = DEFAULT_HOURS }: GenerateFlags, pods: number, terminal: Terminal): void {
  writeOutput(join(out, 'loads.csv'), loadLines(pods, hours, seed), terminal);
  terminal.stdout.write(`${out}: the GPU load of ${pods} pods over ${hours} hours\n`);
}

function* nodeLines({ nodes }: Workload): Iterable<string> {
  yield 'sn,cpu_milli,memory_mib,gpu,model\n';
  for (const { name, cpuMilli, memoryMiB, gpus, model } of nodes) {
    yield `${name},${cpuMilli},${memoryMiB},${gpus},${model}\n`;
  }
}

const POD_COLUMNS = 'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec';

function* podLines({ list }: Workload): Iterable<string> {
  yield `${POD_COLUMNS}\n`;
  for (const [pod, at] of list.pods.entries()) {
    const request = list.requests[at];
    if (request !== undefined) yield `${podCells(pod, request)}\n`;
  }
}

/** In order of arrival, each arrival a pod of its own. Times are whole seconds; no pod is gone in the second it came. */
function* timedPodLines({ list, order, arrivalMillis, durationMillis }: TimedWorkload): Iterable<string> {
  yield `${POD_COLUMNS},qos,creation_time,deletion_time,scheduled_time\n`;
  for (let arrival = 0; arrival < order.pods.length; arrival++) {
    const request = list.requests[list.pods[order.pods[arrival] ?? -1] ?? -1];
    if (request === undefined) continue;
    const created = Math.floor((arrivalMillis[arrival] ?? 0) / 1000);
    const gone = created + Math.max(1, Math.round((durationMillis[arrival] ?? 0) / 1000));
    yield `${podCells(arrival, request)},${request.class === 'batch' ? 'BE' : 'LS'},${created},${gone},${created}\n`;
  }
}

function podCells(serial: number, { host, gpuCount, slicesPerGpu, models }: PodRequest): string {
  const name = `pod-${String(serial).padStart(4, '0')}`;
  return `${name},${host.cpuMilli},${host.memoryMiB},${gpuCount},${slicesPerGpu},${models.allow.join('|')}`;
}

/** A block for each pod, in order of time. */
function* loadLines(pods: number, hours: number, seed: number): Iterable<string> {
  yield 'pod,seconds,duty_percent,memory_mib\n';
  let pod = 0;
  for (const { dutyPercent, memoryMiB } of generateLoadSeries(pods, hours, seed)) {
    const lines = Array.from(dutyPercent, (duty, at) => {
      const load = Number(duty.toFixed(1));
      return `load-${String(pod).padStart(4, '0')},${at * STEP_SECONDS},${load},${memoryMiB[at] ?? 0}\n`;
    });
    yield lines.join('');
    pod++;
  }
}
