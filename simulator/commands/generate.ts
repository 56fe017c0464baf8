// `generate`: a made-up cluster and workload as files that `run` reads.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

import type { GenerateFlags } from './flags.ts';
import { TraceFault } from '../trace/fault.ts';
import type { Workload } from '../workload.ts';
import { writeOutput } from './output-file.ts';
import type { Terminal } from './terminal.ts';
import { generatedWorkload } from './workload-source.ts';

export async function generate({ out, seed, scale, inflate }: GenerateFlags, terminal: Terminal): Promise<number> {
  const workload = generatedWorkload(seed, scale, inflate);
  try {
    mkdirSync(out, { recursive: true });
  } catch (error) {
    throw new TraceFault(`--out ${out}: ${error instanceof Error ? error.message : String(error)}; name a folder`);
  }
  writeOutput(join(out, 'nodes.csv'), nodeLines(workload), terminal);
  writeOutput(join(out, 'pods.csv'), podLines(workload), terminal);
  const { nodes, pods } = workload.order;
  const record = { trace: workload.trace, seed, nodes: Array.from(nodes), pods: Array.from(pods) };
  writeOutput(join(out, 'arrivals.jsonl'), [`${JSON.stringify(record)}\n`], terminal);
  terminal.stdout.write(`${out}: ${nodes.length} nodes, ${workload.list.pods.length} pods, ${pods.length} arrivals\n`);
  return 0;
}

function* nodeLines({ nodes }: Workload): Iterable<string> {
  yield 'sn,cpu_milli,memory_mib,gpu,model\n';
  for (const { name, cpuMilli, memoryMiB, gpus, model } of nodes) {
    yield `${name},${cpuMilli},${memoryMiB},${gpus},${model}\n`;
  }
}

function* podLines({ list }: Workload): Iterable<string> {
  yield 'name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n';
  for (const [pod, at] of list.pods.entries()) {
    const request = list.requests[at];
    if (request === undefined) continue;
    const { host, gpuCount, slicesPerGpu, models } = request;
    const name = `pod-${String(pod).padStart(4, '0')}`;
    yield `${name},${host.cpuMilli},${host.memoryMiB},${gpuCount},${slicesPerGpu},${models.allow.join('|')}\n`;
  }
}
