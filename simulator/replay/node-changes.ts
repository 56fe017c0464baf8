// Nodes added to and removed from a cluster in a what-if: copies of nodes that are there, or shapes written out.

import { MAX_GPUS_PER_NODE, MAX_SLICES_PER_GPU } from '../../extender/core/inventory-codec.ts';
import type { Gpu, HostResources, NodeRecord } from '../../extender/core/model.ts';
import { cpuMilli, memoryMiB, parseQuantity } from '../../extender/core/quantity.ts';
import { quoted, TraceFault } from '../trace/fault.ts';
import type { LiveCluster } from './cluster.ts';

export interface NodeAddition {
  /** As written: the name of a node of the cluster, or a shape. */
  readonly shape: string;
  readonly count: number;
}

const MAX_ADDED_NODES = 100_000;
const SHAPE =
  /^(?<model>[\x21-\x7e]{1,64}):(?<gpus>\d{1,3})x(?<memory>[0-9.]{1,12}(?:[KMGT]i)?)(?::(?<cpu>[0-9m.]{1,12}):(?<hostMemory>[0-9.]{1,12}(?:[KMGT]i)?))?$/;
/** What a shape without CPU and memory gets: enough for anything. */
const AMPLE_HOST: HostResources = { cpuMilli: 1e9, memoryMiB: 1e9 };
const DEFAULT_UNIT_MIB = 1024;
const HOW =
  'write the name of a node, or MODEL:GPUSxMEMORY such as A100:8x80Gi, with CPU and memory as in A100:8x80Gi:96:768Gi';

/** `SHAPE=COUNT`, or a shape alone for one node. */
export function parseNodeAddition(text: string): NodeAddition | undefined {
  const match = /^(.{1,300}?)(?:=(\d{1,6}))?$/.exec(text);
  const count = Number(match?.[2] ?? 1);
  if (match?.[1] === undefined || count < 1 || count > MAX_ADDED_NODES) return undefined;
  return { shape: match[1], count };
}

/** The cluster's nodes without those removed and with those added, whose names tell what they are. */
export function changedNodes(
  cluster: LiveCluster,
  additions: readonly NodeAddition[],
  removals: readonly string[],
): readonly NodeRecord[] {
  const byName = new Map(cluster.nodes.map((node) => [node.name, node]));
  for (const name of removals) {
    if (!byName.has(name)) throw new TraceFault(`--remove-nodes: there is no node ${quoted(name)}; ${known(cluster)}`);
  }
  const kept = cluster.nodes.filter(({ name }) => !removals.includes(name));
  const taken = new Set(byName.keys());
  const added = additions.flatMap(({ shape, count }) => {
    const original = byName.get(shape) ?? writtenOut(shape, cluster);
    return Array.from({ length: count }, () => copyOf(original, taken));
  });
  return [...kept, ...added];
}

function copyOf(original: NodeRecord, taken: Set<string>): NodeRecord {
  const { gpus } = original;
  if (gpus.kind !== 'inventory') {
    const why = gpus.kind === 'closed' ? `it is closed: ${gpus.why}` : 'it has no GPUs';
    throw new TraceFault(`--add-nodes ${original.name}: the node cannot be copied, ${why}; name another`);
  }
  let number = 1;
  while (taken.has(`${original.name}+${number}`)) number++;
  const name = `${original.name}+${number}`;
  taken.add(name);
  // gpushare knows the GPUs of a node by index, and others must be told apart by UUID.
  const uuidOf = (gpu: Gpu): string => (gpus.source === 'gpushare' ? gpu.uuid : `${gpu.uuid}+${number}`);
  const healthy = gpus.inventory.gpus.map((gpu) => ({ ...gpu, uuid: uuidOf(gpu), health: 'healthy' as const }));
  return { ...original, name, uid: '', gpus: { ...gpus, inventory: { ...gpus.inventory, gpus: healthy } } };
}

function writtenOut(shape: string, cluster: LiveCluster): NodeRecord {
  const { model, gpus, memory, cpu, hostMemory } = SHAPE.exec(shape)?.groups ?? {};
  if (model === undefined || memory === undefined) {
    throw new TraceFault(`--add-nodes ${quoted(shape)}: neither a node nor a shape; ${HOW}; ${known(cluster)}`);
  }
  const unitMiB = commonUnitMiB(cluster);
  const isInSlices = /^\d+$/.test(memory);
  const slices = isInSlices ? Number(memory) : Math.floor((parseQuantity(memory) ?? 0) / 2 ** 20 / unitMiB);
  const count = Number(gpus);
  const isAbsurd = count < 1 || count > MAX_GPUS_PER_NODE || slices < 1 || slices > MAX_SLICES_PER_GPU;
  if (isAbsurd) {
    const bounds = `1 to ${MAX_GPUS_PER_NODE} GPUs of 1 to ${MAX_SLICES_PER_GPU} slices`;
    throw new TraceFault(`--add-nodes ${quoted(shape)}: ${count} GPUs of ${slices} slices; a node has ${bounds}`);
  }
  return {
    name: shape.replaceAll(/[^A-Za-z0-9.]+/g, '-').toLowerCase(),
    uid: '',
    address: '',
    allocatable: cpu === undefined ? AMPLE_HOST : { cpuMilli: cpuMilli(cpu), memoryMiB: memoryMiB(hostMemory) },
    gpus: {
      kind: 'inventory',
      source: 'gpuloom',
      inventory: {
        unitMiB,
        isolation: 'none',
        links: [],
        gpus: Array.from({ length: count }, (_, index) => ({
          uuid: `new-${index}`,
          index,
          minor: index,
          model,
          memoryMiB: slices * unitMiB,
          slices,
          numa: -1,
          health: 'healthy' as const,
        })),
      },
    },
  };
}

/** The slice size that most nodes of the cluster have. */
function commonUnitMiB({ nodes }: LiveCluster): number {
  const counts = new Map<number, number>();
  for (const { gpus } of nodes) {
    const unit = gpus.kind === 'inventory' ? gpus.inventory.unitMiB : 0;
    if (unit > 0) counts.set(unit, (counts.get(unit) ?? 0) + 1);
  }
  const [most] = [...counts].sort(([unitA, a], [unitB, b]) => b - a || unitA - unitB);
  return most?.[0] ?? DEFAULT_UNIT_MIB;
}

function known({ nodes }: LiveCluster): string {
  const names = nodes.slice(0, 5).map(({ name }) => name);
  return `the document has ${nodes.length} nodes${names.length > 0 ? `, such as ${names.join(', ')}` : ''}`;
}
