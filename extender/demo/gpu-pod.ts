// One pod of the demo as the manifest its owner would have applied. Pure.

import type { PodManifest } from '../core/manifest.ts';
import type { WorkloadClass } from '../core/model.ts';
import { POD_ANNOTATIONS, POD_LABELS, PROFILES } from '../core/resources.ts';

export interface PodSketch {
  readonly name: string;
  readonly app: string;
  readonly class: WorkloadClass;
  readonly cpuMilli: number;
  readonly memoryMiB: number;
  /** 0 = a pod without GPUs. */
  readonly gpuCount: number;
  readonly slicesPerGpu: number;
  /** Percent; 0 = shares what is left. */
  readonly corePerGpu: number;
  /** As in the annotation (`A100|H100`, `!T4`); empty = any model. */
  readonly models: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Namespaces are named after the class. */
export function gpuPod(sketch: PodSketch): PodManifest {
  const { name, app, gpuCount, slicesPerGpu, corePerGpu, models } = sketch;
  const labels = {
    app,
    [POD_LABELS.class]: sketch.class,
    ...(gpuCount > 1 ? { [POD_LABELS.gpuCount]: String(gpuCount) } : {}),
    ...sketch.labels,
  };
  const annotations = {
    ...(models === '' ? {} : { [POD_ANNOTATIONS.gpuModel]: models }),
    ...sketch.annotations,
  };
  const { memoryResource, coreResource } = PROFILES.gpuloom;
  const gpus = {
    ...(gpuCount > 0 ? { [memoryResource]: String(slicesPerGpu * gpuCount) } : {}),
    ...(corePerGpu > 0 ? { [coreResource]: String(corePerGpu * gpuCount) } : {}),
  };
  const requests = { cpu: `${sketch.cpuMilli}m`, memory: `${sketch.memoryMiB}Mi`, ...gpus };
  const container = { name: 'main', image: `registry.example/${app}:1`, resources: { requests, limits: gpus } };
  const spec = { schedulerName: 'default-scheduler', restartPolicy: 'Never', containers: [container] };
  return { metadata: { name, namespace: sketch.class, labels, annotations }, spec, status: { phase: 'Pending' } };
}
