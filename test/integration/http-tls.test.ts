// TLS over real sockets with certificates made here by openssl: client CA, pinned names, rotation, refusal to start.

import { readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ListenAddress } from '../../extender/http/listener.ts';
import { createServingTls } from '../../extender/http/tls.ts';
import type { ServingTls } from '../../extender/http/tls.ts';
import {
  containing,
  CertificateWorkshop,
  exchange,
  rawClient,
  recordingLog,
  verbsUnderTest,
} from '../support/http-shell.ts';
import type { HttpAnswer, VerbsUnderTest } from '../support/http-shell.ts';

const workshop = new CertificateWorkshop();
const body = JSON.stringify({ Pod: { metadata: { name: 'p' } }, Nodes: null, NodeNames: ['a'] });

beforeAll(() => {
  workshop.authority('ca');
  workshop.authority('stranger-ca');
  workshop.leaf('server', 'ca', '/CN=extender', 'DNS:localhost,IP:127.0.0.1');
  workshop.leaf('renewed', 'ca', '/CN=extender', 'DNS:localhost,IP:127.0.0.1', 20);
  workshop.leaf('ended', 'ca', '/CN=extender', 'DNS:localhost', -1);
  workshop.leaf('scheduler', 'ca', '/CN=system:kube-scheduler', 'DNS:scheduler.example');
  workshop.leaf('intruder', 'ca', '/CN=intruder', 'DNS:*.example,URI:spiffe://other/CN=system:kube-scheduler');
  workshop.leaf('stranger', 'stranger-ca', '/CN=system:kube-scheduler', 'DNS:scheduler.example');
});
afterAll(() => workshop.remove());

const running: { server: VerbsUnderTest; tls: ServingTls }[] = [];
afterEach(async () => {
  for (const { server, tls } of running.splice(0)) {
    tls.close();
    await server.listener.close();
  }
});

interface Secure {
  readonly server: VerbsUnderTest;
  readonly tls: ServingTls;
  readonly address: ListenAddress;
  readonly lines: readonly string[];
  readonly call: (client?: string) => Promise<HttpAnswer>;
}

async function serve(
  options: { mutual?: boolean; names?: string[]; files?: [cert: string, key: string]; pollMillis?: number } = {},
): Promise<Secure> {
  const { log, lines } = recordingLog();
  const [certFile, keyFile] = options.files ?? [workshop.path('server.crt'), workshop.path('server.key')];
  const tls = await createServingTls({
    files: { certFile, keyFile, ...(options.mutual === true ? { clientCaFile: workshop.path('ca.crt') } : {}) },
    clientNames: options.names ?? [],
    log,
    pollMillis: options.pollMillis ?? 3_600_000,
  });
  const server = verbsUnderTest({ tls, limits: { drainMillis: 50 } });
  running.push({ server, tls });
  const address = await server.listener.listen({ host: '127.0.0.1', port: 0 });
  const pem = (name: string): string => readFileSync(workshop.path(name), 'utf8');
  const call = (client?: string): Promise<HttpAnswer> =>
    exchange(address, {
      path: '/v1/filter',
      body,
      ca: pem('ca.crt'),
      ...(client === undefined ? {} : { cert: pem(`${client}.crt`), key: pem(`${client}.key`) }),
    });
  return { server, tls, address, lines, call };
}

describe('mutual TLS', () => {
  it('answers a client of the CA and no other', async () => {
    const { call, server } = await serve({ mutual: true });
    expect(await call('scheduler')).toMatchObject({ status: 200 });
    await expect(call()).rejects.toThrow();
    await expect(call('stranger')).rejects.toThrow();
    await vi.waitFor(() => expect(server.refused).toEqual(['tls', 'tls']));
    expect(server.verbs).toEqual(['filter']);
  });

  it('without a client CA answers anyone over TLS, and nobody over plain HTTP', async () => {
    const { call, address } = await serve();
    expect(await call()).toMatchObject({ status: 200 });
    await expect(exchange(address, { path: '/v1/filter', body })).rejects.toThrow();
  });
});

describe('pinned client names', () => {
  it.each([
    ['system:kube-scheduler', 'common name'],
    ['scheduler.example', 'alternative name'],
  ])('admit %s by its %s', async (name) => {
    const { call } = await serve({ mutual: true, names: ['somebody-else', name] });
    expect(await call('scheduler')).toMatchObject({ status: 200 });
  });

  it('refuse another certificate of the same CA, wildcards and look-alikes included', async () => {
    const { call, server } = await serve({ mutual: true, names: ['system:kube-scheduler', 'scheduler.example'] });
    const answer = await call('intruder');
    expect(answer).toMatchObject({ status: 403, body: containing('--client-name'), connection: 'close' });
    expect(server.refused).toEqual(['client-name']);
    expect(server.verbs).toEqual([]);
  });
});

describe('rotation', () => {
  it('serves the renewed certificate to new connections without a restart', async () => {
    const cert = workshop.write('live.crt', readFileSync(workshop.path('server.crt'), 'utf8'));
    const key = workshop.write('live.key', readFileSync(workshop.path('server.key'), 'utf8'));
    const { tls, call, lines } = await serve({ files: [cert, key] });
    const before = tls.expiryMillis();
    expect(await tls.checkNow()).toBe('unchanged');
    writeFileSync(cert, readFileSync(workshop.path('renewed.crt')));
    expect(await tls.checkNow()).toBe('refused');
    expect(await tls.checkNow()).toBe('unchanged');
    expect(await call()).toMatchObject({ status: 200 });
    writeFileSync(key, readFileSync(workshop.path('renewed.key')));
    expect(await tls.checkNow()).toBe('reloaded');
    expect(tls.expiryMillis()).toBeGreaterThan(before);
    expect(await call()).toMatchObject({ status: 200 });
    expect(lines.filter((line) => line.includes('cannot be used'))).toHaveLength(1);
  });

  it('keeps the certificate in use when the new one has ended or is garbage', async () => {
    const cert = workshop.write('kept.crt', readFileSync(workshop.path('server.crt'), 'utf8'));
    const key = workshop.write('kept.key', readFileSync(workshop.path('server.key'), 'utf8'));
    const { tls, call, lines } = await serve({ files: [cert, key] });
    writeFileSync(cert, readFileSync(workshop.path('ended.crt')));
    writeFileSync(key, readFileSync(workshop.path('ended.key')));
    expect(await tls.checkNow()).toBe('refused');
    writeFileSync(cert, 'not a certificate');
    expect(await tls.checkNow()).toBe('refused');
    expect(await call()).toMatchObject({ status: 200 });
    expect(lines.some((line) => line.includes('it ended on'))).toBe(true);
  });

  it('follows the symbolic links that Kubernetes swaps', async () => {
    const swap = (target: string): void => {
      for (const kind of ['crt', 'key']) {
        symlinkSync(workshop.path(`${target}.${kind}`), workshop.path(`next.${kind}`));
        renameSync(workshop.path(`next.${kind}`), workshop.path(`mounted.${kind}`));
      }
    };
    swap('server');
    const { tls } = await serve({
      files: [workshop.path('mounted.crt'), workshop.path('mounted.key')],
      pollMillis: 10,
    });
    const before = tls.expiryMillis();
    swap('renewed');
    await vi.waitFor(() => expect(tls.expiryMillis()).toBeGreaterThan(before));
  });
});

describe('start', () => {
  it.each([
    ['an ended certificate', 'ended.crt', 'ended.key', /ended on .*issue a new one/],
    ['a key of another certificate', 'server.crt', 'renewed.key', /key must belong to the certificate/],
    ['a missing file', 'absent.crt', 'server.key', /ENOENT/],
  ])('fails with advice for %s', async (_what, cert, key, message) => {
    const files = { certFile: workshop.path(cert), keyFile: workshop.path(key) };
    await expect(createServingTls({ files, clientNames: [], log: recordingLog().log })).rejects.toThrow(message);
  });

  it('cuts a connection that never finishes its handshake', async () => {
    const { log } = recordingLog();
    const files = { certFile: workshop.path('server.crt'), keyFile: workshop.path('server.key') };
    const tls = await createServingTls({ files, clientNames: [], log });
    const server = verbsUnderTest({ tls, limits: { handshakeTimeoutMillis: 100, drainMillis: 50 } });
    running.push({ server, tls });
    const address = await server.listener.listen({ host: '127.0.0.1', port: 0 });
    const silent = await rawClient(address, '');
    expect(await silent.closed).toBe('');
    expect(server.refused).toEqual(['tls']);
  });
});
