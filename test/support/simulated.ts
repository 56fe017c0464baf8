// Small hand-made workloads for tests of the simulator, and the command line as a function.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { simulate } from '../../simulator/cli.ts';
import type { WorkloadClass } from '../../extender/core/model.ts';
import type { TimedWorkload } from '../../simulator/timed/workload.ts';
import { PodListBuilder, type SimulatedNode, type Workload } from '../../simulator/workload.ts';

export interface NodeSketch {
  readonly gpus: number;
  readonly cores?: number;
  readonly model?: string;
}

/** CPU milli, GPUs, milli of each GPU, admissible models. */
export type PodSketch = readonly [cpuMilli: number, gpus: number, milli: number, models?: string];

/** Nodes `n0`, `n1`, … in tie-break order; every pod arrives once, in the order given. */
export function workload(nodes: readonly NodeSketch[], pods: readonly PodSketch[]): Workload {
  const list = new PodListBuilder();
  for (const [cpuMilli, gpus, milli, models = ''] of pods) list.add(cpuMilli, 1024, gpus, milli, models);
  return {
    trace: 'sketch',
    seed: 1,
    nodes: nodes.map(({ gpus, cores = 96, model = 'T4' }, at): SimulatedNode => ({
      name: `n${at}`,
      cpuMilli: cores * 1000,
      memoryMiB: 262_144,
      gpus,
      model,
    })),
    list: list.build(),
    order: { nodes: [...nodes.keys()], pods: [...pods.keys()] },
  };
}

export interface TimedPodSketch {
  /** Arrival, in seconds. */
  readonly at: number;
  /** How long it runs. */
  readonly seconds: number;
  readonly pod: PodSketch;
  readonly class?: WorkloadClass;
}

/** As `workload`, with times. The pods must be in order of arrival. */
export function timedWorkload(nodes: readonly NodeSketch[], pods: readonly TimedPodSketch[]): TimedWorkload {
  const list = new PodListBuilder();
  for (const { pod, class: podClass } of pods) {
    const [cpuMilli, gpus, milli, models = ''] = pod;
    list.add(cpuMilli, 1024, gpus, milli, models, podClass);
  }
  const untimed = workload(
    nodes,
    pods.map(({ pod }) => pod),
  );
  return {
    ...untimed,
    list: list.build(),
    arrivalMillis: Float64Array.from(pods, ({ at }) => at * 1000),
    durationMillis: Float64Array.from(pods, ({ seconds }) => seconds * 1000),
    untilMillis: undefined,
  };
}

/** A folder for one test's files, removed by `dispose`. */
export class Folder {
  readonly path: string = mkdtempSync(join(tmpdir(), 'simulator-test-'));

  file(name: string, content: string | Uint8Array = ''): string {
    const path = join(this.path, name);
    writeFileSync(path, content);
    return path;
  }

  /** A path in the folder where nothing is yet. */
  free(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface Called {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function callSimulator(...argv: readonly string[]): Promise<Called> {
  let stdout = '';
  let stderr = '';
  const code = await simulate(argv, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  });
  return { code, stdout, stderr };
}
