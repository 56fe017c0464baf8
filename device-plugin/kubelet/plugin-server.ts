// One gRPC server on one unix socket of the kubelet's directory, from the first bind to the last connection.
// Every server gets a socket name of its own: a kubelet keys endpoints by it, and closing a listener unlinks its path.
// A server is opened once, closed once and never reused, also after a failed start.

import { randomBytes } from 'node:crypto';
import { chmod } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { Server as Listener, Socket } from 'node:net';
import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { DevicePluginService } from '../proto/services.ts';
import type { KubeletClock } from './clock.ts';
import { KubeletConnection } from './connection.ts';
import type { ReportEvent } from './events.ts';
import { messageOf } from './events.ts';
import { unaryCall, unixClient } from './kubelet-client.ts';
import type { PluginService } from './plugin-service.ts';
import { checkSocketPrefix, fileIdentity, removeStaleSockets } from './sockets.ts';

const SELF_DIAL_TIMEOUT_MILLIS = 2_000;
const CLOSE_LIMIT_MILLIS = 1_000;
const MAX_CONNECTIONS = 32;
const MAX_REQUEST_BYTES = 4 * 2 ** 20;

export interface PluginServerOptions {
  readonly directory: string;
  readonly socketPrefix: string;
  readonly service: PluginService;
  readonly methods: DevicePluginService;
  readonly clock: KubeletClock;
  readonly report: ReportEvent;
}

export interface PluginServer {
  readonly socketPath: string;
  /** File name of the socket, as the kubelet wants it. */
  readonly endpoint: string;
  /** Of the socket file when it was made; see fileIdentity. */
  readonly identity: string;
  /** Takes no new calls, lets running ones finish for at most a second, removes the socket. Never rejects. */
  close(): Promise<void>;
}

/** Serves, and has proved it by a call to itself. */
export async function openPluginServer(options: PluginServerOptions): Promise<PluginServer> {
  const { directory, socketPrefix, report } = options;
  checkSocketPrefix(directory, socketPrefix);
  for (const socketPath of await removeStaleSockets(directory, socketPrefix)) {
    report({ kind: 'stale-socket-removed', socketPath });
  }
  const endpoint = `${socketPrefix}-${randomBytes(4).toString('hex')}.sock`;
  const socketPath = join(directory, endpoint);
  const serving = serve(options);
  try {
    await listen(serving.listener, socketPath);
    await chmod(socketPath, 0o600);
    await dialSelf(options.methods, socketPath);
    const identity = fileIdentity(socketPath);
    if (identity === undefined) throw new Error('the socket was removed while the server started');
    report({ kind: 'serving', socketPath });
    return { socketPath, endpoint, identity, close: () => serving.close() };
  } catch (error) {
    await serving.close();
    throw new Error(`Cannot serve on ${socketPath}: ${messageOf(error)}`, { cause: error });
  }
}

interface Serving {
  readonly listener: Listener;
  close(): Promise<void>;
}

function serve({ service, clock, report }: PluginServerOptions): Serving {
  const server = new Server({ 'grpc.enable_channelz': 0, 'grpc.max_receive_message_length': MAX_REQUEST_BYTES });
  server.addService(service.definition, service.implementation);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<Socket>();
  const listener = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    injector.injectConnection(
      new KubeletConnection(socket, (message) => {
        report({ kind: 'connection-refused', message });
      }),
    );
  });
  listener.maxConnections = MAX_CONNECTIONS;
  const close = async (): Promise<void> => {
    await drained(listener, server, clock);
    server.forceShutdown();
    for (const socket of sockets) socket.destroy();
  };
  return { listener, close };
}

/** Until the last connection is gone, for a second at most. tryShutdown alone does not wait for calls on Node 24. */
function drained(listener: Listener, server: Server, clock: KubeletClock): Promise<void> {
  return new Promise((resolve) => {
    const cancelTimer = clock.after(CLOSE_LIMIT_MILLIS, resolve);
    listener.close(() => {
      cancelTimer();
      resolve();
    });
    server.tryShutdown(() => undefined);
  });
}

function listen(listener: Listener, socketPath: string): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(socketPath, () => {
      listener.off('error', reject);
      // Failures of accept() are the peer's; the poll of the socket notices when the listener is gone.
      listener.on('error', () => undefined);
      resolve();
    });
  });
}

async function dialSelf(methods: DevicePluginService, socketPath: string): Promise<void> {
  const client = unixClient(socketPath);
  try {
    await unaryCall(client, methods.GetDevicePluginOptions, {}, { timeoutMillis: SELF_DIAL_TIMEOUT_MILLIS });
  } finally {
    client.close();
  }
}
