// The parts of Kubernetes objects that gpuloom reads, as they come off the wire.
// Every field is optional because a manifest is outside input; nothing here is validated yet.

/** Quantities by resource name, as the API server writes them (`"500m"`, `"4Gi"`, `"3"`). */
export type ResourceList = Readonly<Record<string, string | number | undefined>>;

export type StringMap = Readonly<Record<string, string | undefined>>;

/** The value of a key that the map itself has; keys such as `constructor` are never looked up in its prototype. */
export function ownValue(map: StringMap, key: string): string | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}

export interface ObjectMetaManifest {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: StringMap;
  readonly annotations?: StringMap;
}

export interface ContainerManifest {
  readonly name?: string;
  /** `Always` on an init container makes it a sidecar. */
  readonly restartPolicy?: string;
  readonly resources?: { readonly limits?: ResourceList; readonly requests?: ResourceList };
}

export interface PodManifest {
  readonly metadata?: ObjectMetaManifest;
  readonly spec?: {
    readonly nodeName?: string;
    readonly schedulerName?: string;
    readonly priority?: number;
    readonly containers?: readonly ContainerManifest[];
    readonly initContainers?: readonly ContainerManifest[];
    readonly overhead?: ResourceList;
    readonly affinity?: {
      readonly nodeAffinity?: PreferenceHolder;
      readonly podAffinity?: PreferenceHolder;
      readonly podAntiAffinity?: PreferenceHolder;
    };
    readonly topologySpreadConstraints?: readonly { readonly whenUnsatisfiable?: string }[];
  };
  readonly status?: { readonly phase?: string };
}

/** Only the presence of soft terms matters here; their content is kube-scheduler's business. */
export interface PreferenceHolder {
  readonly preferredDuringSchedulingIgnoredDuringExecution?: readonly unknown[];
  readonly requiredDuringSchedulingIgnoredDuringExecution?: unknown;
}

export interface NodeManifest {
  readonly metadata?: ObjectMetaManifest;
  readonly status?: {
    readonly capacity?: ResourceList;
    readonly allocatable?: ResourceList;
    readonly addresses?: readonly { readonly type?: string; readonly address?: string }[];
  };
}

export interface ConfigMapManifest {
  readonly metadata?: ObjectMetaManifest;
  readonly data?: StringMap;
}
