// Names on the wire: extended resources, labels and annotations, for both profiles. Nothing else spells them.

/** Prefix of every key that gpuloom defines. A pod key under it that is not listed here is refused. */
export const KEY_PREFIX = 'gpuloom.io/';

export const POD_LABELS = {
  gpuCount: 'gpuloom.io/gpu-count',
  class: 'gpuloom.io/class',
} as const;

export const POD_ANNOTATIONS = {
  gpuModel: 'gpuloom.io/gpu-model',
  gpuUuid: 'gpuloom.io/gpu-uuid',
  affinity: 'gpuloom.io/gpu-affinity',
  antiAffinity: 'gpuloom.io/gpu-anti-affinity',
  preferredAffinity: 'gpuloom.io/gpu-preferred-affinity',
  preferredAntiAffinity: 'gpuloom.io/gpu-preferred-anti-affinity',
  affinityNamespaces: 'gpuloom.io/gpu-affinity-namespaces',
  placement: 'gpuloom.io/placement',
  isolation: 'gpuloom.io/isolation',
} as const;

/** Written by the extender in the Binding, never by users. */
export const ALLOCATION_ANNOTATION = 'gpuloom.io/allocation';
/** Written by the node agent on its Node. */
export const INVENTORY_ANNOTATION = 'gpuloom.io/inventory';
/** Written by operators on a Node: their word on its GPUs. Read by the node agent. */
export const GPU_OVERRIDE_ANNOTATION = 'gpuloom.io/gpu-override';

/** Annotations of the gpushare pair (research: gpushare-scheduler-extender c0b6141, `pkg/utils/const.go`). */
export const GPUSHARE_ANNOTATIONS = {
  index: 'ALIYUN_COM_GPU_MEM_IDX',
  device: 'ALIYUN_COM_GPU_MEM_DEV',
  pod: 'ALIYUN_COM_GPU_MEM_POD',
  assigned: 'ALIYUN_COM_GPU_MEM_ASSIGNED',
  assumeTime: 'ALIYUN_COM_GPU_MEM_ASSUME_TIME',
  /** The container-level JSON of the vendor's newer releases; read by its CLI and by Arena. */
  allocation: 'scheduler.framework.gpushare.allocation',
} as const;

export const GPUSHARE_NODE_RESOURCES = { memory: 'aliyun.com/gpu-mem', count: 'aliyun.com/gpu-count' } as const;
/** `true` on a Node: containers there are told to switch off what isolates them. */
export const GPUSHARE_NO_ISOLATION_LABEL = 'cgpu.disable.isolation';
export const GPUSHARE_CONFIGMAP_PREFIX = 'unhealthy-gpu-';

export type ProfileName = 'gpuloom' | 'gpushare';

/** Which names pods use to ask for GPU slices. */
export interface Profile {
  readonly name: ProfileName;
  readonly memoryResource: string;
  readonly coreResource: string;
  readonly countLabel: string;
}

export const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  gpuloom: {
    name: 'gpuloom',
    memoryResource: 'gpuloom.io/gpu-mem',
    coreResource: 'gpuloom.io/gpu-core',
    countLabel: POD_LABELS.gpuCount,
  },
  gpushare: {
    name: 'gpushare',
    memoryResource: GPUSHARE_NODE_RESOURCES.memory,
    coreResource: 'aliyun.com/gpu-core.percentage',
    countLabel: GPUSHARE_NODE_RESOURCES.count,
  },
};
