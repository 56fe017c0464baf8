// One address before several replicas, as the shipped Service is: new connections go to the address in its Endpoints, which
// the leader writes; open ones stay where they are until they end. Without an address a connection is refused.

import { createServer, connect } from 'node:net';
import type { Server, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import { ApiError, type ApiClient } from './api.ts';
import type { ExtenderProcess } from './extender-process.ts';

const ENDPOINTS = '/api/v1/namespaces/gpuloom-system/endpoints/gpuloom-extender';
/** As fast as kube-proxy may hear of a change. */
const LOOK_EVERY_MILLIS = 200;

/** What the API server keeps of an Endpoints object, as far as a proxy reads it. */
interface Endpoints {
  readonly subsets?: readonly { readonly addresses?: readonly { readonly ip: string }[] }[];
}

export class ServiceAddress {
  readonly origin: string;
  readonly #api: ApiClient;
  readonly #replicas: ReadonlyMap<string, ExtenderProcess>;
  readonly #server: Server;
  readonly #ending = new AbortController();
  #target: ExtenderProcess | undefined;
  #looking: Promise<void> = Promise.resolve();

  private constructor(api: ApiClient, replicas: ReadonlyMap<string, ExtenderProcess>, server: Server, port: number) {
    this.#api = api;
    this.#replicas = replicas;
    this.#server = server;
    this.origin = `http://127.0.0.1:${port}`;
    server.on('connection', (socket) => this.#forward(socket));
  }

  /** Replicas by the pod address that each of them publishes. */
  static async start(api: ApiClient, replicas: ReadonlyMap<string, ExtenderProcess>): Promise<ServiceAddress> {
    const server = createServer();
    const port = await new Promise<number>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        if (address === null || typeof address === 'string') reject(new Error('no TCP address'));
        else resolve(address.port);
      });
    });
    const service = new ServiceAddress(api, replicas, server, port);
    service.#looking = service.#look();
    return service;
  }

  /** The replica that new connections go to. */
  get target(): ExtenderProcess | undefined {
    return this.#target;
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    this.#server.close();
    await this.#looking;
  }

  async #look(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      const [ip = ''] = await this.#addresses();
      this.#target = this.#replicas.get(ip);
      await delay(LOOK_EVERY_MILLIS);
    }
  }

  async #addresses(): Promise<readonly string[]> {
    try {
      const { subsets = [] } = (await this.#api.get(ENDPOINTS)) as Endpoints;
      return subsets.flatMap(({ addresses = [] }) => addresses.map(({ ip }) => ip));
    } catch (cause) {
      // Nobody has led yet.
      if (cause instanceof ApiError && cause.status === 404) return [];
      throw cause;
    }
  }

  #forward(from: Socket): void {
    const target = this.#target;
    if (target === undefined) {
      from.destroy();
      return;
    }
    const to = connect(target.verbsPort, '127.0.0.1');
    // Either end closing or failing ends both: what a dead replica looks like through a Service.
    for (const [socket, other] of [
      [from, to],
      [to, from],
    ] as const) {
      socket.on('error', () => other.destroy());
      socket.on('close', () => other.destroy());
    }
    from.pipe(to);
    to.pipe(from);
  }
}
