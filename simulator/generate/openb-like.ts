// A made-up cluster and workload in the shape of the openb trace (Alibaba GPU-sharing cluster, 2023): the same kinds of
// nodes in the same proportions, and pods drawn from its most frequent kinds. Nothing is copied row by row.
// Figures: node shapes and pod classes as counted in openb_node_list_gpu_node.csv and openb_pod_list_default.csv.

import { seededRandom } from '../../extender/random.ts';
import { PodListBuilder, type PodList, type SimulatedNode } from '../workload.ts';

/** Nodes and pods at scale 1. */
export const GENERATED_NODES = 1213;
export const GENERATED_PODS = 8152;

interface NodeShape {
  readonly model: string;
  readonly gpus: number;
  readonly cores: number;
  readonly memoryGiB: number;
  /** How many of the 1,213 nodes. */
  readonly weight: number;
}

export interface PodKind {
  readonly cpuMilli: number;
  readonly memoryMiB: number;
  readonly gpus: number;
  readonly milliPerGpu: number;
  /** How many of the 8,152 pods, within the rounding of the kinds left out. */
  readonly weight: number;
}

/** Model, GPUs, cores, GiB, nodes. */
const NODE_SHAPES: readonly NodeShape[] = `
G2 8 96 384 549
T4 2 104 512 387
T4 4 96 512 17
G3 8 128 768 39
P100 2 16 120 107
P100 2 64 256 22
P100 1 8 60 3
P100 2 8 60 2
V100M32 8 96 768 21
V100M32 4 48 368 9
V100M16 4 32 128 28
V100M16 1 8 32 19
V100M16 8 64 256 7
V100M16 8 82 336 1
A10 1 128 1024 2`
  .trim()
  .split('\n')
  .map((line) => {
    const [model = '', ...numbers] = line.split(' ');
    const [gpus = 0, cores = 0, memoryGiB = 0, weight = 0] = numbers.map(Number);
    return { model, gpus, cores, memoryGiB, weight };
  });

/** CPU milli, memory MiB, GPUs, milli of each, pods: kinds of ten pods and more, and the rarer ones of several GPUs. */
export const POD_KINDS: readonly PodKind[] = `
3152 5600 1 810 1047
11300 49152 1 1000 857
11400 48128 1 1000 534
3152 5600 1 1000 470
11908 47104 1 470 388
12500 57344 0 0 364
8000 30517 1 470 360
32000 49152 0 0 284
18708 64512 1 1000 255
11908 47104 1 650 237
9810 41560 1 1000 195
8000 30517 0 0 163
12000 24576 1 1000 158
15700 58368 1 1000 158
11908 47104 1 1000 153
15400 51200 0 0 120
4000 22888 1 320 111
16000 32768 1 1000 108
8000 16384 1 1000 104
4000 24576 1 1000 104
12000 16384 1 1000 99
16500 51200 0 0 95
14200 58368 1 1000 93
4000 30517 1 230 84
24200 93184 1 1000 84
4000 15258 1 320 78
3152 5600 1 590 75
8000 30517 1 320 72
4152 10600 1 550 72
11400 77824 1 1000 65
8000 32768 1 1000 55
4000 15258 1 160 53
6000 6144 1 460 51
11900 77824 1 1000 51
4152 10600 1 370 45
12000 15360 1 1000 44
4000 30517 1 320 43
8200 33792 1 1000 41
4000 31250 1 1000 40
15200 80896 1 1000 36
16000 65536 1 1000 33
4152 10600 1 810 31
6000 12288 1 460 29
16400 125952 1 1000 27
4000 22888 1 230 26
4000 15258 1 220 24
1000 2048 1 320 22
6000 22888 1 160 20
8000 30517 1 220 19
88000 327680 8 1000 18
4000 22888 1 480 18
8000 30517 1 230 18
6000 18432 1 460 18
64200 263168 8 1000 18
11300 37888 1 1000 16
1000 6144 1 1000 15
8000 30517 1 650 12
4000 15258 1 230 12
7000 30000 1 1000 11
4000 22888 1 220 11
11400 57344 0 0 11
8000 15625 0 0 11
32200 132096 4 1000 9
16200 66560 2 1000 7
120000 737280 8 1000 3
6000 65536 2 1000 3
64000 262144 8 1000 3
32000 131072 4 1000 3
30200 160768 2 1000 3
60200 320512 4 1000 3
17400 43008 2 1000 2
120200 640000 8 1000 2
14000 60000 2 1000 1`
  .trim()
  .split('\n')
  .map((line) => {
    const [cpuMilli = 0, memoryMiB = 0, gpus = 0, milliPerGpu = 0, weight = 0] = line.split(' ').map(Number);
    return { cpuMilli, memoryMiB, gpus, milliPerGpu, weight };
  });

/** `count` nodes in the proportions of openb, every shape rounded; in a fixed order. */
export function generateNodes(count: number): readonly SimulatedNode[] {
  const nodes: SimulatedNode[] = [];
  let share = 0;
  for (const { model, gpus, cores, memoryGiB, weight } of NODE_SHAPES) {
    share += weight / GENERATED_NODES;
    const end = Math.round(share * count);
    while (nodes.length < end) {
      const name = `node-${String(nodes.length).padStart(4, '0')}`;
      nodes.push({ name, cpuMilli: cores * 1000, memoryMiB: memoryGiB * 1024, gpus, model });
    }
  }
  return nodes;
}

/** `count` pods, each drawn from the kinds of openb. */
export function generatePods(count: number, seed: number): PodList {
  const random = seededRandom(seed, 'pods');
  const list = new PodListBuilder();
  for (let each = 0; each < count; each++) {
    const { cpuMilli, memoryMiB, gpus, milliPerGpu } = random.weighted(POD_KINDS);
    list.add(cpuMilli, memoryMiB, gpus, milliPerGpu, '');
  }
  return list.build();
}
