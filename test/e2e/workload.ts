// GPU nodes of several shapes and a seeded stream of GPU pods, as plain data. The same seed gives the same workload.

import { nodeManifest, gpusOf } from '../support/builders.ts';
import type { GpuSketch, NodeSketch } from '../support/builders.ts';
import type { FakeNode, PlainPod } from './cluster.ts';

const SHAPES: readonly { readonly name: string; readonly share: number; readonly gpus: readonly GpuSketch[] }[] = [
  { name: 't4', share: 0.35, gpus: gpusOf(2, 16, 'T4') },
  { name: 'v100', share: 0.3, gpus: gpusOf(2, 32, 'V100') },
  { name: 'a100', share: 0.2, gpus: gpusOf(4, 80, 'A100') },
  {
    name: 'unequal',
    share: 0.15,
    gpus: [
      { slices: 24, model: 'A10' },
      { slices: 40, model: 'A100' },
      { slices: 16, model: 'T4' },
    ],
  },
];

/** `total` nodes: two T4, two V100, four A100, or three unequal GPUs each. */
export function gpuNodes(total: number): readonly NodeSketch[] {
  return SHAPES.flatMap(({ name, share, gpus }) =>
    Array.from({ length: Math.round(total * share) }, (_, index) => ({ name: `${name}-${index}`, gpus })),
  );
}

/** The Node object that the node agent's reports add up to. */
export function asFakeNode(sketch: NodeSketch): FakeNode {
  const { metadata, status } = nodeManifest(sketch);
  return {
    name: sketch.name,
    resources: { ...status?.capacity, pods: '110' },
    ...(metadata?.annotations === undefined ? {} : { annotations: metadata.annotations }),
  };
}

/** The Node object that gpushare's device plugin leaves behind: totals, and no word on single GPUs. */
export function asGpushareNode({ name, gpus }: NodeSketch): FakeNode {
  const total = gpus.reduce((sum, { slices }) => sum + slices, 0);
  const shared = { 'aliyun.com/gpu-mem': String(total), 'aliyun.com/gpu-count': String(gpus.length) };
  return { name, resources: { cpu: '32', memory: '128Gi', pods: '110', ...(gpus.length === 0 ? {} : shared) } };
}

interface Kind {
  readonly weight: number;
  readonly slices: readonly number[];
  readonly core?: readonly number[];
  readonly count?: number;
  readonly model?: string;
}

const KINDS: readonly Kind[] = [
  { weight: 34, slices: [1, 2, 4, 6, 8, 12] },
  { weight: 30, slices: [2, 4, 8, 10, 16], core: [5, 10, 20, 30, 50] },
  { weight: 9, slices: [8, 16, 32], core: [20, 60, 100], count: 2 },
  { weight: 4, slices: [16, 40, 80], core: [40, 100], count: 4 },
  { weight: 8, slices: [8, 20, 40], core: [25, 50], model: 'A100' },
  { weight: 8, slices: [4, 8, 14], model: 'T4|V100' },
  { weight: 7, slices: [2, 6, 12], core: [10], model: '!T4' },
];

export interface WorkloadOptions {
  readonly count: number;
  readonly seed: number;
  readonly namespace?: string;
  /** Pods of one GPU and few slices only, so that all of them fit. */
  readonly small?: boolean;
}

/** Pods that some empty cluster of `gpuNodes` could host, every one of them. */
export function gpuPods({ count, seed, namespace = 'default', small = false }: WorkloadOptions): readonly PlainPod[] {
  const random = seededRandom(seed);
  const kinds = small ? KINDS.filter((kind) => kind.count === undefined && kind.model === undefined) : KINDS;
  return Array.from({ length: count }, (_, index) => {
    const kind = pickKind(kinds, random());
    const gpus = kind.count ?? 1;
    const slices = pick(small ? kind.slices.slice(0, 3) : kind.slices, random());
    const core = kind.core === undefined || random() < 0.2 ? undefined : pick(kind.core, random());
    const isBatch = random() < 0.35;
    return {
      name: `pod-${String(index).padStart(4, '0')}`,
      namespace,
      limits: {
        'gpuloom.io/gpu-mem': String(slices),
        ...(core === undefined ? {} : { 'gpuloom.io/gpu-core': String(core) }),
      },
      labels: {
        ...(gpus === 1 ? {} : { 'gpuloom.io/gpu-count': String(gpus) }),
        ...(isBatch ? { 'gpuloom.io/class': 'batch' } : random() < 0.5 ? { 'gpuloom.io/class': 'online' } : {}),
      },
      annotations: kind.model === undefined ? {} : { 'gpuloom.io/gpu-model': kind.model },
    };
  });
}

export interface ImpossiblePod {
  readonly pod: PlainPod;
  /** What its events must say. */
  readonly reason: string;
}

/** Pods that no node can ever host, of four kinds, with the words in which they are told. */
export function impossiblePods(eachKind: number): readonly ImpossiblePod[] {
  const memory = 'gpuloom.io/gpu-mem';
  const kinds: readonly (readonly [string, Omit<PlainPod, 'name'>, string])[] = [
    ['too-large', { limits: { [memory]: '90' } }, 'no GPU is large enough for 90 slices'],
    [
      'no-such-model',
      { limits: { [memory]: '1' }, annotations: { 'gpuloom.io/gpu-model': 'H900' } },
      'no GPU is of an admitted model',
    ],
    ['contradictory', { limits: { [memory]: '5' }, labels: { 'gpuloom.io/gpu-count': '2' } }, 'gpu-count'],
    ['too-many', { limits: { [memory]: '12' }, labels: { 'gpuloom.io/gpu-count': '6' } }, 'fewer than 6 GPUs'],
  ];
  return kinds.flatMap(([name, pod, reason]) =>
    Array.from({ length: eachKind }, (_, index) => ({ pod: { ...pod, name: `${name}-${index}` }, reason })),
  );
}

function pickKind(kinds: readonly Kind[], at: number): Kind {
  let left = at * kinds.reduce((sum, { weight }) => sum + weight, 0);
  for (const kind of kinds) {
    left -= kind.weight;
    if (left < 0) return kind;
  }
  throw new Error('no kind of pod to pick');
}

function pick(values: readonly number[], at: number): number {
  const value = values[Math.floor(at * values.length)];
  if (value === undefined) throw new Error('nothing to pick');
  return value;
}

/** mulberry32: good enough to spread choices, the same everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
