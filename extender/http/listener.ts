// One HTTP listener with the limits that a slow, idle or hostile client runs into, and an orderly way to stop.
// Verbs and ops are two instances of this. It knows no routes. Only this folder imports fastify.

import { createServer as createHttpServer } from 'node:http';
import type { Server as HttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import { fastify } from 'fastify';
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifyServerFactoryHandler,
  RouteGenericInterface,
} from 'fastify';
import type { Logger } from '../logging.ts';
import { createBodyIntake, messageOf } from './json-body.ts';
import type { ServingTls } from './tls.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface ListenerLimits {
  readonly bodyLimitBytes: number;
  /** All bodies that are arriving at one time. */
  readonly bodyBudgetBytes: number;
  readonly headersTimeoutMillis: number;
  /** From the first byte of a request to the last byte of its body. */
  readonly requestTimeoutMillis: number;
  readonly connectionsCheckingIntervalMillis: number;
  /** Above the 90 s after which Go drops an idle connection, so that we never close one it is about to use. */
  readonly keepAliveTimeoutMillis: number;
  readonly handshakeTimeoutMillis: number;
  readonly maxConnections: number;
  /** How long requests in flight may take to finish once the listener closes. */
  readonly drainMillis: number;
}

export const MIB: number = 1024 * 1024;

export const DEFAULT_LIMITS: ListenerLimits = {
  bodyLimitBytes: 64 * MIB,
  bodyBudgetBytes: 256 * MIB,
  headersTimeoutMillis: 5_000,
  requestTimeoutMillis: 10_000,
  connectionsCheckingIntervalMillis: 1_000,
  keepAliveTimeoutMillis: 100_000,
  handshakeTimeoutMillis: 5_000,
  maxConnections: 256,
  drainMillis: 5_000,
};

export interface ListenerOptions {
  readonly name: string;
  /** Key under which an error text is sent: `Error` to kube-scheduler, `error` to people. */
  readonly errorKey: 'Error' | 'error';
  readonly limits?: Partial<ListenerLimits>;
  readonly tls?: ServingTls;
  readonly log: Logger;
  /** Called for every connection turned away before a request was read. */
  readonly onRefused?: (reason: 'capacity' | 'tls') => void;
}

export type WebServer = HttpServer | HttpsServer;
export type WebInstance = FastifyInstance<WebServer>;

export type Request = FastifyRequest<RouteGenericInterface, WebServer>;
export type Reply = FastifyReply<RouteGenericInterface, WebServer>;

export interface Listener {
  /** Routes are added here before `listen`; tests call `inject` on it. */
  readonly app: WebInstance;
  /** Resolves with the address in use, which matters when the port was 0. */
  listen(address: ListenAddress): Promise<ListenAddress>;
  /** Stops accepting, waits for requests in flight up to `drainMillis`, then cuts what is left. */
  close(): Promise<void>;
}

const JSON_TYPE = 'application/json; charset=utf-8';
const IDLE_SWEEP_MILLIS = 20;

export function createListener(options: ListenerOptions): Listener {
  const limits: ListenerLimits = { ...DEFAULT_LIMITS, ...options.limits };
  const app: WebInstance = fastify<WebServer>({
    serverFactory: (handler) => createServer(handler, limits, options.tls),
    logger: false,
    bodyLimit: limits.bodyLimitBytes,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 512 },
  });
  const server = app.server;
  server.maxConnections = limits.maxConnections;
  server.keepAliveTimeout = limits.keepAliveTimeoutMillis;
  const sockets = trackSockets(server);
  server.on('drop', () => options.onRefused?.('capacity'));
  server.on('tlsClientError', (error: Error) => {
    options.onRefused?.('tls');
    options.log.debug('TLS handshake failed', { error: error.message });
  });
  app.removeAllContentTypeParsers();
  const intake = createBodyIntake(limits.bodyLimitBytes, limits.bodyBudgetBytes);
  app.addContentTypeParser('application/json', intake.collect);
  app.addHook('onResponse', (request, _reply, done) => {
    intake.release(request);
    done();
  });
  answerFailures(app, options);
  return {
    app,
    listen: async (address) => {
      await app.listen({ host: address.host === 'localhost' ? '127.0.0.1' : address.host, port: address.port });
      if (server instanceof TlsServer) options.tls?.attach(server);
      const bound = server.address();
      return typeof bound === 'object' && bound !== null ? { host: bound.address, port: bound.port } : address;
    },
    close: () => close(app, sockets, limits.drainMillis),
  };
}

export function sendJson(reply: Reply, status: number, json: string | Buffer): void {
  void reply.code(status).header('content-type', JSON_TYPE).send(json);
}

function createServer(
  handler: FastifyServerFactoryHandler<WebServer>,
  limits: ListenerLimits,
  tls: ServingTls | undefined,
): WebServer {
  const settings = {
    headersTimeout: limits.headersTimeoutMillis,
    requestTimeout: limits.requestTimeoutMillis,
    connectionsCheckingInterval: limits.connectionsCheckingIntervalMillis,
    keepAliveTimeout: limits.keepAliveTimeoutMillis,
    noDelay: true,
  };
  if (tls === undefined) return createHttpServer(settings, handler);
  return createHttpsServer({ ...settings, handshakeTimeout: limits.handshakeTimeoutMillis, ...tls.options() }, handler);
}

function trackSockets(server: WebServer): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

function answerFailures(app: WebInstance, options: ListenerOptions): void {
  const { errorKey, log, name } = options;
  app.setNotFoundHandler((request, reply) => {
    const text = `no such route on the ${name} listener: ${request.method} ${request.url.slice(0, 200)}`;
    void reply
      .code(404)
      .type(JSON_TYPE)
      .send(JSON.stringify({ [errorKey]: text }));
  });
  app.setErrorHandler((error, _request, reply) => {
    const status = statusOf(error);
    if (status >= 500) log.error('A request failed unexpectedly', { error, status });
    const text = status === 415 ? 'the body must be sent as Content-Type: application/json' : messageOf(error);
    void reply
      .code(status)
      .type(JSON_TYPE)
      .send(JSON.stringify({ [errorKey]: text }));
  });
}

function statusOf(error: unknown): number {
  if (typeof error !== 'object' || error === null || !('statusCode' in error)) return 500;
  const status = error.statusCode;
  return typeof status === 'number' && status >= 400 && status < 600 ? status : 500;
}

async function close(app: WebInstance, sockets: ReadonlySet<Socket>, drainMillis: number): Promise<void> {
  // A connection that was busy when the server closed turns idle later, and nobody else would close it.
  const sweep = setInterval(() => app.server.closeIdleConnections(), IDLE_SWEEP_MILLIS);
  const bound = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, drainMillis);
  try {
    await app.close();
  } finally {
    clearInterval(sweep);
    clearTimeout(bound);
  }
}
