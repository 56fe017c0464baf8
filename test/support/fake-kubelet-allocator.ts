// Chooses and allocates device ids as the kubelet's device manager does. See fake-kubelet.ts.

import type { DevicePluginApi } from '../../device-plugin/proto/services.ts';
import type { HeldDevices } from './fake-kubelet-devices.ts';
import type { KubeletEndpoint } from './fake-kubelet-endpoint.ts';

export interface PluginCall {
  readonly method: 'GetDevicePluginOptions' | 'GetPreferredAllocation' | 'Allocate' | 'PreStartContainer';
  readonly resourceName: string;
  readonly ids: readonly string[];
}

export interface DeviceDemand {
  readonly count: number;
  /** Ids of the pod's init containers that have ended. */
  readonly reusable: ReadonlySet<string>;
  readonly inUse: ReadonlySet<string>;
  /** Takes the ids from the free ones, before the plugin is asked. */
  readonly reserve: (ids: readonly string[]) => void;
}

export class DeviceAllocator {
  readonly #api: DevicePluginApi;
  readonly #random: () => number;
  readonly #calls: PluginCall[];

  constructor(api: DevicePluginApi, random: () => number, calls: PluginCall[]) {
    this.#api = api;
    this.#random = random;
    this.#calls = calls;
  }

  async allocate(
    endpoint: KubeletEndpoint,
    demand: DeviceDemand,
  ): Promise<Pick<HeldDevices, 'ids' | 'idsByNode' | 'response' | 'encodedResponse'>> {
    const ids = await this.#chooseIds(endpoint, demand);
    demand.reserve(ids);
    this.#calls.push({ method: 'Allocate', resourceName: endpoint.resourceName, ids });
    const { Allocate } = this.#api.devicePlugin;
    const { container_responses } = await endpoint.call(Allocate, { container_requests: [{ devices_ids: ids }] });
    const [response] = container_responses;
    if (response === undefined) throw new Error('no containers in the response of the plugin');
    const encodedResponse = this.#api.encodeContainerAllocation(response).toString('base64');
    return { ids, idsByNode: byNumaNode(endpoint, ids), response, encodedResponse };
  }

  async #chooseIds(endpoint: KubeletEndpoint, { count, reusable, inUse }: DeviceDemand): Promise<string[]> {
    const { resourceName, healthyIds } = endpoint;
    if (healthyIds.length === 0)
      throw new Error(`no healthy devices present; cannot allocate unhealthy devices ${resourceName}`);
    const chosen = this.#anyOf([...reusable], count);
    if (chosen.length === count) return chosen;
    // Reused ids may count as free: see DeviceBooks.collect.
    const available = healthyIds.filter((id) => !inUse.has(id) && !chosen.includes(id));
    const needed = count - chosen.length;
    if (available.length < needed) {
      const numbers = `Requested: ${needed}, Available: ${available.length}`;
      throw new Error(`requested number of devices unavailable for ${resourceName}. ${numbers}`);
    }
    const preferred = await this.#preferred(endpoint, available, chosen, count);
    const wanted = preferred.filter((id) => available.includes(id)).slice(0, needed);
    const rest = available.filter((id) => !wanted.includes(id));
    return [...chosen, ...wanted, ...this.#anyOf(rest, needed - wanted.length)];
  }

  async #preferred(
    endpoint: KubeletEndpoint,
    available: readonly string[],
    chosen: readonly string[],
    count: number,
  ): Promise<readonly string[]> {
    if (!endpoint.options.get_preferred_allocation_available) return [];
    this.#calls.push({ method: 'GetPreferredAllocation', resourceName: endpoint.resourceName, ids: available });
    const { GetPreferredAllocation } = this.#api.devicePlugin;
    const request = {
      available_deviceIDs: [...chosen, ...available],
      must_include_deviceIDs: chosen,
      allocation_size: count,
    };
    const { container_responses } = await endpoint.call(GetPreferredAllocation, { container_requests: [request] });
    return container_responses[0]?.deviceIDs ?? [];
  }

  /** Go's sets have no order, so neither has this. */
  #anyOf(ids: readonly string[], count: number): string[] {
    const left = [...ids];
    const picked: string[] = [];
    while (picked.length < count && left.length > 0) {
      picked.push(...left.splice(Math.floor(this.#random() * left.length), 1));
    }
    return picked;
  }
}

function byNumaNode(endpoint: KubeletEndpoint, ids: readonly string[]): Record<string, string[]> {
  const nodes = new Map(endpoint.devices.map(({ id, numaNodes }) => [id, String(numaNodes[0] ?? -1)]));
  return Object.fromEntries(
    [...Map.groupBy(ids, (id) => nodes.get(id) ?? '-1')].map(([node, members]) => [node, members]),
  );
}
