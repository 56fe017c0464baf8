// Whether an MPS control daemon can be reached at this moment, by its endpoint `control` in the pipe directory.
// nvidia-cuda-mps-control listens there on a Unix socket of type SEQPACKET. Node connects STREAM sockets only, and the kernel
// turns those away with EPROTOTYPE where a live socket of another type is bound, with ECONNREFUSED where its owner is gone:
// the daemon is told from its remains without noticing it. A FIFO, if a daemon has one, counts while somebody reads it.
// A daemon that is stopped or hangs still owns its socket and counts as reached.

import { constants } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { messageOf } from '../../extender/kube/kube-api.ts';
import type { MpsDaemon, MpsReach } from '../ports.ts';

const LIMIT_MILLIS = 1000;
const REACHED: MpsReach = { kind: 'reached' };

export function mpsDaemon(pipeDirectory: string): MpsDaemon {
  return limited(() => lookAt(pipeDirectory), `${pipeDirectory}/control`, LIMIT_MILLIS);
}

/** Looks that overlap are one: a folder that hangs costs one thread, however often it is asked about. */
export function limited(look: () => Promise<MpsReach>, path: string, limitMillis: number): MpsDaemon {
  let underWay: Promise<MpsReach> | undefined;
  return {
    look() {
      underWay ??= look().finally(() => {
        underWay = undefined;
      });
      const { promise, resolve } = Promise.withResolvers<MpsReach>();
      const giveUp = (): void => resolve(unreached(`${path} did not answer within ${limitMillis} ms`));
      const timer = setTimeout(giveUp, limitMillis);
      void underWay.then(resolve).finally(() => clearTimeout(timer));
      return promise;
    },
  };
}

async function lookAt(pipeDirectory: string): Promise<MpsReach> {
  const path = join(pipeDirectory, 'control');
  try {
    const found = await stat(path);
    if (found.isSocket()) return await connected(path);
    if (found.isFIFO()) return await readBySomebody(path);
    return unreached(`${path} is neither a socket nor a FIFO`);
  } catch (error) {
    return unreached(codeOf(error) === 'ENOENT' ? await whatIsMissing(pipeDirectory, path) : describe(path, error));
  }
}

async function whatIsMissing(pipeDirectory: string, path: string): Promise<string> {
  try {
    await stat(pipeDirectory);
    return `${path} is not there`;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') return describe(pipeDirectory, error);
    return `the pipe directory ${pipeDirectory} is not there, or not mounted into the agent's container`;
  }
}

/** Rejects with what the kernel said, unless it said that the socket is alive. */
function connected(path: string): Promise<MpsReach> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const end = (outcome: () => void): void => {
      socket.destroy();
      outcome();
    };
    socket.setTimeout(LIMIT_MILLIS, () => end(() => reject(new Error(`no answer within ${LIMIT_MILLIS} ms`))));
    socket.once('connect', () => end(() => resolve(REACHED)));
    socket.once('error', (error) => end(() => (codeOf(error) === 'EPROTOTYPE' ? resolve(REACHED) : reject(error))));
  });
}

/** Opening a FIFO for writing without waiting fails where nobody reads it. */
async function readBySomebody(path: string): Promise<MpsReach> {
  const file = await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
  await file.close();
  return REACHED;
}

function describe(path: string, error: unknown): string {
  switch (codeOf(error) ?? '') {
    case 'ECONNREFUSED':
    case 'ENXIO':
      return `nobody listens on ${path}: the daemon that made it has ended`;
    case 'EAGAIN':
      return `${path} takes no more connections`;
    case 'EACCES':
    case 'EPERM':
      return `${path} may not be opened by the agent`;
    default:
      return `${path}: ${messageOf(error)}`;
  }
}

function unreached(why: string): MpsReach {
  return { kind: 'unreached', why };
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
