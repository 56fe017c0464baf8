// Loads the API definitions beside this file and gives them the types of types.ts; the only place that does so.
// Reads files once per call, at start. The `.proto` files must lie beside the compiled module too.

import { join } from 'node:path';
import type { MethodDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { MessageTypeDefinition, PackageDefinition, ServiceDefinition } from '@grpc/proto-loader';
import type {
  AllocateRequest,
  AllocateResponse,
  ContainerAllocateResponse,
  DevicePluginOptions,
  Empty,
  ListAndWatchResponse,
  ListPodResourcesResponse,
  PreferredAllocationRequest,
  PreferredAllocationResponse,
  PreStartContainerRequest,
  RegisterRequest,
} from './types.ts';

/** What kubelets and plugins call the API version in a RegisterRequest. */
export const DEVICE_PLUGIN_VERSION = 'v1beta1';

// Types, not interfaces: addService wants an index signature.
export type DevicePluginService = {
  readonly GetDevicePluginOptions: MethodDefinition<Empty, DevicePluginOptions>;
  readonly ListAndWatch: MethodDefinition<Empty, ListAndWatchResponse>;
  readonly GetPreferredAllocation: MethodDefinition<PreferredAllocationRequest, PreferredAllocationResponse>;
  readonly Allocate: MethodDefinition<AllocateRequest, AllocateResponse>;
  readonly PreStartContainer: MethodDefinition<PreStartContainerRequest, Empty>;
};

export type RegistrationService = {
  readonly Register: MethodDefinition<RegisterRequest, Empty>;
};

export type PodResourcesService = {
  readonly List: MethodDefinition<Empty, ListPodResourcesResponse>;
};

/** Encoder of one message type. */
export type Encode<T> = (message: T) => Buffer;
/** Decoder of one message type; throws on bytes that are none. */
export type Decode<T> = (bytes: Buffer) => T;

export interface DevicePluginApi {
  readonly devicePlugin: DevicePluginService;
  readonly registration: RegistrationService;
  /** What the kubelet keeps, encoded, in the AllocResp field of its checkpoint. */
  readonly encodeContainerAllocation: Encode<ContainerAllocateResponse>;
  readonly decodeContainerAllocation: Decode<ContainerAllocateResponse>;
}

export function loadDevicePluginApi(): DevicePluginApi {
  const definition = load('deviceplugin_v1beta1.proto');
  const containerAllocation = message(definition, 'v1beta1.ContainerAllocateResponse');
  return {
    devicePlugin: service(definition, 'v1beta1.DevicePlugin') as unknown as DevicePluginService,
    registration: service(definition, 'v1beta1.Registration') as unknown as RegistrationService,
    encodeContainerAllocation: (message) => containerAllocation.serialize(message),
    decodeContainerAllocation: (bytes) => containerAllocation.deserialize(bytes) as ContainerAllocateResponse,
  };
}

export function loadPodResourcesApi(): PodResourcesService {
  return service(load('podresources_v1.proto'), 'v1.PodResourcesLister') as unknown as PodResourcesService;
}

function load(file: string): PackageDefinition {
  return loadSync(join(import.meta.dirname, file), { keepCase: true, defaults: true, longs: Number });
}

function service(definition: PackageDefinition, name: string): ServiceDefinition {
  const found = definition[name];
  if (found === undefined || 'format' in found) throw new Error(`The API definition has no service ${name}`);
  return found;
}

function message(definition: PackageDefinition, name: string): MessageTypeDefinition<object, object> {
  const found = definition[name];
  if (found === undefined || !('serialize' in found)) throw new Error(`The API definition has no message ${name}`);
  return found as MessageTypeDefinition<object, object>;
}
