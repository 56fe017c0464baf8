// A big cluster for benchmarks: seeded nodes and placed pods, and the pods that ask.

import type { PodManifest } from '../../extender/core/manifest.ts';
import type { NodeRecord, PodRecord } from '../../extender/core/model.ts';
import { gpusOf, node, pod, podManifest, type NodeSketch, type PodSketch } from '../support/builders.ts';

export const GPUS_PER_NODE = 8;

/** Mulberry32: small, seeded, good enough to scatter a workload. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const MODELS = [
  { model: 'A100', slices: 80 },
  { model: 'H100', slices: 80 },
  { model: 'A10', slices: 24 },
  { model: 'T4', slices: 16 },
];

export function nodeName(at: number): string {
  return `gpu-node-${String(at).padStart(5, '0')}.cluster.example`;
}

export function benchNodeSketch(at: number): NodeSketch {
  const { model, slices } = MODELS[at % MODELS.length] ?? { model: 'A100', slices: 80 };
  return { name: nodeName(at), gpus: gpusOf(GPUS_PER_NODE, slices, model), cpu: '128', memory: '1Ti' };
}

export function benchNode(at: number): NodeRecord {
  return node(benchNodeSketch(at));
}

/** The request shapes of the workload, most frequent first. */
const SHAPES: readonly Omit<PodSketch, 'name'>[] = [
  { slices: 4, cpu: '2' },
  { slices: 8, cpu: '4' },
  { slices: 2, cpu: '1', core: 20 },
  { slices: 12, cpu: '4' },
  { slices: 4, cpu: '2', class: 'batch' },
  { slices: 16, cpu: '8' },
  { slices: 6, cpu: '3', core: 30 },
  { slices: 1, cpu: '1' },
  { slices: 10, cpu: '4', class: 'batch' },
  { slices: 32, cpu: '8', count: 2 },
  { slices: 80, cpu: '16', annotations: { 'gpuloom.io/gpu-model': 'A100|H100' } },
  { slices: 20, cpu: '6' },
  { slices: 64, cpu: '16', count: 4 },
  { slices: 3, cpu: '1', annotations: { 'gpuloom.io/gpu-model': '!T4' } },
  { slices: 5, cpu: '2' },
  { slices: 24, cpu: '8', core: 100 },
];

export function benchSketch(name: string, random: () => number): PodSketch {
  // The square favours the shapes at the head of the list.
  const at = Math.floor(random() ** 2 * SHAPES.length);
  return { ...(SHAPES[at] ?? { slices: 4 }), name };
}

export function benchPod(name: string, random: () => number): PodRecord {
  return pod(benchSketch(name, random));
}

/** A pod as an API server serves it, with the fields that make real bodies large. */
export function benchManifest(name: string, random: () => number): PodManifest {
  const manifest = podManifest(benchSketch(name, random));
  const filler = {
    serviceAccountName: 'default',
    dnsPolicy: 'ClusterFirst',
    schedulerName: 'gpuloom',
    tolerations: ['not-ready', 'unreachable'].map((key) => ({
      key: `node.kubernetes.io/${key}`,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: 300,
    })),
    volumes: [{ name: 'kube-api-access', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } }],
  };
  return { ...manifest, spec: { ...manifest.spec, ...filler } };
}
