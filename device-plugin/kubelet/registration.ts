// Keeps one resource registered with whatever kubelet is there: serves, registers, and does so again when the kubelet
// was restarted, our socket is gone or the kubelet holds no stream. One loop; a step runs at a time and each step
// compares what is with what should be, so that missed or repeated signals do no harm. Never gives up, never throws.

import { join } from 'node:path';
import { backoffMillis } from './clock.ts';
import type { KubeletClock } from './clock.ts';
import { messageOf } from './events.ts';
import type { ReportEvent } from './events.ts';
import type { PluginServer } from './plugin-server.ts';
import { fileIdentity } from './sockets.ts';

const RETRY_MILLIS = { base: 50, cap: 1_000 } as const;
/** A registered plugin without a stream does not exist for the kubelet; two instances must not fight over it, though. */
const STREAM_GRACE_MILLIS = { base: 5_000, cap: 60_000 } as const;

export interface RegistrationOptions {
  readonly directory: string;
  readonly clock: KubeletClock;
  readonly report: ReportEvent;
  openServer(): Promise<PluginServer>;
  /** Rejects unless the kubelet at `kubeletSocket` has accepted the endpoint. */
  register(kubeletSocket: string, endpoint: string, signal: AbortSignal): Promise<void>;
  openStreams(): number;
}

export interface RegistrationStatus {
  readonly registered: boolean;
  readonly socketPath: string | undefined;
  /** On the monotonic clock; undefined before the first time. */
  readonly lastRegisteredMillis: number | undefined;
  readonly registrations: number;
  readonly lastError: string | undefined;
}

export class Registration {
  readonly #options: RegistrationOptions;
  readonly #kubeletSocket: string;
  readonly #stop = new AbortController();
  #done: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;
  #isPoked = false;
  #server: PluginServer | undefined;
  /** Serves the kubelet until the next registration has replaced it. */
  #replaced: PluginServer | undefined;
  /** Identity of the kubelet's socket: when last seen, and when registered. */
  #seen: string | undefined;
  #registeredWith: string | undefined;
  #attempt = 0;
  #notBeforeMillis = 0;
  #withoutStreamSince: number | undefined;
  #lostStreams = 0;
  #lastRegisteredMillis: number | undefined;
  #registrations = 0;
  #lastError: string | undefined;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#kubeletSocket = join(options.directory, 'kubelet.sock');
  }

  start(): void {
    this.#done = this.#run();
  }

  /** Something may have changed: look now. */
  poke(): void {
    this.#isPoked = true;
    this.#wake();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.poke();
    await this.#done;
    await Promise.all([this.#server?.close(), this.#replaced?.close()]);
    this.#registeredWith = undefined;
  }

  status(): RegistrationStatus {
    return {
      registered: this.#registeredWith !== undefined,
      socketPath: this.#server?.socketPath,
      lastRegisteredMillis: this.#lastRegisteredMillis,
      registrations: this.#registrations,
      lastError: this.#lastError,
    };
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#isPoked = false;
      let pauseMillis: number | undefined;
      try {
        pauseMillis = await this.#step();
      } catch (error) {
        pauseMillis = this.#failed(error);
      }
      await this.#pause(pauseMillis);
    }
  }

  /** Waits for a poke, for at most `millis` if given. */
  #pause(millis: number | undefined): Promise<void> {
    if (this.#isPoked) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = millis === undefined ? undefined : this.#options.clock.after(millis, resolve);
      this.#wake = () => {
        cancel?.();
        resolve();
      };
    });
  }

  /** Returns how long nothing needs to be done, if that is known. */
  async #step(): Promise<number | undefined> {
    const kubelet = fileIdentity(this.#kubeletSocket);
    if (kubelet !== this.#seen) this.#onOtherKubelet(kubelet);
    if (kubelet === undefined) return undefined;
    const isServing = this.#server !== undefined && fileIdentity(this.#server.socketPath) === this.#server.identity;
    if (!isServing || this.#isStreamMissing()) this.#registeredWith = undefined;
    if (this.#registeredWith === kubelet) return undefined;
    const waitMillis = this.#notBeforeMillis - this.#options.clock.monotonicMillis();
    if (waitMillis > 0) return waitMillis;
    const server = this.#server !== undefined && isServing ? this.#server : await this.#replaceServer();
    // Opening a server takes a moment, in which another kubelet may have come: it must not be booked as this one.
    if (fileIdentity(this.#kubeletSocket) !== kubelet) return 0;
    await this.#register(kubelet, server);
    return undefined;
  }

  #onOtherKubelet(kubelet: string | undefined): void {
    this.#seen = kubelet;
    this.#registeredWith = undefined;
    this.#attempt = 0;
    this.#notBeforeMillis = 0;
    this.#lostStreams = 0;
    if (kubelet === undefined) this.#options.report({ kind: 'kubelet-absent', socketPath: this.#kubeletSocket });
  }

  /** Whether a registration has gone without a stream for longer than a kubelet takes to open one. */
  #isStreamMissing(): boolean {
    const now = this.#options.clock.monotonicMillis();
    const hasStream = this.#options.openStreams() > 0;
    if (hasStream && now - (this.#lastRegisteredMillis ?? now) > STREAM_GRACE_MILLIS.cap) this.#lostStreams = 0;
    if (hasStream || this.#registeredWith === undefined) {
      this.#withoutStreamSince = undefined;
      return false;
    }
    this.#withoutStreamSince ??= now;
    const { base, cap } = STREAM_GRACE_MILLIS;
    if (now - this.#withoutStreamSince < Math.min(cap, base * 2 ** this.#lostStreams)) return false;
    this.#lostStreams += 1;
    this.#withoutStreamSince = undefined;
    return true;
  }

  async #replaceServer(): Promise<PluginServer> {
    const opened = await this.#options.openServer();
    await this.#replaced?.close();
    this.#replaced = this.#server;
    this.#server = opened;
    return opened;
  }

  async #register(kubelet: string, server: PluginServer): Promise<void> {
    const { clock, report } = this.#options;
    const start = clock.monotonicMillis();
    await this.#options.register(this.#kubeletSocket, server.endpoint, this.#stop.signal);
    this.#registeredWith = kubelet;
    this.#attempt = 0;
    this.#lastError = undefined;
    this.#registrations += 1;
    this.#lastRegisteredMillis = clock.monotonicMillis();
    report({ kind: 'registered', socketPath: server.socketPath, tookMillis: this.#lastRegisteredMillis - start });
    const replaced = this.#replaced;
    this.#replaced = undefined;
    await replaced?.close();
  }

  #failed(error: unknown): number {
    const retryInMillis = backoffMillis(RETRY_MILLIS.base, RETRY_MILLIS.cap, this.#attempt, this.#options.clock);
    this.#attempt += 1;
    this.#notBeforeMillis = this.#options.clock.monotonicMillis() + retryInMillis;
    this.#lastError = messageOf(error);
    if (!this.#stop.signal.aborted) {
      this.#options.report({ kind: 'registration-failed', message: this.#lastError, retryInMillis });
    }
    return retryInMillis;
  }
}
