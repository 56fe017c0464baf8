// A device plugin beside a fake kubelet in a directory of its own, for the tests of device-plugin/kubelet.
// Everything started here is ended by close().

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../device-plugin/kubelet/clock.ts';
import type { KubeletClock } from '../../device-plugin/kubelet/clock.ts';
import type { PluginDevice } from '../../device-plugin/kubelet/device-list.ts';
import { startDevicePlugin } from '../../device-plugin/kubelet/device-plugin.ts';
import type { DevicePlugin } from '../../device-plugin/kubelet/device-plugin.ts';
import type { PluginEvent } from '../../device-plugin/kubelet/events.ts';
import type { PluginHandlers } from '../../device-plugin/kubelet/handlers.ts';
import { FakeKubelet } from './fake-kubelet.ts';
import type { FakeKubeletSettings } from './fake-kubelet.ts';

export const MEMORY = 'gpuloom.io/gpu-mem';
export const CORE = 'gpuloom.io/gpu-core';

/** Slices of one GPU, all healthy. */
export function slices(count: number, gpu = 'GPU-0', numaNode?: number): PluginDevice[] {
  return Array.from({ length: count }, (_, slot) => ({
    id: `${gpu}::${slot}`,
    healthy: true,
    ...(numaNode === undefined ? {} : { numaNode }),
  }));
}

/** Small deterministic generator (mulberry32), uniform in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface PluginOptions {
  readonly resourceName?: string;
  readonly socketPrefix?: string;
  readonly handlers?: Partial<PluginHandlers>;
  readonly clock?: KubeletClock;
  readonly onEvent?: (event: PluginEvent) => void;
  readonly preStartRequired?: boolean;
  readonly preferredAvailable?: boolean;
}

export class PluginBench {
  readonly directory: string;
  readonly events: PluginEvent[] = [];
  readonly #root: string;
  readonly #plugins: DevicePlugin[] = [];
  readonly #kubelets: FakeKubelet[] = [];

  constructor() {
    this.#root = mkdtempSync(join(tmpdir(), 'gl-'));
    this.directory = join(this.#root, 'dp');
    mkdirSync(this.directory);
  }

  async kubelet(settings: Partial<FakeKubeletSettings> = {}): Promise<FakeKubelet> {
    const kubelet = await FakeKubelet.start({
      directory: this.directory,
      generation: 'old',
      random: seeded(1),
      ...settings,
    });
    this.#kubelets.push(kubelet);
    return kubelet;
  }

  plugin(options: PluginOptions = {}): DevicePlugin {
    const plugin = startDevicePlugin({
      resourceName: options.resourceName ?? MEMORY,
      kubeletDir: this.directory,
      socketPrefix: options.socketPrefix ?? 'gpuloom-mem',
      preStartRequired: options.preStartRequired ?? true,
      preferredAvailable: options.preferredAvailable ?? true,
      handlers: {
        allocate: () => Promise.resolve({}),
        preStart: () => Promise.resolve(),
        prefer: () => [],
        ...options.handlers,
      },
      clock: options.clock ?? systemClock,
      report: (event) => {
        this.events.push(event);
        options.onEvent?.(event);
      },
    });
    this.#plugins.push(plugin);
    return plugin;
  }

  eventsOf<Kind extends PluginEvent['kind']>(kind: Kind): Extract<PluginEvent, { kind: Kind }>[] {
    return this.events.filter((event): event is Extract<PluginEvent, { kind: Kind }> => event.kind === kind);
  }

  async close(): Promise<void> {
    await Promise.all(this.#plugins.map((plugin) => plugin.stop()));
    await Promise.all(this.#kubelets.map((kubelet) => kubelet.stop()));
    rmSync(this.#root, { recursive: true, force: true });
  }
}
