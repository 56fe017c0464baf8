// The device plugin of one extended resource: everything between the owner of the devices and the kubelet.
// Nothing is served or registered before the first setDevices, because an empty list would tell the kubelet that the
// node has none. Several plugins run side by side, one per resource. Calls are synchronous; the work goes on behind them.

import { DEVICE_PLUGIN_VERSION, loadDevicePluginApi } from '../proto/services.ts';
import type { DevicePluginApi } from '../proto/services.ts';
import type { DevicePluginOptions } from '../proto/types.ts';
import { systemClock } from './clock.ts';
import type { KubeletClock } from './clock.ts';
import type { PluginDevice } from './device-list.ts';
import { DeviceStreams } from './device-streams.ts';
import { messageOf } from './events.ts';
import type { ReportEvent } from './events.ts';
import type { PluginHandlers } from './handlers.ts';
import { unaryCall, unixClient } from './kubelet-client.ts';
import { watchKubeletDirectory } from './kubelet-watch.ts';
import type { KubeletWatch } from './kubelet-watch.ts';
import { openPluginServer } from './plugin-server.ts';
import { pluginService } from './plugin-service.ts';
import { Registration } from './registration.ts';
import type { RegistrationStatus } from './registration.ts';
import { checkSocketPrefix } from './sockets.ts';

/** Newer kubelets dial us before they answer, and allow themselves 10 s for it. */
const REGISTER_TIMEOUT_MILLIS = 10_000;
const POLL_MILLIS = 1_000;

export interface DevicePluginSettings {
  readonly resourceName: string;
  /** Where kubelet.sock is, `/var/lib/kubelet/device-plugins` on every usual node. */
  readonly kubeletDir: string;
  /** Start of the socket's name, different for each resource; short, because socket paths end at 107 bytes. */
  readonly socketPrefix: string;
  readonly preStartRequired: boolean;
  readonly preferredAvailable: boolean;
  readonly handlers: PluginHandlers;
  /** Must not throw. */
  readonly report: ReportEvent;
  readonly clock?: KubeletClock;
}

export interface DevicePluginStatus extends RegistrationStatus {
  readonly streams: number;
  readonly devices: number;
}

export interface DevicePlugin {
  /** Announces the whole list; throws a RangeError, and keeps the old list, when the kubelet would not take it. */
  setDevices(devices: readonly PluginDevice[]): void;
  status(): DevicePluginStatus;
  /** Ends streams, removes the socket. Takes at most a few seconds; never rejects. */
  stop(): Promise<void>;
}

export function startDevicePlugin(settings: DevicePluginSettings): DevicePlugin {
  checkSocketPrefix(settings.kubeletDir, settings.socketPrefix);
  return new KubeletDevicePlugin(settings, loadDevicePluginApi());
}

class KubeletDevicePlugin implements DevicePlugin {
  readonly #settings: DevicePluginSettings;
  readonly #clock: KubeletClock;
  readonly #streams: DeviceStreams;
  readonly #registration: Registration;
  #watch: KubeletWatch | undefined;
  #stopped: Promise<void> | undefined;

  constructor(settings: DevicePluginSettings, api: DevicePluginApi) {
    this.#settings = settings;
    this.#clock = settings.clock ?? systemClock;
    const encode = api.devicePlugin.ListAndWatch.responseSerialize;
    this.#streams = new DeviceStreams(settings.resourceName, encode, settings.report, () => {
      this.#registration.poke();
    });
    this.#registration = this.#registrationWith(api);
  }

  setDevices(devices: readonly PluginDevice[]): void {
    if (this.#stopped !== undefined) return;
    this.#streams.set(devices);
    if (this.#watch !== undefined) return;
    this.#registration.start();
    this.#watch = watchKubeletDirectory({
      directory: this.#settings.kubeletDir,
      clock: this.#clock,
      pollMillis: POLL_MILLIS,
      onChange: () => {
        this.#registration.poke();
      },
    });
  }

  status(): DevicePluginStatus {
    return { ...this.#registration.status(), streams: this.#streams.size, devices: this.#streams.deviceCount };
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#leave();
    return this.#stopped;
  }

  async #leave(): Promise<void> {
    this.#watch?.stop();
    this.#streams.end();
    await this.#registration.stop();
  }

  #registrationWith(api: DevicePluginApi): Registration {
    const { kubeletDir, socketPrefix, resourceName, handlers, report } = this.#settings;
    const clock = this.#clock;
    const deviceOptions: DevicePluginOptions = {
      pre_start_required: this.#settings.preStartRequired,
      get_preferred_allocation_available: this.#settings.preferredAvailable,
    };
    const streams = this.#streams;
    const service = pluginService(api, { resourceName, deviceOptions, handlers, streams, clock, report });
    const methods = api.devicePlugin;
    return new Registration({
      directory: kubeletDir,
      clock,
      report,
      openServer: () => openPluginServer({ directory: kubeletDir, socketPrefix, service, methods, clock, report }),
      register: (kubeletSocket, endpoint, signal) =>
        register(api, kubeletSocket, signal, { endpoint, resourceName, deviceOptions }),
      openStreams: () => streams.size,
    });
  }
}

async function register(
  api: DevicePluginApi,
  kubeletSocket: string,
  signal: AbortSignal,
  plugin: { readonly endpoint: string; readonly resourceName: string; readonly deviceOptions: DevicePluginOptions },
): Promise<void> {
  const client = unixClient(kubeletSocket);
  const request = {
    version: DEVICE_PLUGIN_VERSION,
    endpoint: plugin.endpoint,
    resource_name: plugin.resourceName,
    options: plugin.deviceOptions,
  };
  try {
    await unaryCall(client, api.registration.Register, request, { timeoutMillis: REGISTER_TIMEOUT_MILLIS, signal });
  } catch (error) {
    throw new Error(
      `The kubelet at ${kubeletSocket} did not register ${plugin.resourceName}: ${messageOf(error)}. It is tried again`,
      { cause: error },
    );
  } finally {
    client.close();
  }
}
