// Passes every call of kube-scheduler on to the extender unchanged, and keeps the bodies: how real request bodies become
// fixtures. One request, one record, in order of arrival.

import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import { text } from 'node:stream/consumers';

import { freePorts } from './process.ts';

export interface RecordedCall {
  readonly path: string;
  readonly contentType: string;
  readonly body: unknown;
  readonly status: number;
  readonly answer: unknown;
}

export class RecordingProxy {
  readonly origin: string;
  readonly calls: RecordedCall[] = [];
  readonly #server: Server;

  private constructor(server: Server, origin: string) {
    this.#server = server;
    this.origin = origin;
  }

  static async start(target: string): Promise<RecordingProxy> {
    const [port = 0] = await freePorts(1);
    const server = createServer();
    const proxy = new RecordingProxy(server, `http://127.0.0.1:${port}`);
    server.on('request', (incoming, outgoing) => {
      proxy.#pass(incoming, target).then(
        ({ status, answer }) =>
          outgoing.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer)),
        (cause: unknown) => outgoing.writeHead(502).end(String(cause)),
      );
    });
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return proxy;
  }

  /** The first call on this path for this pod. */
  callFor(path: string, pod: string): RecordedCall | undefined {
    return this.calls.find((call) => call.path === path && podOf(call.body) === pod);
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #pass(incoming: IncomingMessage, target: string): Promise<RecordedCall> {
    const path = incoming.url ?? '';
    const contentType = incoming.headers['content-type'] ?? '';
    const sent = await text(incoming);
    const response = await fetch(target + path, {
      method: 'POST',
      headers: { 'content-type': contentType },
      body: sent,
    });
    const body: unknown = JSON.parse(sent);
    const call = { path, contentType, body, status: response.status, answer: await response.json() };
    this.calls.push(call);
    return call;
  }
}

function podOf(body: unknown): string {
  const args = body as { readonly PodName?: string; readonly Pod?: { readonly metadata?: { readonly name?: string } } };
  return args.PodName ?? args.Pod?.metadata?.name ?? '';
}
