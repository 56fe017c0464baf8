// Builders for tests of the HTTP shell: a recording application, a recording log, plain sockets and certificates.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { request as secureRequest } from 'node:https';
import type { Agent } from 'node:https';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createLogger } from '../../extender/logging.ts';
import type { Logger } from '../../extender/logging.ts';
import type { VerbObserver } from '../../extender/http/guarded-verbs.ts';
import type { Listener, ListenAddress, ListenerLimits } from '../../extender/http/listener.ts';
import type { OpsSurface, VerbSurface } from '../../extender/http/surface.ts';
import type { ServingTls } from '../../extender/http/tls.ts';
import { createVerbsServer } from '../../extender/http/verbs-server.ts';

/** `expect.stringContaining`, without its `any`. */
export function containing(text: string): unknown {
  return expect.stringContaining(text);
}

export interface RecordingLog {
  readonly log: Logger;
  readonly lines: string[];
}

export function recordingLog(): RecordingLog {
  const lines: string[] = [];
  const destination = { write: (line: string): void => void lines.push(line) };
  return { log: createLogger({ level: 'debug', component: 'test', destination }), lines };
}

/** An application that finds every node good. */
export const agreeable: VerbSurface = {
  filter: (args) => ({
    Nodes: args.NodeNames ? null : { items: args.Nodes?.items ?? [] },
    NodeNames: args.NodeNames ?? null,
    FailedNodes: {},
    FailedAndUnresolvableNodes: {},
    Error: '',
  }),
  prioritize: (args) =>
    (args.NodeNames ?? (args.Nodes?.items ?? []).map((node) => node.metadata?.name ?? '')).map((Host) => ({
      Host,
      Score: 5,
    })),
  bind: () => Promise.resolve({ Error: '' }),
};

export interface VerbsUnderTest {
  readonly listener: Listener;
  readonly lines: readonly string[];
  readonly verbs: string[];
  readonly refused: string[];
}

export interface VerbsSetup {
  readonly verbs?: Partial<VerbSurface>;
  readonly inspect?: OpsSurface['inspect'];
  readonly limits?: Partial<ListenerLimits>;
  readonly tls?: ServingTls;
}

export function verbsUnderTest(setup: VerbsSetup = {}): VerbsUnderTest {
  const { log, lines } = recordingLog();
  const verbs: string[] = [];
  const refused: string[] = [];
  const observer: VerbObserver = {
    verbAnswered: (verb, _seconds, failed) => verbs.push(failed ? `${verb} failed` : verb),
    connectionRefused: (reason) => refused.push(reason),
  };
  const listener = createVerbsServer({
    verbs: { ...agreeable, ...setup.verbs },
    inspect: setup.inspect ?? (() => ({ nodes: [] })),
    version: '0.1.0',
    observer,
    log,
    ...(setup.limits === undefined ? {} : { limits: setup.limits }),
    ...(setup.tls === undefined ? {} : { tls: setup.tls }),
  });
  return { listener, lines, verbs, refused };
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  readonly connection: string | undefined;
}

export interface Call {
  readonly method?: string;
  readonly path: string;
  readonly body?: string;
  readonly agent?: Agent;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** One HTTP or HTTPS exchange over a real socket. */
export function exchange(address: ListenAddress, call: Call): Promise<HttpAnswer> {
  const { path, body, agent, ca, cert, key } = call;
  const options = {
    host: address.host,
    port: address.port,
    path,
    method: call.method ?? (body === undefined ? 'GET' : 'POST'),
    headers:
      body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  };
  return new Promise((resolve, reject) => {
    const outgoing =
      ca === undefined
        ? request(options)
        : secureRequest({ ...options, ca, servername: 'localhost', agent: agent ?? false, cert, key });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => (text += chunk));
      incoming.on('end', () =>
        resolve({ status: incoming.statusCode ?? 0, body: text, connection: incoming.headers.connection }),
      );
    });
    outgoing.end(body);
  });
}

/** A raw connection that keeps what it receives. */
export interface RawClient {
  readonly socket: Socket;
  received(): string;
  /** Resolves with everything received once the other side has closed. */
  readonly closed: Promise<string>;
}

export function rawClient(address: ListenAddress, firstBytes: string): Promise<RawClient> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(address.port, address.host, () => {
      socket.write(firstBytes);
      resolve({ socket, received: () => text, closed });
    });
    const closed = new Promise<string>((done) => socket.once('close', () => done(text)));
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => (text += chunk));
    socket.once('error', reject);
  });
}

/** Certificates made with openssl in a directory of their own. */
export class CertificateWorkshop {
  readonly directory: string;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'gpuloom-tls-'));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  write(name: string, text: string): string {
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  /** A self-signed CA: `<name>.crt`, `<name>.key`. */
  authority(name: string): void {
    this.#openssl(['req', '-x509', ...NEW_KEY, '-nodes', '-days', '2', '-subj', `/CN=${name}`], name);
  }

  /** A certificate of that CA. `days` may be negative to make one that has ended. */
  leaf(name: string, issuer: string, subject: string, alternatives: string, days = 2): void {
    const ends = new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-T:]|\..*/g, '');
    this.#openssl(['req', ...NEW_KEY, '-nodes', '-subj', subject], name, `${name}.csr`);
    const extensions = this.write(`${name}.ext`, `subjectAltName=${alternatives}\n`);
    const database = this.write(`${name}.db`, '');
    const configuration = this.write(
      `${name}.cnf`,
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${database}\nnew_certs_dir=${this.directory}\nrand_serial=yes\n` +
        'default_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n',
    );
    execFileSync(
      'openssl',
      [
        'ca',
        '-batch',
        '-config',
        configuration,
        '-in',
        this.path(`${name}.csr`),
        '-out',
        this.path(`${name}.crt`),
      ].concat([
        ...['-cert', this.path(`${issuer}.crt`), '-keyfile', this.path(`${issuer}.key`), '-notext'],
        ...['-extfile', extensions, '-startdate', '20200101000000Z', '-enddate', `${ends}Z`],
      ]),
      { stdio: 'pipe' },
    );
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #openssl(words: readonly string[], name: string, output = `${name}.crt`): void {
    const files = ['-keyout', this.path(`${name}.key`), '-out', this.path(output)];
    execFileSync('openssl', [...words, ...files], { stdio: 'pipe' });
  }
}

const NEW_KEY: readonly string[] = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
