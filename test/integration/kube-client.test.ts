// The connection to an API server: one pool, every kind of credentials, and nothing sent anywhere else.

import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { ServerOptions } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { connectKube, findCluster } from '../../extender/kube/client.ts';
import type { ClusterTarget, KubeClient } from '../../extender/kube/client.ts';
import { KubeUnreachable } from '../../extender/kube/kube-api.ts';
import { createTransport } from '../../extender/kube/transport.ts';
import { selfSignedCertificate } from '../support/self-signed-certificate.ts';

let directory: string;
const cleanups: (() => Promise<void> | void)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gpuloom-kube-'));
  cleanups.push(() => {
    rmSync(directory, { recursive: true });
  });
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function connect(target: ClusterTarget, credentialsKeptMillis?: number): Promise<KubeClient> {
  const kept = credentialsKeptMillis === undefined ? {} : { credentialsKeptMillis };
  const client = await connectKube(target, { version: '1.2.3', ...kept });
  cleanups.push(() => client.close());
  return client;
}

async function listening<T extends Server>(server: T): Promise<{ server: T; port: number; connections: () => number }> {
  let connections = 0;
  server.on('connection', () => (connections += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port, connections: () => connections };
}

const serveTls = (options: ServerOptions, listener: RequestListener) =>
  listening(createTlsServer({ keepAliveTimeout: 60_000, ...options }, listener) as unknown as Server);
const servePlain = (listener: RequestListener) => listening(createHttpServer({ keepAliveTimeout: 60_000 }, listener));

const echo: RequestListener = (request, response) => {
  response.end(JSON.stringify({ url: request.url, headers: request.headers }));
};

function kubeconfig(port: number, cluster: object, user: object, scheme: string = 'https'): object {
  return {
    clusters: [{ name: 'c', cluster: { server: `${scheme}://127.0.0.1:${port}`, ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'team' } }],
    'current-context': 'x',
  };
}

function file(name: string, content: string): string {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const get = async (
  client: KubeClient,
  path: string = '/version',
): Promise<{ url: string; headers: Record<string, string> }> =>
  (await client.request('GET', path, { timeoutMillis: 5_000 })).body as never;

describe('the pool', () => {
  it('serves 320 requests over TLS, 16 at a time, through a tenth as many connections', async () => {
    const { cert, key } = selfSignedCertificate('api');
    const { port, connections } = await serveTls({ cert, key }, echo);
    const config = kubeconfig(port, { 'certificate-authority-data': base64(cert) }, { token: 'secret' });
    const client = await connect({ kind: 'kubeconfig-object', kubeconfig: config });
    for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 16 }, () => get(client)));
    // Two per concurrent request at most: a socket becomes free a moment after its answer was read.
    expect(connections()).toBeLessThanOrEqual(32);
    const { headers } = await get(client);
    expect(headers).toMatchObject({ authorization: 'Bearer secret', 'user-agent': 'gpuloom-extender/1.2.3' });
    expect(client.namespace).toBe('team');
  });

  it('uses a rotated client certificate once the old one is not kept, and keeps the pool as long as nothing changed', async () => {
    const { cert, key } = selfSignedCertificate('api');
    const [first, second] = [selfSignedCertificate('first'), selfSignedCertificate('second')];
    const names: string[] = [];
    const tls = { cert, key, ca: [first.cert, second.cert], requestCert: true, rejectUnauthorized: true };
    const { port, connections } = await serveTls(tls, (request, response) => {
      names.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN));
      response.end('{}');
    });
    const user = {
      'client-certificate': file('client.crt', first.cert),
      'client-key': file('client.key', first.key),
    };
    const config = kubeconfig(port, { 'certificate-authority': file('ca.crt', cert) }, user);
    const client = await connect({ kind: 'kubeconfig', path: file('config', JSON.stringify(config)) }, 0);
    for (let times = 0; times < 10; times++) await get(client);
    file('client.crt', second.cert);
    file('client.key', second.key);
    await get(client);
    expect(names).toEqual([...Array<string>(10).fill('first'), 'second']);
    expect(connections()).toBeLessThanOrEqual(3);
  });

  it('refuses a server whose certificate the kubeconfig does not vouch for, before anything is sent', async () => {
    const { cert, key } = selfSignedCertificate('api');
    let served = 0;
    const { port } = await serveTls({ cert, key }, () => (served += 1));
    const authority = base64(selfSignedCertificate('other').cert);
    const config = kubeconfig(port, { 'certificate-authority-data': authority }, { token: 'secret' });
    const client = await connect({ kind: 'kubeconfig-object', kubeconfig: config });
    await expect(get(client)).rejects.toMatchObject({ name: 'KubeUnreachable', sent: 'no' });
    expect(served).toBe(0);
  });
});

describe('credentials', () => {
  it('come from a token file, with its path relative to the kubeconfig', async () => {
    const { port } = await servePlain(echo);
    file('token', 'from-file\n');
    const path = file('config', JSON.stringify(kubeconfig(port, {}, { tokenFile: 'token' }, 'http')));
    expect((await get(await connect({ kind: 'kubeconfig', path }))).headers['authorization']).toBe('Bearer from-file');
  });

  it('are kept for a burst of requests, and read again after a 401', async () => {
    const { port } = await servePlain((request, response) => {
      if (request.headers.authorization === 'Bearer 1') response.statusCode = 401;
      echo(request, response);
    });
    let reads = 0;
    const authorize = () => Promise.resolve({ headers: { authorization: `Bearer ${++reads}` }, tls: {} });
    const transport = createTransport(
      { origin: `http://127.0.0.1:${port}`, basePath: '', authorize },
      { userAgent: 'test', credentialsKeptMillis: 3_600_000 },
    );
    cleanups.push(() => transport.close());
    const used = [];
    for (let times = 0; times < 4; times++) {
      const { body } = await transport.request('GET', '/version', { timeoutMillis: 5_000 });
      used.push((body as { headers: Record<string, string> }).headers['authorization']);
    }
    expect(used).toEqual(['Bearer 1', 'Bearer 2', 'Bearer 2', 'Bearer 2']);
  });

  it('come from an exec plugin that concurrent requests run once', async () => {
    const { port } = await servePlain(echo);
    const credential = { kind: 'ExecCredential', status: { token: 'from-plugin' } };
    const plugin = file(
      'plugin',
      `#!/bin/sh\necho run >> ${join(directory, 'runs')}\necho '${JSON.stringify(credential)}'\n`,
    );
    chmodSync(plugin, 0o755);
    const user = { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: plugin } };
    const client = await connect({ kind: 'kubeconfig-object', kubeconfig: kubeconfig(port, {}, user, 'http') });
    const answers = await Promise.all([get(client), get(client), get(client)]);
    expect(answers.map((answer) => answer.headers['authorization'])).toEqual(Array(3).fill('Bearer from-plugin'));
    expect(readFileSync(join(directory, 'runs'), 'utf8')).toBe('run\n');
  });

  it('that a plugin cannot provide fail the request within its time limit, and nothing is sent', async () => {
    let served = 0;
    const { port } = await servePlain(() => (served += 1));
    const user = { exec: { apiVersion: 'v1', command: '/bin/sleep', args: ['2'] } };
    const client = await connect({ kind: 'kubeconfig-object', kubeconfig: kubeconfig(port, {}, user, 'http') });
    const request = client.request('GET', '/version', { timeoutMillis: 20 });
    await expect(request).rejects.toMatchObject({
      sent: 'no',
      message: expect.stringContaining('credentials') as unknown,
    });
    expect(served).toBe(0);
  });

  it('are not sent in clear text to another host', async () => {
    const config = {
      ...kubeconfig(80, {}, { token: 'secret' }),
      clusters: [{ name: 'c', cluster: { server: 'http://192.0.2.1' } }],
    };
    await expect(connect({ kind: 'kubeconfig-object', kubeconfig: config })).rejects.toThrow(/unencrypted/);
    await expect(connect({ kind: 'loopback', server: 'http://192.0.2.1' })).rejects.toThrow(
      /not an http address on this/,
    );
  });

  it('without a usable context are refused with the file and the way out', async () => {
    const path = file('config', JSON.stringify({ ...kubeconfig(1, {}, {}), 'current-context': 'gone' }));
    await expect(connect({ kind: 'kubeconfig', path })).rejects.toThrow(
      /config has no usable current context \("gone"\).*use-context/,
    );
    await expect(connect({ kind: 'kubeconfig', path: file('bad', '{') })).rejects.toThrow(/bad cannot be used/);
  });
});

describe('a request', () => {
  it('that is no longer wanted when a connection is free is never sent', async () => {
    const served: string[] = [];
    let answerFirst = (): void => undefined;
    const { port } = await servePlain((request, response) => {
      served.push(request.url ?? '');
      answerFirst = () => response.end('{}');
      if (served.length > 1) response.end('{}');
    });
    const config = kubeconfig(port, {}, {}, 'http');
    const client = await connectKube(
      { kind: 'kubeconfig-object', kubeconfig: config },
      { version: '1', connections: 1 },
    );
    cleanups.push(() => client.close());
    let isWanted = true;
    const first = client.request('GET', '/first', { timeoutMillis: 5_000 });
    await expect.poll(() => served).toEqual(['/first']);
    const waiting = client.request('POST', '/waits', {
      body: {},
      timeoutMillis: 5_000,
      isStillWanted: () => isWanted,
    });
    const refused = expect(waiting).rejects.toMatchObject({ name: 'KubeUnreachable', sent: 'no' });
    isWanted = false;
    answerFirst();
    await first;
    await refused;
    isWanted = true;
    await client.request('POST', '/later', { body: {}, timeoutMillis: 5_000, isStillWanted: () => isWanted });
    expect(served).toEqual(['/first', '/later']);
  });

  it('keeps the path prefix of the server and never follows a redirect', async () => {
    const seen: string[] = [];
    const { port } = await servePlain((request, response) => {
      seen.push(request.url ?? '');
      response.writeHead(307, { location: '/elsewhere' }).end();
    });
    const config = kubeconfig(port, { server: `http://127.0.0.1:${port}/k8s/clusters/c-1/` }, {});
    const client = await connect({ kind: 'kubeconfig-object', kubeconfig: config });
    const answer = await client.request('GET', '/api/v1/pods', {
      query: { limit: 5, continue: undefined },
      timeoutMillis: 5_000,
    });
    expect(answer.status).toBe(307);
    expect(seen).toEqual(['/k8s/clusters/c-1/api/v1/pods?limit=5']);
  });

  it.each(['//evil.example/api', 'http://evil.example/', '/api v1', '/api?x=1'])(
    'to "%s" is not made',
    async (path) => {
      const { port, connections } = await servePlain(echo);
      const client = await connect({ kind: 'loopback', server: `http://127.0.0.1:${port}` });
      await expect(client.request('GET', path, { timeoutMillis: 5_000 })).rejects.toThrow(/not an API path/);
      expect(connections()).toBe(0);
    },
  );

  it('that is not answered in time may have been sent; one to a closed port was not', async () => {
    const { server, port } = await servePlain(() => undefined);
    const client = await connect({ kind: 'loopback', server: `http://127.0.0.1:${port}` });
    const unanswered = client.request('POST', '/api/v1/pods', { body: {}, timeoutMillis: 50 });
    await expect(unanswered).rejects.toMatchObject({ sent: 'maybe' });
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
    const refused = client.request('POST', '/api/v1/pods', { body: {}, timeoutMillis: 5_000 });
    await expect(refused).rejects.toBeInstanceOf(KubeUnreachable);
    await expect(refused).rejects.toMatchObject({ sent: 'no' });
  });

  it('keeps its time limit while a server takes the connection and then says nothing', async () => {
    const silent = createTcpServer();
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    cleanups.push(() => void silent.close());
    const { port } = silent.address() as AddressInfo;
    const client = await connect({
      kind: 'kubeconfig-object',
      kubeconfig: kubeconfig(port, { 'insecure-skip-tls-verify': true }, {}),
    });
    // The handshake has a longer limit of its own, which would show in the message.
    await expect(client.request('POST', '/api/v1/pods', { body: {}, timeoutMillis: 50 })).rejects.toThrow(/timed out/);
  });

  it('hands on an answer that is not JSON as text', async () => {
    const { port } = await servePlain((_request, response) => response.writeHead(502).end('<html>bad gateway</html>'));
    const client = await connect({ kind: 'loopback', server: `http://127.0.0.1:${port}` });
    expect(await client.request('GET', '/version', { timeoutMillis: 5_000 })).toMatchObject({
      status: 502,
      body: '<html>bad gateway</html>',
    });
  });
});

describe('looking for a cluster', () => {
  it('takes the given path alone, then KUBECONFIG, then the home directory', () => {
    const home = { HOME: directory };
    expect(findCluster(join(directory, 'none'), home)).toEqual({ kind: 'none', looked: [join(directory, 'none')] });
    const nothing = findCluster(undefined, home);
    expect(nothing).toMatchObject({ kind: 'none' });
    expect(nothing.kind === 'none' && nothing.looked).toEqual([
      'KUBECONFIG (not set)',
      expect.stringContaining('service account'),
      join(directory, '.kube', 'config'),
    ]);
    const path = file('config', '{}');
    expect(findCluster(path, home)).toEqual({ kind: 'kubeconfig', path });
    expect(findCluster(undefined, { ...home, KUBECONFIG: `${path}:${path}.absent` })).toEqual({
      kind: 'kubeconfig',
      path,
    });
  });
});
