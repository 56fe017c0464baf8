// Keeps what the kubelet, the API server and the judge are told about the node's GPUs in step with what the health monitor
// sees. Everything is derived from the latest reading and verdicts, and told only when it changed.

import type { Inventory } from '../extender/core/model.ts';
import type { NodeJudge } from './binding/judge.ts';
import type { HealthMonitor } from './health/monitor.ts';
import { coreDevices, memoryDevices } from './inventory/devices.ts';
import { toInventory, type InventoryNote, type InventoryOptions } from './inventory/to-inventory.ts';
import type { PluginDevice } from './kubelet/device-list.ts';

export interface BoardDeps {
  readonly monitor: HealthMonitor;
  readonly options: InventoryOptions;
  readonly judge: NodeJudge;
  readonly announceMemory: (devices: readonly PluginDevice[]) => void;
  readonly announceCore: (devices: readonly PluginDevice[]) => void;
  readonly publish: (inventory: Inventory) => void;
  /** What of the inventory the node can keep at the moment; this is published. */
  readonly offered: (inventory: Inventory) => Inventory;
  /** GPUs that the node had before the agent restarted. */
  readonly known?: Inventory | undefined;
  readonly onNotes: (notes: readonly InventoryNote[]) => void;
}

export class InventoryBoard {
  readonly #deps: BoardDeps;
  #current: Inventory | undefined;
  #text = '';
  #notes = '';

  constructor(deps: BoardDeps) {
    this.#deps = deps;
  }

  /** What the node has; empty before the first reading. */
  get inventory(): Inventory {
    const { unitMiB, isolation } = this.#deps.options;
    return this.#current ?? { unitMiB, isolation, gpus: [], links: [] };
  }

  /** Brings everybody up to date. Call it after each reading and each change of health or of what can be offered. */
  update(): void {
    const { monitor, options, judge, known } = this.#deps;
    if (monitor.reading === undefined) return;
    const { inventory, notes } = toInventory(monitor.reading, options, monitor.verdict, this.#current ?? known);
    this.#tellNotes(notes);
    const offered = this.#deps.offered(inventory);
    const text = JSON.stringify([inventory, offered]);
    if (text === this.#text) return;
    this.#text = text;
    this.#current = inventory;
    judge.setInventory(inventory);
    // The API server first: slices that the kubelet shows should already be explained there.
    // The kubelet's lists follow the hardware alone: one that restarts may end running pods whose slices are unhealthy.
    this.#deps.publish(offered);
    this.#deps.announceMemory(memoryDevices(inventory.gpus));
    this.#deps.announceCore(coreDevices(inventory.gpus));
  }

  #tellNotes(notes: readonly InventoryNote[]): void {
    const text = JSON.stringify(notes);
    if (text === this.#notes) return;
    this.#notes = text;
    this.#deps.onNotes(notes);
  }
}
