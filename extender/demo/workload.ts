// Arrivals of the demo: online services and batch jobs of sizes that are usual on shared GPUs, and now and then a pod
// that no cluster could host, because that is what people write too. Pure and seeded; knows no clock.

import type { PodManifest } from '../core/manifest.ts';
import type { WorkloadClass } from '../core/model.ts';
import { gpuPod, type PodSketch } from './gpu-pod.ts';
import { seededRandom } from '../random.ts';

/** A pod and how long it would run. */
export interface Arrival {
  readonly pod: PodManifest;
  readonly runMinutes: number;
}

/** An endless or finite line of arrivals. */
export interface Workload {
  /** What the pods are, for a heading. */
  readonly title: string;
  next(): Arrival | undefined;
}

interface Kind {
  readonly app: string;
  readonly weight: number;
  readonly class: WorkloadClass;
  readonly gpuCount: number;
  readonly slicesPerGpu: number;
  readonly corePerGpu: number;
  readonly models: string;
  readonly runMinutes: readonly [least: number, most: number];
  /** Of the whole pod. */
  readonly cpuMilli: number;
  readonly memoryMiB: number;
}

const GIB = 1024;

function kind(
  workloadClass: WorkloadClass,
  app: string,
  weight: number,
  gpus: readonly [count: number, slicesPerGpu: number, corePerGpu: number, models?: string],
  host: readonly [cores: number, gib: number],
  runMinutes: readonly [number, number],
): Kind {
  const [gpuCount, slicesPerGpu, corePerGpu, models = ''] = gpus;
  const [cores, gib] = host;
  const sizes = { cpuMilli: cores * 1000, memoryMiB: gib * GIB };
  return { class: workloadClass, app, weight, gpuCount, slicesPerGpu, corePerGpu, models, runMinutes, ...sizes };
}

const KINDS: readonly Kind[] = [
  kind('online', 'chat-7b', 10, [1, 16, 20], [4, 24], [20, 60]),
  kind('online', 'chat-14b', 4, [1, 30, 25], [6, 40], [20, 60]),
  kind('online', 'chat-70b', 2, [4, 40, 40, 'A100-80GB|H100-80GB'], [16, 160], [30, 60]),
  kind('online', 'embedding', 12, [1, 4, 10], [2, 8], [15, 50]),
  kind('online', 'reranker', 9, [1, 3, 10], [2, 6], [15, 50]),
  kind('online', 'speech-to-text', 8, [1, 8, 12], [2, 12], [15, 50]),
  kind('online', 'image-search', 6, [1, 6, 0], [2, 8], [15, 50]),
  kind('online', 'recommender', 6, [1, 10, 15], [4, 16], [20, 60]),
  kind('batch', 'fine-tune', 3, [1, 36, 35, '!T4'], [6, 48], [20, 60]),
  kind('batch', 'pretrain', 0.5, [8, 36, 90], [48, 320], [30, 60]),
  kind('batch', 'data-parallel', 1.5, [2, 20, 40], [8, 64], [20, 60]),
  kind('batch', 'backfill', 6, [1, 12, 15], [2, 16], [15, 40]),
  kind('batch', 'notebook', 3, [1, 6, 0], [2, 16], [10, 60]),
  kind('batch', 'sweep', 4, [1, 20, 25], [4, 24], [15, 45]),
  kind('batch', 'video-encode', 3, [1, 4, 15], [2, 4], [10, 25]),
];

type Flaw = Pick<PodSketch, 'app'> & Partial<Omit<PodSketch, 'name'>>;

/** Pods that cannot run anywhere; the extender says why. */
const FLAWS: readonly Flaw[] = [
  // More than the largest GPU has.
  { app: 'too-large', slicesPerGpu: 96 },
  // A model that the cluster does not have.
  { app: 'wants-b200', models: 'B200-180GB' },
  // A constraint that contradicts itself.
  { app: 'contradictory', models: 'H100-80GB|!H100-80GB' },
  // 8 slices cannot be split evenly over 3 GPUs.
  { app: 'uneven', labels: { 'gpuloom.io/gpu-count': '3' } },
  // A misspelt annotation is refused, not ignored.
  { app: 'misspelt', annotations: { 'gpuloom.io/gpu-modle': 'A100-80GB' } },
];

const FLAW_EVERY = 40;
const FLAW_FIRST = 20;
const ORDINARY = { class: 'batch', cpuMilli: 2000, memoryMiB: 8 * GIB, gpuCount: 1, slicesPerGpu: 8 } as const;

/** Endless. One pod in forty is flawed, each flaw in turn. */
export function seededWorkload(seed: number): Workload {
  const random = seededRandom(seed, 'pods');
  let at = 0;
  return {
    title: 'online and batch GPU pods',
    next: () => {
      at++;
      const serial = String(at).padStart(4, '0');
      const flaw = at % FLAW_EVERY === FLAW_FIRST ? FLAWS[Math.floor(at / FLAW_EVERY) % FLAWS.length] : undefined;
      if (flaw !== undefined) {
        const sketch = { ...ORDINARY, corePerGpu: 0, models: '', ...flaw, name: `${flaw.app}-${serial}` };
        return { pod: gpuPod(sketch), runMinutes: 1 };
      }
      const chosen = random.weighted(KINDS);
      const [least, most] = chosen.runMinutes;
      return { pod: gpuPod({ ...chosen, name: `${chosen.app}-${serial}` }), runMinutes: random.between(least, most) };
    },
  };
}
