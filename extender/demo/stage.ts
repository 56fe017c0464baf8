// What both kinds of run start with: nodes, workload, the embedded API server and the extender in front of it.

import type { NodeManifest } from '../core/manifest.ts';
import { decodeInventory } from '../core/inventory-codec.ts';
import { INVENTORY_ANNOTATION } from '../core/resources.ts';
import type { EmbeddedApiServer } from '../embedded/api-server.ts';
import type { Logger } from '../logging.ts';
import { DEFAULT_NODES, startClusterOf } from './embedded-cluster.ts';
import { startExtender, type RunningExtender } from './extender-service.ts';
import { PODS_PER_NODE, type DemoFlags } from './flags.ts';
import { seededNodes } from './gpu-nodes.ts';
import { openbNodes, openbWorkload, readOpenb } from './openb.ts';
import type { Setting } from './report.ts';
import { seededWorkload, type Workload } from './workload.ts';

export interface Stage {
  readonly setting: Setting;
  readonly nodes: readonly NodeManifest[];
  readonly workload: Workload;
  /** Arrivals of a run that ends by itself. */
  readonly defaultPods: number;
  readonly server: EmbeddedApiServer;
  readonly extender: RunningExtender;
  close(): Promise<void>;
}

export async function setStage(flags: DemoFlags, log: Logger): Promise<Stage> {
  const { seed, policy } = flags;
  const { nodes, workload, defaultPods } = flags.trace === undefined ? generated(flags) : traced(flags, flags.trace);
  const cluster = await startClusterOf(nodes);
  const { server } = cluster;
  const extender = await startExtender({ apiUrl: server.url, policy, log }).catch(async (error: unknown) => {
    await cluster.close();
    throw error;
  });
  const gpus = nodes.reduce((sum, node) => sum + gpuCount(node), 0);
  return {
    setting: { workload: workload.title, nodes: nodes.length, gpus, policy, seed },
    nodes,
    workload,
    defaultPods,
    server,
    extender,
    close: async () => {
      await extender.close();
      await cluster.close();
    },
  };
}

type Cast = Pick<Stage, 'nodes' | 'workload' | 'defaultPods'>;

function generated({ seed, nodes: count = DEFAULT_NODES }: DemoFlags): Cast {
  const nodes = seededNodes(seed, count);
  return { nodes, workload: seededWorkload(seed), defaultPods: nodes.length * PODS_PER_NODE };
}

function traced({ seed, nodes: count }: DemoFlags, folder: string): Cast {
  const trace = readOpenb(folder);
  const nodes = openbNodes(trace, seed, count);
  const share = nodes.length / Math.max(1, trace.nodes.length);
  const defaultPods = Math.max(1, Math.round(trace.pods.length * share));
  return { nodes, workload: openbWorkload(trace, seed), defaultPods };
}

function gpuCount(node: NodeManifest): number {
  const decoded = decodeInventory(node.metadata?.annotations?.[INVENTORY_ANNOTATION] ?? '');
  return decoded.kind === 'inventory' ? decoded.inventory.gpus.length : 0;
}
