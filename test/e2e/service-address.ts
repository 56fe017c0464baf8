// One address before several replicas, as a Service is: new connections go to a replica whose readiness probe succeeds,
// open ones stay where they are until they end. Without a ready replica a connection is refused.

import { createServer, connect } from 'node:net';
import type { Server, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import type { ExtenderProcess } from './extender-process.ts';

const PROBE_EVERY_MILLIS = 200;

export class ServiceAddress {
  readonly origin: string;
  readonly #replicas: readonly ExtenderProcess[];
  readonly #server: Server;
  readonly #ending = new AbortController();
  #ready: ExtenderProcess | undefined;
  #probing: Promise<void> = Promise.resolve();

  private constructor(replicas: readonly ExtenderProcess[], server: Server, port: number) {
    this.#replicas = replicas;
    this.#server = server;
    this.origin = `http://127.0.0.1:${port}`;
    server.on('connection', (socket) => this.#forward(socket));
  }

  static async start(replicas: readonly ExtenderProcess[]): Promise<ServiceAddress> {
    const server = createServer();
    const port = await new Promise<number>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        if (address === null || typeof address === 'string') reject(new Error('no TCP address'));
        else resolve(address.port);
      });
    });
    const service = new ServiceAddress(replicas, server, port);
    service.#probing = service.#probe();
    return service;
  }

  /** The replica that new connections go to. */
  get ready(): ExtenderProcess | undefined {
    return this.#ready;
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    this.#server.close();
    await this.#probing;
  }

  async #probe(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      const probes = await Promise.all(
        this.#replicas.map(async (replica) => ((await replica.isReady()) ? [replica] : [])),
      );
      [this.#ready] = probes.flat();
      await delay(PROBE_EVERY_MILLIS);
    }
  }

  #forward(from: Socket): void {
    const target = this.#ready;
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
