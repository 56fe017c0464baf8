// What the plugin tells its owner, for logs and metrics. Types and texts only.

export type DeviceCall = 'Allocate' | 'PreStartContainer' | 'GetPreferredAllocation' | 'ListAndWatch';

export type PluginEvent =
  | { readonly kind: 'serving'; readonly socketPath: string }
  | { readonly kind: 'stale-socket-removed'; readonly socketPath: string }
  | { readonly kind: 'registered'; readonly socketPath: string; readonly tookMillis: number }
  | { readonly kind: 'registration-failed'; readonly message: string; readonly retryInMillis: number }
  | { readonly kind: 'kubelet-absent'; readonly socketPath: string }
  | { readonly kind: 'stream-opened' | 'stream-closed'; readonly streams: number }
  | { readonly kind: 'list-sent'; readonly devices: number; readonly bytes: number }
  | { readonly kind: 'call-failed'; readonly call: DeviceCall; readonly message: string; readonly tookMillis: number }
  | { readonly kind: 'call-served'; readonly call: DeviceCall; readonly ids: number; readonly tookMillis: number }
  | { readonly kind: 'connection-refused'; readonly message: string };

export type ReportEvent = (event: PluginEvent) => void;

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
