// The embedded cluster's API server: plain HTTP on loopback with the Kubernetes wire format.
// Owns the listener, its connections and the injected faults; semantics are in operations.ts and below.
// Requests run concurrently, but each is carried out in one synchronous step between reading and replying.

import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

import { ApiError, failureStatus } from './api-error.ts';
import type { EmbeddedClusterOptions } from './cluster.ts';
import { EmbeddedCluster } from './cluster.ts';
import type { Disturbance, FaultAction } from './faults.ts';
import { Faults, RequestCounter } from './faults.ts';
import { openLines, readBody, refuseForeignPages, sendList, sendText } from './http-exchange.ts';
import type { Reply, RequestBody } from './operations.ts';
import { Operations, statusReply } from './operations.ts';
import type { Route } from './routes.ts';
import { parseRoute } from './routes.ts';
import { WatchHub } from './watch-hub.ts';
import type { WatchRequest } from './watch-stream.ts';
import { WatchStream } from './watch-stream.ts';

export interface EmbeddedApiServerOptions extends EmbeddedClusterOptions {
  /** The cluster to serve; without it the server makes its own from the other options. */
  readonly cluster?: EmbeddedCluster;
  readonly host?: '127.0.0.1' | '::1';
  /** 0 (default) takes any free port. */
  readonly port?: number;
  readonly bookmarkMillis?: number;
  readonly maxBodyBytes?: number;
  /** How a watch from a forgotten version is refused: as an ERROR event (default) or as HTTP 410. */
  readonly expiredWatch?: 'error-event' | 'http-status';
  /** Told about errors that are bugs of the server itself; the client gets a 500. */
  readonly onError?: (error: unknown) => void;
}

const DEFAULT_BOOKMARK_MILLIS = 10_000;
const DEFAULT_MAX_BODY_BYTES = 3 * 1024 * 1024;
// Longer than any client keeps an idle connection, so that no request meets a closing one.
const KEEP_ALIVE_MILLIS = 120_000;

export class EmbeddedApiServer {
  readonly cluster: EmbeddedCluster;
  readonly faults: Faults;
  readonly requests: RequestCounter = new RequestCounter();
  readonly #options: EmbeddedApiServerOptions;
  readonly #operations: Operations;
  readonly #watches: WatchHub;
  readonly #server: Server;
  #connections = 0;

  constructor(options: EmbeddedApiServerOptions = {}) {
    this.#options = options;
    this.cluster = options.cluster ?? new EmbeddedCluster(options);
    this.#operations = new Operations(this.cluster, {
      bookmarkMillis: options.bookmarkMillis ?? DEFAULT_BOOKMARK_MILLIS,
      expiredWatch: options.expiredWatch ?? 'error-event',
    });
    this.#watches = new WatchHub(this.cluster.store);
    this.faults = new Faults(this.#disturbance());
    this.#server = createServer({ keepAliveTimeout: KEEP_ALIVE_MILLIS }, (request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        this.#options.onError?.(error);
        response.destroy();
      });
    });
    this.#server.on('connection', () => {
      this.#connections++;
    });
  }

  /** `http://127.0.0.1:PORT`; throws before listen(). */
  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') {
      throw new Error('the embedded API server has no URL yet: call listen() first');
    }
    return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
  }

  /** Connections accepted since the start. */
  get connections(): number {
    return this.#connections;
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  /** Resolves to the URL once connections are accepted. */
  listen(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.port ?? 0, this.#options.host ?? '127.0.0.1', () => {
        this.#server.off('error', reject);
        resolve(this.url);
      });
    });
  }

  /** Cuts every connection and frees the port. Safe to call twice. */
  close(): Promise<void> {
    this.#watches.close();
    this.cluster.close();
    return new Promise((resolve) => {
      // The callback's error only says that the server was not running.
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
  }

  /** A kubeconfig (JSON, hence also YAML). Clients accept plain HTTP only with TLS verification switched off. */
  kubeconfig(): string {
    const name = 'gpuloom-embedded';
    return JSON.stringify({
      kind: 'Config',
      apiVersion: 'v1',
      clusters: [{ name, cluster: { server: this.url, 'insecure-skip-tls-verify': true } }],
      users: [{ name, user: {} }],
      contexts: [{ name, context: { cluster: name, user: name, namespace: 'default' } }],
      'current-context': name,
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let fault: FaultAction | undefined;
    let reply: Reply | undefined;
    try {
      refuseForeignPages(request);
      const route = parseRoute(request.method ?? 'GET', request.url ?? '/');
      this.requests.add(route);
      fault = this.faults.take(route);
      const body = await readBody(request, this.#options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES);
      reply = await this.#perform(route, body, fault, response);
    } catch (error) {
      if (request.destroyed && !request.complete) return;
      reply = this.#failure(error, response);
    }
    if (reply === undefined) return;
    if (fault?.kind === 'drop-after') {
      response.destroy();
      return;
    }
    if (fault?.kind === 'delay-after') await fault.until;
    await this.#send(response, reply, fault);
  }

  /** Undefined: there is nothing to send. */
  async #perform(
    route: Route,
    body: RequestBody,
    fault: FaultAction | undefined,
    response: ServerResponse,
  ): Promise<Reply | undefined> {
    switch (fault?.kind) {
      case 'answer': {
        const { status, message, reason, retryAfterSeconds } = fault;
        if (retryAfterSeconds !== undefined) response.setHeader('retry-after', String(retryAfterSeconds));
        const details = retryAfterSeconds === undefined ? {} : { details: { retryAfterSeconds } };
        const extras = reason === undefined ? details : { ...details, reason };
        return statusReply(failureStatus(status, message ?? 'injected fault', extras));
      }
      case 'drop-before':
        response.destroy();
        return undefined;
      case 'freeze':
        if (route.kind === 'plain' || route.verb !== 'watch') return undefined;
        break;
      case 'delay-before':
        await fault.until;
        break;
      case 'drop-after':
      case 'delay-after':
      case undefined:
        break;
    }
    return this.#operations.perform(route, body);
  }

  #failure(error: unknown, response: ServerResponse): Reply {
    if (error instanceof ApiError) {
      // The rest of an oversized body is not worth reading.
      if (error.status.code === 413) response.setHeader('connection', 'close');
      return statusReply(error.status);
    }
    this.#options.onError?.(error);
    return statusReply(failureStatus(500, `internal error: ${String(error)}`));
  }

  async #send(response: ServerResponse, reply: Reply, fault: FaultAction | undefined): Promise<void> {
    if (response.destroyed) return;
    switch (reply.kind) {
      case 'json':
        sendText(response, reply.status, 'application/json', reply.json);
        return;
      case 'text':
        sendText(response, 200, 'text/plain; charset=utf-8', reply.text);
        return;
      case 'list':
        await sendList(response, reply.page);
        return;
      case 'watch-error':
        openLines(response);
        response.end(`${JSON.stringify({ type: 'ERROR', object: reply.status })}\n`);
        return;
      case 'watch':
        this.#openWatch(response, reply.request, fault?.kind === 'freeze');
    }
  }

  #openWatch(response: ServerResponse, request: WatchRequest, frozen: boolean): void {
    const stream = new WatchStream(this.cluster.store, openLines(response), this.cluster.timers, request);
    if (frozen) stream.freeze();
    response.on('close', () => {
      this.#watches.remove(stream);
    });
    this.#watches.add(stream);
  }

  #disturbance(): Disturbance {
    return {
      freezeWatches: (resource) => {
        for (const stream of this.#watches.of(resource)) stream.freeze();
      },
      closeWatches: (resource, how) => {
        for (const stream of this.#watches.of(resource)) {
          if (how === 'end') stream.end();
          else stream.cut();
        }
      },
      compactHistory: () => {
        this.#watches.pumpAll();
        this.cluster.store.compact();
      },
    };
  }
}
