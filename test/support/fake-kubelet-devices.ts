// The fake kubelet's books: which container holds which ids, in memory and in the checkpoint file. See fake-kubelet.ts.

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Decode } from '../../device-plugin/proto/services.ts';
import type { ContainerAllocateResponse } from '../../device-plugin/proto/types.ts';

export interface HeldDevices {
  readonly podUid: string;
  readonly container: string;
  readonly resourceName: string;
  readonly ids: readonly string[];
  /** Ids by NUMA node; "-1" for devices without one. */
  readonly idsByNode: Readonly<Record<string, readonly string[]>>;
  /** The plugin's answer to Allocate, used at every start of the container. */
  readonly response: ContainerAllocateResponse;
  readonly encodedResponse: string;
}

/** How DeviceIDs are written: a list before Kubernetes 1.20, a map by NUMA node since. */
export type CheckpointFormat = 'list' | 'numa-map';

export class DeviceBooks {
  #held: HeldDevices[] = [];
  /** What the checkpoint says; none where it is missing. */
  #written: readonly HeldDevices[] = [];
  /** Ids that are not free, by resource: what is held, and what an Allocate on its way is about. */
  #allocated = new Map<string, Set<string>>();

  record(held: HeldDevices): void {
    this.#held.push(held);
  }

  /** Before Allocate is called. */
  reserve(resourceName: string, ids: readonly string[]): void {
    const allocated = this.#allocated.get(resourceName) ?? new Set();
    this.#allocated.set(resourceName, allocated);
    for (const id of ids) allocated.add(id);
  }

  /** After a failed Allocate, and whenever pods have gone: what is held, and nothing else. */
  restore(): void {
    const byResource = Map.groupBy(this.#held, ({ resourceName }) => resourceName);
    this.#allocated = new Map([...byResource].map(([name, held]) => [name, new Set(held.flatMap(({ ids }) => ids))]));
  }

  /**
   * Frees what pods that are no longer active hold. As in every kubelet up to now, ids of an Allocate on its way are
   * then forgotten too and may be given twice; PodResources does this at every List.
   */
  collect(isActive: (podUid: string) => boolean): void {
    const left = this.#held.filter(({ podUid }) => isActive(podUid));
    if (left.length === this.#held.length) return;
    this.#held = left;
    this.restore();
  }

  of(podUid: string, container: string): readonly HeldDevices[] {
    return this.#held.filter((held) => held.podUid === podUid && held.container === container);
  }

  inUse(resourceName: string): ReadonlySet<string> {
    return this.#allocated.get(resourceName) ?? new Set();
  }

  /** What the checkpoint says, without reading it. */
  get written(): readonly HeldDevices[] {
    return this.#written;
  }

  loseCheckpoint(path: string | undefined): void {
    this.#written = [];
    if (path !== undefined) rmSync(path, { force: true });
  }

  /** A kubelet in process has no path. */
  write(
    path: string | undefined,
    format: CheckpointFormat,
    registered: Readonly<Record<string, readonly string[]>>,
  ): void {
    this.#written = [...this.#held];
    if (path === undefined) return;
    const PodDeviceEntries = this.#held.map((held) => ({
      PodUID: held.podUid,
      ContainerName: held.container,
      ResourceName: held.resourceName,
      DeviceIDs: format === 'list' ? held.ids : held.idsByNode,
      AllocResp: held.encodedResponse,
    }));
    const text = JSON.stringify({ Data: { PodDeviceEntries, RegisteredDevices: registered }, Checksum: 4_042_191_301 });
    writeFileSync(`${path}.tmp`, text);
    renameSync(`${path}.tmp`, path);
  }

  /** What a kubelet knows after a start: only the file; nothing where the file is missing or cannot be read. */
  load(path: string | undefined, decode: Decode<ContainerAllocateResponse>): void {
    this.#held = path === undefined ? [...this.#written] : [];
    this.restore();
    if (path === undefined || !existsSync(path)) return;
    try {
      const { Data } = JSON.parse(readFileSync(path, 'utf8')) as { Data: { PodDeviceEntries: WrittenEntry[] } };
      this.#held = Data.PodDeviceEntries.map((entry) => {
        const idsByNode = mapByNode(entry.DeviceIDs);
        return {
          podUid: entry.PodUID,
          container: entry.ContainerName,
          resourceName: entry.ResourceName,
          ids: Object.values(idsByNode).flat(),
          idsByNode,
          response: decode(Buffer.from(entry.AllocResp, 'base64')),
          encodedResponse: entry.AllocResp,
        };
      });
      this.restore();
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
    }
  }
}

type WrittenIds = readonly string[] | Readonly<Record<string, readonly string[]>>;

function mapByNode(written: WrittenIds): Readonly<Record<string, readonly string[]>> {
  return isList(written) ? { '-1': written } : written;
}

function isList(written: WrittenIds): written is readonly string[] {
  return Array.isArray(written);
}

interface WrittenEntry {
  readonly PodUID: string;
  readonly ContainerName: string;
  readonly ResourceName: string;
  readonly DeviceIDs: WrittenIds;
  readonly AllocResp: string;
}
