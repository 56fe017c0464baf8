// An MPS control daemon as far as its neighbours can see it: a socket `control` of its own that listens in the pipe
// directory. The real one's is of type SEQPACKET, which Node cannot make; libc makes it here.

import { closeSync, rmSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { load } from 'koffi';

const AF_UNIX = 1;
const TYPES = { stream: 1, seqpacket: 5 } as const;
const NONBLOCK_CLOEXEC = 0o2004000;

const libc = load(null);
const makeSocket = libc.func('int socket(int domain, int type, int protocol)');
const bindTo = libc.func('int bind(int fd, const void *address, uint32_t length)');
const listenOn = libc.func('int listen(int fd, int backlog)');
const acceptOne = libc.func('int accept(int fd, void *address, void *length)');

export interface FakeMpsSettings {
  readonly type?: keyof typeof TYPES;
  readonly backlog?: number;
}

export class FakeMpsDaemon {
  readonly #control: string;
  readonly #fd: number;

  /** Takes the place of whatever an earlier one left behind. */
  constructor(pipeDirectory: string, { type = 'seqpacket', backlog = 128 }: FakeMpsSettings = {}) {
    this.#control = join(pipeDirectory, 'control');
    rmSync(this.#control, { force: true });
    this.#fd = made(makeSocket(AF_UNIX, TYPES[type] | NONBLOCK_CLOEXEC, 0), 'socket');
    const address = addressOf(this.#control);
    made(bindTo(this.#fd, address, address.length), 'bind');
    made(listenOn(this.#fd, backlog), 'listen');
  }

  /** How many have connected since it was last asked. */
  callers(): number {
    for (let callers = 0; ; callers++) {
      const fd: unknown = acceptOne(this.#fd, null, null);
      if (typeof fd !== 'number' || fd < 0) return callers;
      closeSync(fd);
    }
  }

  /** As by SIGKILL: its files stay. */
  die(): void {
    closeSync(this.#fd);
  }

  /** As by `quit`: its files go too. */
  quit(): void {
    this.die();
    rmSync(this.#control);
  }
}

function addressOf(path: string): Buffer {
  const family = Buffer.alloc(2);
  if (endianness() === 'LE') family.writeUInt16LE(AF_UNIX);
  else family.writeUInt16BE(AF_UNIX);
  return Buffer.concat([family, Buffer.from(path), Buffer.alloc(1)]);
}

function made(result: unknown, call: string): number {
  if (typeof result !== 'number' || result < 0) throw new Error(`${call} failed`);
  return result;
}
