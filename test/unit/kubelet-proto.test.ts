// The hand-written message types against the encoder: a misspelt key is dropped in silence, so every key makes a trip.

import { describe, expect, it } from 'vitest';
import { loadDevicePluginApi, loadPodResourcesApi } from '../../device-plugin/proto/services.ts';
import type {
  AllocateRequest,
  AllocateResponse,
  ListAndWatchResponse,
  ListPodResourcesResponse,
  PreferredAllocationRequest,
  PreferredAllocationResponse,
  PreStartContainerRequest,
  RegisterRequest,
} from '../../device-plugin/proto/types.ts';

interface Codec<T> {
  readonly encode: (message: T) => Buffer;
  readonly decode: (bytes: Buffer) => T;
}

function trip<T>({ encode, decode }: Codec<T>, message: T): T {
  return decode(encode(message));
}

const { devicePlugin, registration, encodeContainerAllocation } = loadDevicePluginApi();
const podResources = loadPodResourcesApi();

const requestOf = <T>(method: {
  requestSerialize: (value: T) => Buffer;
  requestDeserialize: (bytes: Buffer) => T;
}) => ({
  encode: method.requestSerialize,
  decode: method.requestDeserialize,
});
const responseOf = <T>(method: {
  responseSerialize: (value: T) => Buffer;
  responseDeserialize: (bytes: Buffer) => T;
}) => ({ encode: method.responseSerialize, decode: method.responseDeserialize });

const REGISTER: RegisterRequest = {
  version: 'v1beta1',
  endpoint: 'gpuloom-mem-0123abcd.sock',
  resource_name: 'gpuloom.io/gpu-mem',
  options: { pre_start_required: true, get_preferred_allocation_available: true },
};
const DEVICES: ListAndWatchResponse = {
  devices: [
    { ID: 'GPU-0::0', health: 'Healthy', topology: { nodes: [{ ID: 1 }] } },
    { ID: 'GPU-0::1', health: 'Unhealthy', topology: null },
  ],
};
const PREFERRED: PreferredAllocationRequest = {
  container_requests: [{ available_deviceIDs: ['a', 'b'], must_include_deviceIDs: ['b'], allocation_size: 2 }],
};
const PREFERRED_ANSWER: PreferredAllocationResponse = { container_responses: [{ deviceIDs: ['b', 'a'] }] };
const ALLOCATE: AllocateRequest = { container_requests: [{ devices_ids: ['a', 'b'] }] };
const ALLOCATED: AllocateResponse = {
  container_responses: [
    {
      envs: { NVIDIA_VISIBLE_DEVICES: 'GPU-0' },
      mounts: [{ container_path: '/in', host_path: '/out', read_only: true }],
      devices: [{ container_path: '/dev/a', host_path: '/dev/b', permissions: 'rw' }],
      annotations: { 'cdi.k8s.io/gpuloom': 'gpuloom.io/gpu=1' },
      cdi_devices: [{ name: 'gpuloom.io/gpu=1' }],
    },
  ],
};
const PRE_START: PreStartContainerRequest = { devices_ids: ['a', 'b'] };
const PODS: ListPodResourcesResponse = {
  pod_resources: [
    {
      name: 'g2',
      namespace: 'default',
      containers: [
        {
          name: 'c1',
          cpu_ids: [3],
          devices: [{ resource_name: 'gpuloom.io/gpu-mem', device_ids: ['a'], topology: { nodes: [{ ID: 0 }] } }],
        },
      ],
    },
  ],
};

describe('the message types', () => {
  it('carry every key of every message through the encoder', () => {
    expect(trip(requestOf(registration.Register), REGISTER)).toEqual(REGISTER);
    expect(trip(responseOf(devicePlugin.ListAndWatch), DEVICES)).toEqual(DEVICES);
    expect(trip(requestOf(devicePlugin.GetPreferredAllocation), PREFERRED)).toEqual(PREFERRED);
    expect(trip(responseOf(devicePlugin.GetPreferredAllocation), PREFERRED_ANSWER)).toEqual(PREFERRED_ANSWER);
    expect(trip(requestOf(devicePlugin.Allocate), ALLOCATE)).toEqual(ALLOCATE);
    expect(trip(responseOf(devicePlugin.Allocate), ALLOCATED)).toEqual(ALLOCATED);
    expect(trip(requestOf(devicePlugin.PreStartContainer), PRE_START)).toEqual(PRE_START);
    expect(trip(responseOf(podResources.List), PODS)).toEqual(PODS);
  });

  it.each([
    ['devicesIds', { container_requests: [{ devicesIds: ['a'] }] }],
    ['devicesIDs', { container_requests: [{ devicesIDs: ['a'] }] }],
    ['containerRequests', { containerRequests: [{ devices_ids: ['a'] }] }],
  ])('lose what is spelt %s, which is why the trip is tested', (_spelling, message) => {
    expect(trip(requestOf(devicePlugin.Allocate), message as never)).not.toEqual(message);
  });

  it('fill what is not set: empty strings and lists, null messages', () => {
    expect(responseOf(devicePlugin.ListAndWatch).decode(Buffer.from([0x0a, 0x00]))).toEqual({
      devices: [{ ID: '', health: '', topology: null }],
    });
    expect(requestOf(registration.Register).decode(Buffer.alloc(0))).toEqual({
      version: '',
      endpoint: '',
      resource_name: '',
      options: null,
    });
  });

  it('have the field numbers of the API', () => {
    // Each field as tag byte (number × 8 + wire type), length, content.
    expect(
      requestOf(registration.Register).encode({ ...REGISTER, version: 'v', endpoint: 'e', resource_name: 'r' }),
    ).toEqual(Buffer.from([0x0a, 1, 0x76, 0x12, 1, 0x65, 0x1a, 1, 0x72, 0x22, 4, 0x08, 1, 0x10, 1]));
    expect(requestOf(devicePlugin.GetPreferredAllocation).encode(PREFERRED)).toEqual(
      Buffer.from([0x0a, 11, 0x0a, 1, 0x61, 0x0a, 1, 0x62, 0x12, 1, 0x62, 0x18, 2]),
    );
    expect(
      encodeContainerAllocation({
        envs: { k: 'v' },
        mounts: [{ container_path: 'c', host_path: 'h', read_only: true }],
        devices: [{ container_path: 'c', host_path: 'h', permissions: 'r' }],
        annotations: { k: 'v' },
        cdi_devices: [{ name: 'n' }],
      }),
    ).toEqual(
      Buffer.from(
        '0a060a016b120176' +
          '12080a0163120168' +
          '1801' +
          '1a090a0163120168' +
          '1a0172' +
          '22060a016b120176' +
          '2a030a016e',
        'hex',
      ),
    );
    expect(
      responseOf(devicePlugin.ListAndWatch).encode({
        devices: [{ ID: 'i', health: 'h', topology: { nodes: [{ ID: 2 }] } }],
      }),
    ).toEqual(Buffer.from('0a0c0a01691201681a040a020802', 'hex'));
  });

  it('name the calls as the kubelet does', () => {
    expect(Object.values(devicePlugin).map(({ path }) => path)).toEqual([
      '/v1beta1.DevicePlugin/GetDevicePluginOptions',
      '/v1beta1.DevicePlugin/ListAndWatch',
      '/v1beta1.DevicePlugin/GetPreferredAllocation',
      '/v1beta1.DevicePlugin/Allocate',
      '/v1beta1.DevicePlugin/PreStartContainer',
    ]);
    expect(registration.Register.path).toBe('/v1beta1.Registration/Register');
    expect(podResources.List.path).toBe('/v1.PodResourcesLister/List');
  });
});
