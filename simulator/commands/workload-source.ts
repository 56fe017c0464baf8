// From flags to a workload: files of a trace, or the generator.

import { seededOrder } from '../arrival-order.ts';
import { GENERATED_NODES, GENERATED_PODS, generateNodes, generatePods } from '../generate/openb-like.ts';
import { readArrivals } from '../trace/arrivals.ts';
import { TraceFault } from '../trace/fault.ts';
import { readNodes, readPods, traceNameOf } from '../trace/openb.ts';
import type { Workload } from '../workload.ts';

const DEFAULT_SEED = 1;

export interface WorkloadFlags {
  readonly nodes?: string;
  readonly pods?: string;
  readonly arrivals?: string;
  readonly seed?: number;
  readonly inflate: number;
  readonly scale: number;
}

export async function workloadOf(flags: WorkloadFlags): Promise<Workload> {
  const { nodes: nodesFile, pods: podsFile, arrivals, seed, inflate } = flags;
  if (nodesFile === undefined || podsFile === undefined) {
    if (nodesFile === undefined && podsFile === undefined && arrivals === undefined) {
      return generatedWorkload(seed ?? DEFAULT_SEED, flags.scale, inflate);
    }
    throw new TraceFault(
      '--nodes and --pods go together, and --arrivals needs both; leave all out to generate a cluster',
    );
  }
  const nodes = await readNodes(nodesFile);
  const list = await readPods(podsFile);
  const trace = traceNameOf(podsFile);
  if (arrivals === undefined) {
    const orderSeed = seed ?? DEFAULT_SEED;
    return { trace, seed: orderSeed, nodes, list, order: seededOrder(nodes, list, inflate, orderSeed) };
  }
  return { trace, nodes, list, ...(await readArrivals(arrivals, seed, nodes.length, list.pods.length)) };
}

/** A cluster like openb's, of `scale` times its size. The nodes do not depend on the seed, pods and order do. */
export function generatedWorkload(seed: number, scale: number, load: number): Workload {
  const nodes = generateNodes(Math.max(1, Math.round(scale * GENERATED_NODES)));
  const list = generatePods(Math.max(1, Math.round(scale * GENERATED_PODS)), seed);
  return { trace: 'generated', seed, nodes, list, order: seededOrder(nodes, list, load, seed) };
}
