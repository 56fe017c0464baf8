// The environment that gives a container its GPUs and tells it its limits. Pure.

import type { ProfileName } from '../../extender/core/resources.ts';
import type { ContainerClaim } from './claims.ts';

export interface EnvSettings {
  readonly profile: ProfileName;
  readonly unitMiB: number;
  /** Set where a control daemon enforces limits per client. */
  readonly mps: { readonly pipeDirectory: string } | undefined;
  /** Node label `cgpu.disable.isolation` of gpushare. */
  readonly disablesIsolation: boolean;
  /** What every container gets besides its own. */
  readonly common?: Environment;
}

export type Environment = Readonly<Record<string, string>>;

export function containerEnvironment(claim: ContainerClaim, settings: EnvSettings): Environment {
  const { gpus, slicesPerGpu, corePerGpu } = claim;
  return {
    ...settings.common,
    NVIDIA_VISIBLE_DEVICES: gpus.map(({ uuid }) => uuid).join(','),
    GPULOOM_GPU_INDICES: gpus.map(({ index }) => index).join(','),
    GPULOOM_GPU_MEM_SLICES: String(slicesPerGpu),
    GPULOOM_GPU_MEM_MIB: String(slicesPerGpu * settings.unitMiB),
    ...(corePerGpu > 0 ? { GPULOOM_GPU_CORE_PERCENT: String(corePerGpu) } : {}),
    ...(settings.mps === undefined ? {} : mpsEnvironment(claim, settings.unitMiB, settings.mps.pipeDirectory)),
    ...(settings.profile === 'gpushare' ? gpushareEnvironment(claim, settings) : {}),
  };
}

/**
 * How an environment that a container was given contradicts its own; undefined where it does not. Only what says which
 * GPUs and how much of them counts: the rest may have changed with the agent. gpushare's plugin named GPUs by index.
 */
export function contradiction(given: Environment, { gpus }: ContainerClaim, own: Environment): string | undefined {
  const seen = given['NVIDIA_VISIBLE_DEVICES'] ?? '';
  const isOwn = seen.split(',').every((name, at) => name === gpus[at]?.uuid || name === String(gpus[at]?.index));
  if (!isOwn || seen.split(',').length !== gpus.length) return `NVIDIA_VISIBLE_DEVICES is "${seen}"`;
  if (given['GPULOOM_GPU_MEM_SLICES'] === undefined) return undefined;
  const name = ['GPULOOM_GPU_MEM_SLICES', 'GPULOOM_GPU_CORE_PERCENT'].find((each) => given[each] !== own[each]);
  return name === undefined ? undefined : `${name} is ${given[name] ?? 'not set'}`;
}

/** Limits for one MPS client, by the ordinals the process sees (CUDA 11.5 and later). */
function mpsEnvironment(
  { gpus, slicesPerGpu, corePerGpu }: ContainerClaim,
  unitMiB: number,
  pipeDirectory: string,
): Environment {
  return {
    CUDA_MPS_PIPE_DIRECTORY: pipeDirectory,
    CUDA_MPS_PINNED_DEVICE_MEM_LIMIT: gpus.map((_, ordinal) => `${ordinal}=${slicesPerGpu * unitMiB}M`).join(','),
    ...(corePerGpu > 0 ? { CUDA_MPS_ACTIVE_THREAD_PERCENTAGE: String(corePerGpu) } : {}),
  };
}

/** The four variables that applications written for gpushare divide by each other. */
function gpushareEnvironment({ pod, gpus, sliceIds }: ContainerClaim, { disablesIsolation }: EnvSettings): Environment {
  const podSlices =
    pod.demand.kind === 'request' ? pod.demand.request.slicesPerGpu * pod.demand.request.gpuCount : sliceIds;
  return {
    ALIYUN_COM_GPU_MEM_IDX: gpus.map(({ index }) => index).join(','),
    ALIYUN_COM_GPU_MEM_POD: String(podSlices),
    ALIYUN_COM_GPU_MEM_CONTAINER: String(sliceIds),
    ALIYUN_COM_GPU_MEM_DEV: String(gpus[0]?.slices ?? 0),
    ...(disablesIsolation ? { CGPU_DISABLE: 'true' } : {}),
  };
}
