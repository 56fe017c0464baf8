// The device plugin's kubelet side under a kubelet, with decisions simple enough to be told by a test: it prefers
// ids in order, answers every allocation with a CDI device named after its ids, and writes that device's spec when a
// container is about to start. Records the kubelet's calls in their order. Runs in the test's process.

import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { PluginDevice } from '../../../device-plugin/kubelet/device-list.ts';
import { startDevicePlugin } from '../../../device-plugin/kubelet/device-plugin.ts';
import type { DevicePlugin } from '../../../device-plugin/kubelet/device-plugin.ts';
import type { PluginEvent } from '../../../device-plugin/kubelet/events.ts';
import type { RealNode } from './node.ts';
import { deviceIds } from './pod-resources.ts';

export type RecordedCall =
  | { readonly kind: 'prefer'; readonly available: number; readonly mustInclude: number; readonly size: number }
  | { readonly kind: 'allocate'; readonly ids: readonly string[] }
  | { readonly kind: 'start'; readonly ids: readonly string[]; readonly holders: readonly string[] };

/** What the plugin does with a container that is about to start. */
export type StartDecision = 'write the device' | 'leave the device out' | { readonly refuse: string };

export interface PluginBehaviour {
  /** A sentence refuses the allocation with it. */
  refuseAllocation: (ids: readonly string[]) => string | undefined;
  onStart: (ids: readonly string[]) => StartDecision;
}

const KIND = 'gpuloom.io/slice';

export class RecordedPlugin {
  readonly calls: RecordedCall[] = [];
  readonly events: PluginEvent[] = [];
  /** Changed by tests between calls. */
  readonly behaviour: PluginBehaviour = { refuseAllocation: () => undefined, onStart: () => 'write the device' };
  readonly #node: RealNode;
  readonly #resource: string;
  readonly #plugin: DevicePlugin;

  constructor(node: RealNode, resource: string) {
    this.#node = node;
    this.#resource = resource;
    this.#plugin = startDevicePlugin({
      resourceName: resource,
      kubeletDir: node.devicePluginDir,
      socketPrefix: 'recorded',
      preStartRequired: true,
      preferredAvailable: true,
      report: (event) => this.events.push(event),
      handlers: {
        prefer: ({ available, mustInclude, size }) => {
          this.calls.push({ kind: 'prefer', available: available.length, mustInclude: mustInclude.length, size });
          return available.toSorted().slice(0, size);
        },
        allocate: (ids) => this.#allocate(ids),
        preStart: (ids) => this.#start(ids),
      },
    });
  }

  announce(devices: readonly PluginDevice[]): void {
    this.#plugin.setDevices(devices);
  }

  get registrations(): number {
    return this.#plugin.status().registrations;
  }

  /** The calls about so many ids at once; tests tell their containers by it. */
  callsAbout(size: number): readonly RecordedCall[] {
    return this.calls.filter((call) => (call.kind === 'prefer' ? call.size : call.ids.length) === size);
  }

  /** `<namespace>/<pod>/<container>` of those that hold exactly these ids, as the kubelet lists them now. */
  async holders(ids: readonly string[]): Promise<readonly string[]> {
    const wanted = ids.toSorted().join();
    const held = await deviceIds(this.#node, this.#resource);
    return [...held].filter(([, theirs]) => theirs.join() === wanted).map(([holder]) => holder);
  }

  stop(): Promise<void> {
    return this.#plugin.stop();
  }

  #allocate(ids: readonly string[]): Promise<{ readonly annotations: Readonly<Record<string, string>> }> {
    this.calls.push({ kind: 'allocate', ids: ids.toSorted() });
    const refusal = this.behaviour.refuseAllocation(ids);
    if (refusal !== undefined) return Promise.reject(new Error(refusal));
    const device = deviceName(ids);
    return Promise.resolve({ annotations: { [`cdi.k8s.io/${device}`]: `${KIND}=${device}` } });
  }

  async #start(ids: readonly string[]): Promise<void> {
    const holders = await this.holders(ids);
    this.calls.push({ kind: 'start', ids: ids.toSorted(), holders });
    const decision = this.behaviour.onStart(ids);
    if (decision === 'leave the device out') return;
    if (decision !== 'write the device') throw new Error(decision.refuse);
    const name = deviceName(ids);
    const env = [`SLICES=${ids.toSorted().join()}`, `HOLDERS=${holders.join()}`];
    const spec = { cdiVersion: '0.5.0', kind: KIND, devices: [{ name, containerEdits: { env } }] };
    await writeFile(join(this.#node.cdiDir, `${name}.json`), JSON.stringify(spec));
  }
}

export function slices(count: number, gpu = 'GPU-0'): readonly PluginDevice[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `${gpu}::${String(index).padStart(5, '0')}`,
    healthy: true,
  }));
}

function deviceName(ids: readonly string[]): string {
  return createHash('sha256').update(ids.toSorted().join()).digest('hex').slice(0, 32);
}
