// The messages of deviceplugin_v1beta1.proto and podresources_v1.proto as the loader hands them over: names as in the
// proto, unset strings '', unset lists [], unset messages null. Checked by hand against a round trip through the
// encoder, because the encoder ignores a misspelt key in silence.

export type Empty = Readonly<Record<string, never>>;

export interface DevicePluginOptions {
  readonly pre_start_required: boolean;
  readonly get_preferred_allocation_available: boolean;
}

export interface RegisterRequest {
  readonly version: string;
  readonly endpoint: string;
  readonly resource_name: string;
  readonly options: DevicePluginOptions | null;
}

export interface NumaNode {
  readonly ID: number;
}

export interface TopologyInfo {
  readonly nodes: readonly NumaNode[];
}

export interface Device {
  readonly ID: string;
  readonly health: string;
  readonly topology: TopologyInfo | null;
}

export interface ListAndWatchResponse {
  readonly devices: readonly Device[];
}

export interface ContainerPreferredAllocationRequest {
  readonly available_deviceIDs: readonly string[];
  readonly must_include_deviceIDs: readonly string[];
  readonly allocation_size: number;
}

export interface PreferredAllocationRequest {
  readonly container_requests: readonly ContainerPreferredAllocationRequest[];
}

export interface ContainerPreferredAllocationResponse {
  readonly deviceIDs: readonly string[];
}

export interface PreferredAllocationResponse {
  readonly container_responses: readonly ContainerPreferredAllocationResponse[];
}

export interface ContainerAllocateRequest {
  readonly devices_ids: readonly string[];
}

export interface AllocateRequest {
  readonly container_requests: readonly ContainerAllocateRequest[];
}

export interface Mount {
  readonly container_path: string;
  readonly host_path: string;
  readonly read_only: boolean;
}

export interface DeviceSpec {
  readonly container_path: string;
  readonly host_path: string;
  readonly permissions: string;
}

export interface CdiDevice {
  readonly name: string;
}

export interface ContainerAllocateResponse {
  readonly envs: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  readonly devices: readonly DeviceSpec[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly cdi_devices: readonly CdiDevice[];
}

export interface AllocateResponse {
  readonly container_responses: readonly ContainerAllocateResponse[];
}

export interface PreStartContainerRequest {
  readonly devices_ids: readonly string[];
}

export interface ContainerDevices {
  readonly resource_name: string;
  readonly device_ids: readonly string[];
  readonly topology: TopologyInfo | null;
}

export interface ContainerResources {
  readonly name: string;
  readonly devices: readonly ContainerDevices[];
  readonly cpu_ids: readonly number[];
}

export interface PodResources {
  readonly name: string;
  readonly namespace: string;
  readonly containers: readonly ContainerResources[];
}

export interface ListPodResourcesResponse {
  readonly pod_resources: readonly PodResources[];
}
