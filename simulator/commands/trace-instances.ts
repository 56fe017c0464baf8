// The instances of a trace, or of generated workloads, that a bound is taken over.

import { openbFiles } from '../compare/openb-folder.ts';
import { averageInstance, instanceOf, type Instance } from '../bound/trace-bounds.ts';
import { readArrivals } from '../trace/arrivals.ts';
import { readNodes, readPods } from '../trace/openb.ts';
import { generatedWorkload } from './workload-source.ts';

export interface InstanceSource {
  /** Folder of the openb trace; undefined for generated workloads. */
  readonly openb: string | undefined;
  readonly trace: string;
  /** Seeds of arrivals or of generated workloads; empty for the pod list in proportion. */
  readonly seeds: readonly number[];
  readonly scale: number;
  readonly load: number;
}

/** In the order of the seeds. */
export async function* instancesOf({ openb, trace, seeds, scale, load }: InstanceSource): AsyncIterable<Instance> {
  if (openb === undefined) {
    for (const seed of seeds) yield instanceOf(generatedWorkload(seed, scale, load));
    return;
  }
  const files = openbFiles(openb, trace, seeds.length === 0 ? ['nodes', 'pods'] : undefined);
  const nodes = await readNodes(files.nodes);
  const list = await readPods(files.pods);
  if (seeds.length === 0) yield averageInstance(trace, nodes, list, load);
  for (const seed of seeds) {
    const { order } = await readArrivals(files.arrivals, seed, nodes.length, list.pods.length);
    yield instanceOf({ trace, seed, nodes, list, order });
  }
}
