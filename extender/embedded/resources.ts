// The resources the embedded API server knows and how each behaves on writes.
// A table only: adding a resource is adding a row. Pure.

export type ResourceName = 'nodes' | 'pods' | 'configmaps' | 'endpoints' | 'events' | 'events.events.k8s.io' | 'leases';

export interface ResourceDefinition {
  /** Key in the store. Two API groups may serve the same plural. */
  readonly resource: ResourceName;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  /** `''` is the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Writes to the main resource leave `status` alone; `/status` writes leave `spec` alone. */
  readonly statusSubresource: boolean;
  /** PUT of an unknown name creates it. */
  readonly createOnUpdate: boolean;
  /** PUT without a resourceVersion overwrites. */
  readonly unconditionalUpdate: boolean;
  /** Field selectors beyond metadata.name and metadata.namespace. */
  readonly selectableFields: readonly string[];
  /** The oldest objects go when there are more; stands in for the one-hour life of events. */
  readonly maxObjects: number;
}

const DEFAULTS = {
  shortNames: [],
  group: '',
  version: 'v1',
  namespaced: true,
  statusSubresource: false,
  createOnUpdate: false,
  unconditionalUpdate: true,
  selectableFields: [],
  maxObjects: Number.POSITIVE_INFINITY,
} as const;

const EVENT = {
  ...DEFAULTS,
  plural: 'events',
  singular: 'event',
  kind: 'Event',
  createOnUpdate: true,
  maxObjects: 10_000,
} as const;

const DEFINITIONS: Readonly<Record<ResourceName, ResourceDefinition>> = {
  nodes: {
    ...DEFAULTS,
    resource: 'nodes',
    plural: 'nodes',
    singular: 'node',
    shortNames: ['no'],
    kind: 'Node',
    namespaced: false,
    statusSubresource: true,
    selectableFields: ['spec.unschedulable'],
  },
  pods: {
    ...DEFAULTS,
    resource: 'pods',
    plural: 'pods',
    singular: 'pod',
    shortNames: ['po'],
    kind: 'Pod',
    statusSubresource: true,
    selectableFields: ['spec.nodeName', 'spec.schedulerName', 'spec.restartPolicy', 'status.phase'],
  },
  configmaps: {
    ...DEFAULTS,
    resource: 'configmaps',
    plural: 'configmaps',
    singular: 'configmap',
    shortNames: ['cm'],
    kind: 'ConfigMap',
  },
  endpoints: {
    ...DEFAULTS,
    resource: 'endpoints',
    plural: 'endpoints',
    singular: 'endpoints',
    shortNames: ['ep'],
    kind: 'Endpoints',
    createOnUpdate: true,
  },
  events: {
    ...EVENT,
    resource: 'events',
    shortNames: ['ev'],
    selectableFields: ['involvedObject.kind', 'involvedObject.name', 'involvedObject.uid', 'reason', 'type'],
  },
  'events.events.k8s.io': {
    ...EVENT,
    resource: 'events.events.k8s.io',
    group: 'events.k8s.io',
    selectableFields: ['regarding.kind', 'regarding.name', 'regarding.uid', 'reason', 'type'],
  },
  leases: {
    ...DEFAULTS,
    resource: 'leases',
    plural: 'leases',
    singular: 'lease',
    group: 'coordination.k8s.io',
    kind: 'Lease',
    createOnUpdate: true,
    unconditionalUpdate: false,
  },
};

export const resourceDefinitions: readonly ResourceDefinition[] = Object.values(DEFINITIONS);

export function definitionOf(resource: ResourceName): ResourceDefinition {
  return DEFINITIONS[resource];
}

/** `v1`, `coordination.k8s.io/v1`. */
export function apiVersionOf(definition: ResourceDefinition): string {
  return definition.group === '' ? definition.version : `${definition.group}/${definition.version}`;
}

export function findDefinition(group: string, version: string, plural: string): ResourceDefinition | undefined {
  return resourceDefinitions.find(
    (definition) => definition.group === group && definition.version === version && definition.plural === plural,
  );
}
