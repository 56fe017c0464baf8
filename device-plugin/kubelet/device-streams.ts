// The open ListAndWatch streams of one plugin: each gets the whole list when it opens and once per change.
// Holds one encoded list, never a queue: a stream that still takes one list gets the newest one next.
// Changes within one turn of the event loop are one message.

import type { ServerWritableStream } from '@grpc/grpc-js';
import type { Empty, ListAndWatchResponse } from '../proto/types.ts';
import type { Encode } from '../proto/services.ts';
import { checkDeviceList, deviceMessages, isSameDeviceList } from './device-list.ts';
import type { PluginDevice } from './device-list.ts';
import type { ReportEvent } from './events.ts';

/** The stream carries lists that are encoded already, so that a list is encoded once however many streams there are. */
export type ListStream = ServerWritableStream<Empty, Buffer>;

interface StreamState {
  isBlocked: boolean;
  sent: Buffer | undefined;
}

export class DeviceStreams {
  readonly #resourceName: string;
  readonly #encode: Encode<ListAndWatchResponse>;
  readonly #report: ReportEvent;
  readonly #onClosed: () => void;
  readonly #streams = new Map<ListStream, StreamState>();
  #devices: readonly PluginDevice[] = [];
  #encoded: Buffer | undefined;
  #isSendScheduled = false;

  constructor(resourceName: string, encode: Encode<ListAndWatchResponse>, report: ReportEvent, onClosed: () => void) {
    this.#resourceName = resourceName;
    this.#encode = encode;
    this.#report = report;
    this.#onClosed = onClosed;
  }

  get size(): number {
    return this.#streams.size;
  }

  get deviceCount(): number {
    return this.#devices.length;
  }

  /** Throws a RangeError, and keeps the old list, when the kubelet would not take this one. */
  set(devices: readonly PluginDevice[]): void {
    if (isSameDeviceList(devices, this.#devices)) return;
    checkDeviceList(this.#resourceName, devices);
    this.#devices = devices.map((device) => ({ ...device }));
    this.#encoded = undefined;
    if (this.#isSendScheduled) return;
    this.#isSendScheduled = true;
    setImmediate(() => {
      this.#isSendScheduled = false;
      for (const [stream, state] of this.#streams) this.#send(stream, state);
    });
  }

  add(stream: ListStream): void {
    const state: StreamState = { isBlocked: false, sent: undefined };
    this.#streams.set(stream, state);
    const forget = (): void => {
      if (!this.#streams.delete(stream)) return;
      this.#report({ kind: 'stream-closed', streams: this.#streams.size });
      this.#onClosed();
    };
    stream.on('cancelled', forget);
    stream.on('close', forget);
    stream.on('finish', forget);
    stream.on('error', forget);
    this.#report({ kind: 'stream-opened', streams: this.#streams.size });
    this.#send(stream, state);
  }

  /** Ends every stream in order, so that the kubelet sees a plugin that leaves rather than one that breaks. */
  end(): void {
    for (const stream of this.#streams.keys()) stream.end();
  }

  #send(stream: ListStream, state: StreamState): void {
    this.#encoded ??= this.#encode({ devices: deviceMessages(this.#devices) });
    if (state.isBlocked || state.sent === this.#encoded) return;
    state.sent = this.#encoded;
    // The return value of write() would allow 16 lists to queue up; the callback comes when this one has left.
    state.isBlocked = true;
    stream.write(this.#encoded, () => {
      state.isBlocked = false;
      if (this.#streams.has(stream)) this.#send(stream, state);
    });
    this.#report({ kind: 'list-sent', devices: this.#devices.length, bytes: this.#encoded.length });
  }
}
