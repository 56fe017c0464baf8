// Certificates of the verbs listener: loading, mutual TLS, pinned client names, and reload when the files change.
// A rotation that cannot be used (torn, mismatched, expired) keeps the certificate in use and says so once.
// Files are polled by content: Kubernetes swaps secrets through symbolic links, which file watchers miss.

import { constants as cryptoConstants, createHash, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { SecureContextOptions, TlsOptions } from 'node:tls';
import type { Logger } from '../logging.ts';
import { messageOf } from './json-body.ts';

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  /** With it, clients must present a certificate of this CA. */
  readonly clientCaFile?: string;
}

export interface TlsOptionsSource {
  readonly files: TlsFiles;
  /** Allowed common names or subject alternative names; empty allows every certificate of the CA. */
  readonly clientNames: readonly string[];
  readonly log: Logger;
  readonly pollMillis?: number;
}

/** The part of a TLS server that takes a new certificate while it runs. */
export interface SecureServer {
  setSecureContext(options: SecureContextOptions): void;
}

export interface ServingTls {
  options(): TlsOptions;
  /** From now on rotated certificates are given to this server. */
  attach(server: SecureServer): void;
  /** Looks at the files now, as the poll does. */
  checkNow(): Promise<'unchanged' | 'reloaded' | 'refused'>;
  /** End of the certificate in use, milliseconds since the epoch. */
  expiryMillis(): number;
  /** Whether the peer's certificate carries an allowed name. True when no names are pinned. */
  allows(socket: unknown): boolean;
  readonly pinned: boolean;
  close(): void;
}

const DEFAULT_POLL_MILLIS = 10_000;

interface Material {
  readonly hash: string;
  readonly context: SecureContextOptions;
  readonly validToMillis: number;
}

/** Loads the files and starts watching them. Rejects with advice when they cannot be used. */
export async function createServingTls(source: TlsOptionsSource): Promise<ServingTls> {
  const { files, log } = source;
  let current = loadMaterial(await readAll(files), files);
  if (current.validToMillis <= Date.now()) {
    throw new Error(`${files.certFile}: the certificate ended on ${isoDate(current.validToMillis)}; issue a new one`);
  }
  let lastTried = current.hash;
  let server: SecureServer | undefined;

  const checkNow = async (): Promise<'unchanged' | 'reloaded' | 'refused'> => {
    try {
      const contents = await readAll(files);
      const hash = hashOf(contents);
      if (hash === lastTried) return 'unchanged';
      lastTried = hash;
      const next = loadMaterial(contents, files);
      if (next.validToMillis <= Date.now()) throw new Error(`it ended on ${isoDate(next.validToMillis)}`);
      server?.setSecureContext(next.context);
      current = next;
      log.info('TLS certificate reloaded', { validTo: isoDate(next.validToMillis) });
      return 'reloaded';
    } catch (error) {
      log.error('The new TLS certificate cannot be used; the one in use stays', {
        error: messageOf(error),
        validTo: isoDate(current.validToMillis),
      });
      return 'refused';
    }
  };
  const poll = setInterval(() => void checkNow(), source.pollMillis ?? DEFAULT_POLL_MILLIS);
  poll.unref();
  const allows = createNameCheck(source.clientNames);
  return {
    options: () => ({
      ...current.context,
      requestCert: files.clientCaFile !== undefined,
      rejectUnauthorized: files.clientCaFile !== undefined,
    }),
    attach: (target) => {
      server = target;
      target.setSecureContext(current.context);
    },
    checkNow,
    expiryMillis: () => current.validToMillis,
    allows,
    pinned: source.clientNames.length > 0,
    close: () => clearInterval(poll),
  };
}

type Contents = readonly (Buffer | undefined)[];

function readAll(files: TlsFiles): Promise<Contents> {
  const paths = [files.certFile, files.keyFile, files.clientCaFile];
  return Promise.all(paths.map(async (path) => (path === undefined ? undefined : readFile(path))));
}

function hashOf(contents: Contents): string {
  const hash = createHash('sha256');
  for (const content of contents) hash.update(`${content?.length ?? -1}:`).update(content ?? '');
  return hash.digest('hex');
}

function loadMaterial(contents: Contents, files: TlsFiles): Material {
  const [cert, key, ca] = contents;
  if (cert === undefined || key === undefined) throw new Error('a certificate and a key are needed');
  const context: SecureContextOptions = {
    cert,
    key,
    ...(ca === undefined ? {} : { ca }),
    minVersion: 'TLSv1.2',
    // A resumed session would carry the verdict on a client certificate past a change of the client CA.
    secureOptions: cryptoConstants.SSL_OP_NO_TICKET,
  };
  try {
    const certificate = new X509Certificate(cert);
    createSecureContext(context);
    if (ca !== undefined) void new X509Certificate(ca);
    return { hash: hashOf(contents), context, validToMillis: Date.parse(certificate.validTo) };
  } catch (error) {
    const paths = [files.certFile, files.keyFile, files.clientCaFile].filter((path) => path !== undefined).join(', ');
    throw new Error(`${paths}: ${messageOf(error)}; the files must be PEM and the key must belong to the certificate`, {
      cause: error,
    });
  }
}

function createNameCheck(names: readonly string[]): (socket: unknown) => boolean {
  if (names.length === 0) return () => true;
  const verdicts = new WeakMap<object, boolean>();
  return (socket) => {
    if (!(socket instanceof TLSSocket)) return false;
    const known = verdicts.get(socket);
    if (known !== undefined) return known;
    const certificate = socket.getPeerX509Certificate();
    const allowed = certificate !== undefined && names.some((name) => carriesName(certificate, name));
    verdicts.set(socket, allowed);
    return allowed;
  };
}

/** Exact match on a common name, a DNS name or a URI of the certificate. Wildcards in certificates do not count. */
export function carriesName(certificate: X509Certificate, name: string): boolean {
  if (certificate.checkHost(name, { subject: 'never', wildcards: false }) !== undefined) return true;
  // Both texts escape or quote whatever could be mistaken for a separator, so an exact token cannot be forged.
  if (certificate.subject.split('\n').includes(`CN=${name}`)) return true;
  return (certificate.subjectAltName ?? '').split(', ').includes(`URI:${name}`);
}

function isoDate(millis: number): string {
  return new Date(millis).toISOString();
}
