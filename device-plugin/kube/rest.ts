// The API server over node:https alone: the agent runs on every GPU node and must stay small. Implements the same small
// interface as the extender's adapter, so that the reflector is shared. Knows no particular objects.

import type { IncomingMessage, RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import {
  KubeUnreachable,
  type HttpMethod,
  type KubeAnswer,
  type KubeApi,
  type KubeRequest,
  type Query,
} from '../../extender/kube/kube-api.ts';
import { splitLines } from '../../extender/kube/lines.ts';
import { http } from '../node-http.ts';
import type { KubeCredentials } from './credentials.ts';

export interface NodeKubeApi extends KubeApi {
  close(): void;
}

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const CONNECTIONS = 4;

interface Call {
  readonly method: HttpMethod;
  readonly path: string;
  readonly query: Query;
  readonly body?: string;
  readonly contentType?: string;
  readonly signal: AbortSignal;
}

export function createRestClient(credentials: KubeCredentials, userAgent: string): NodeKubeApi {
  const { server, tls } = credentials;
  const isPlain = server.protocol === 'http:';
  const agent = isPlain
    ? new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS })
    : new HttpsAgent({ ...tls, keepAlive: true, maxSockets: CONNECTIONS });
  const send = isPlain ? http.request : httpsRequest;
  const open = async (call: Call): Promise<IncomingMessage> => {
    const token = await readToken(credentials);
    const headers: Record<string, string> = { accept: 'application/json', 'user-agent': userAgent };
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (call.body !== undefined) {
      headers['content-type'] = call.contentType ?? 'application/json';
      headers['content-length'] = String(Buffer.byteLength(call.body));
    }
    const options: RequestOptions = { agent, method: call.method, headers, signal: call.signal };
    return await new Promise((resolve, reject) => {
      const request = send(new URL(`${call.path}${queryString(call.query)}`, server), options, resolve);
      request.on('error', (error) => reject(unreachable(error, server)));
      request.end(call.body);
    });
  };
  return {
    async request(method, path, request) {
      const call = callOf(method, path, request);
      return await readAnswer(await open(call), server);
    },
    async stream(path, query, signal) {
      const response = await open({ method: 'GET', path, query, signal });
      if (response.statusCode === 200) return { kind: 'open', lines: splitLines(response) };
      return { kind: 'refused', answer: await readAnswer(response, server) };
    },
    close: () => agent.destroy(),
  };
}

function callOf(method: HttpMethod, path: string, request: KubeRequest): Call {
  const timeout = AbortSignal.timeout(Math.max(0, Math.floor(request.timeoutMillis)));
  return {
    method,
    path,
    query: request.query ?? {},
    signal: request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]),
    ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    ...(request.contentType === undefined ? {} : { contentType: request.contentType }),
  };
}

async function readToken(credentials: KubeCredentials): Promise<string | undefined> {
  try {
    return await credentials.token();
  } catch (error) {
    throw new KubeUnreachable(
      `the token for ${credentials.server.origin} cannot be read: ${messageOf(error)}`,
      'no',
      error,
    );
  }
}

async function readAnswer(response: IncomingMessage, server: URL): Promise<KubeAnswer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw unreachable(error, server);
  }
  const headers = Object.fromEntries(
    Object.entries(response.headers).map(([key, value]) => [key, [value ?? []].flat().join(', ')]),
  );
  return { status: response.statusCode ?? 0, headers, body: parsed(Buffer.concat(chunks).toString('utf8')) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Proxies answer in plain text or HTML; the caller judges the shape.
    return text;
  }
}

function queryString(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) parameters.set(key, String(value));
  return parameters.size === 0 ? '' : `?${parameters.toString()}`;
}

function unreachable(error: unknown, server: URL): KubeUnreachable {
  const isEarly =
    error instanceof Error && 'syscall' in error && (error.syscall === 'connect' || error.syscall === 'getaddrinfo');
  return new KubeUnreachable(`no answer from ${server.origin}: ${messageOf(error)}`, isEarly ? 'no' : 'maybe', error);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
