// The list of devices that a plugin announces: its checks, its size on the wire and its message.
// Pure. The kubelet drops a plugin whose list is larger than 4 MiB, so a list is checked before it is ever sent.

import type { Device } from '../proto/types.ts';

export interface PluginDevice {
  /** At most 63 characters; a function of GPU and slot only, because kubelets remember ids across restarts. */
  readonly id: string;
  readonly healthy: boolean;
  readonly numaNode?: number;
}

/** gRPC's limit on a message that the kubelet receives. */
export const KUBELET_MESSAGE_LIMIT_BYTES: number = 4 * 2 ** 20;
/** What we allow ourselves: half of the kubelet's limit. */
export const LIST_LIMIT_BYTES: number = KUBELET_MESSAGE_LIMIT_BYTES / 2;
export const MAX_DEVICE_ID_LENGTH = 63;

const HEALTH = { healthy: 'Healthy', unhealthy: 'Unhealthy' } as const;

/** Exact size in bytes of the ListAndWatch message that carries these devices. */
export function listAndWatchBytes(devices: readonly PluginDevice[]): number {
  return devices.reduce((sum, device) => sum + fieldBytes(deviceBytes(device)), 0);
}

/** Throws a RangeError that says what to change when the list cannot be announced. */
export function checkDeviceList(resourceName: string, devices: readonly PluginDevice[]): void {
  const ids = new Set<string>();
  for (const { id } of devices) {
    if (id === '' || id.length > MAX_DEVICE_ID_LENGTH) {
      throw new RangeError(
        `Device id "${id.slice(0, 80)}" of ${resourceName} has ${id.length} characters; the kubelet's API allows 1 to ${MAX_DEVICE_ID_LENGTH}`,
      );
    }
    if (ids.has(id)) throw new RangeError(`Device id "${id}" of ${resourceName} is in the list twice`);
    ids.add(id);
  }
  const bytes = listAndWatchBytes(devices);
  if (bytes <= LIST_LIMIT_BYTES) return;
  throw new RangeError(
    `The device list of ${resourceName} (${devices.length} devices) would take ${mebibytes(bytes)} MiB on the wire, and the kubelet drops plugins that send more than 4 MiB ` +
      `(limit here ${mebibytes(LIST_LIMIT_BYTES)} MiB). Choose a slice unit at least ${Math.ceil(bytes / LIST_LIMIT_BYTES)} times as large`,
  );
}

export function deviceMessages(devices: readonly PluginDevice[]): Device[] {
  return devices.map(({ id, healthy, numaNode }) => ({
    ID: id,
    health: healthy ? HEALTH.healthy : HEALTH.unhealthy,
    topology: numaNode === undefined ? null : { nodes: [{ ID: numaNode }] },
  }));
}

export function isSameDeviceList(a: readonly PluginDevice[], b: readonly PluginDevice[]): boolean {
  return (
    a.length === b.length &&
    a.every((device, index) => {
      const other = b[index];
      return device.id === other?.id && device.healthy === other.healthy && device.numaNode === other.numaNode;
    })
  );
}

function deviceBytes({ id, healthy, numaNode }: PluginDevice): number {
  const health = healthy ? HEALTH.healthy : HEALTH.unhealthy;
  const idAndHealth = fieldBytes(Buffer.byteLength(id)) + fieldBytes(health.length);
  return numaNode === undefined ? idAndHealth : idAndHealth + fieldBytes(fieldBytes(1 + varintBytes(numaNode)));
}

/** Tag, length and content of a length-delimited field with a number below 16. */
function fieldBytes(contentBytes: number): number {
  return 1 + varintBytes(contentBytes) + contentBytes;
}

function varintBytes(value: number): number {
  if (value < 0) return 10;
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes += 1;
  return bytes;
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
