// The core/v1 Endpoints object as it goes over the wire: what it says now, and the bodies of every write. Pure.
// Endpoints and not EndpointSlice: every Kubernetes from 1.20 on takes it, mirrors it into slices where the Service has
// no selector, and removes those slices again.

import { isRecord, stringAt } from './kube-api.ts';

export interface EndpointAddress {
  readonly ip: string;
  readonly port: number;
}

/** A Service and its Endpoints object find each other's ports by this name. */
export const PORT_NAME = 'verbs';

export interface EndpointsRecord {
  /** One text for each address with its ports, such as `10.0.0.5 verbs:12345/TCP`. */
  readonly addresses: readonly string[];
  readonly resourceVersion: string;
  /** The whole object, so that a write keeps labels, annotations and the version it is based on. */
  readonly raw: Readonly<Record<string, unknown>>;
}

export function readEndpoints(body: unknown): EndpointsRecord | undefined {
  const resourceVersion = stringAt(body, 'metadata', 'resourceVersion');
  if (!isRecord(body) || resourceVersion === undefined) return undefined;
  return { addresses: listAt(body, 'subsets').flatMap(addressesOf), resourceVersion, raw: body };
}

/** Whether traffic goes to this address and to no other. */
export function isOnlyAddress(record: EndpointsRecord, address: EndpointAddress): boolean {
  const [only, ...others] = record.addresses;
  return others.length === 0 && only === `${address.ip} ${PORT_NAME}:${String(address.port)}/TCP`;
}

export function namesAddress(record: EndpointsRecord, { ip }: EndpointAddress): boolean {
  return record.addresses.some((text) => text.startsWith(`${ip} `));
}

export function newEndpoints(namespace: string, name: string, address: EndpointAddress): unknown {
  return { apiVersion: 'v1', kind: 'Endpoints', metadata: { namespace, name }, subsets: [subsetOf(address)] };
}

export function pointedAt(record: EndpointsRecord, address: EndpointAddress): unknown {
  return { ...record.raw, subsets: [subsetOf(address)] };
}

export function emptied(record: EndpointsRecord): unknown {
  return { ...record.raw, subsets: [] };
}

function subsetOf({ ip, port }: EndpointAddress): unknown {
  return { addresses: [{ ip }], ports: [{ name: PORT_NAME, port, protocol: 'TCP' }] };
}

function addressesOf(subset: unknown): readonly string[] {
  const ports = listAt(subset, 'ports')
    .map((port) => `${fieldText(port, 'name')}:${fieldText(port, 'port')}/${fieldText(port, 'protocol') || 'TCP'}`)
    .join(',');
  const ready = listAt(subset, 'addresses').map((address) => `${fieldText(address, 'ip')} ${ports}`);
  const unready = listAt(subset, 'notReadyAddresses').map(
    (address) => `${fieldText(address, 'ip')} ${ports} not ready`,
  );
  return [...ready, ...unready];
}

function listAt(value: unknown, key: string): readonly unknown[] {
  const found = isRecord(value) ? value[key] : undefined;
  return Array.isArray(found) ? found : [];
}

function fieldText(value: unknown, key: string): string {
  const found = isRecord(value) ? value[key] : undefined;
  return typeof found === 'string' || typeof found === 'number' ? String(found) : '';
}
