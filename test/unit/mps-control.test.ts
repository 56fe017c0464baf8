// Whether a look tells a living MPS control daemon from its remains, on real sockets and FIFOs.

import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limited, mpsDaemon } from '../../device-plugin/mps/control.ts';
import type { MpsReach } from '../../device-plugin/ports.ts';
import { FakeMpsDaemon } from '../support/fake-mps-daemon.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mps-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function whyNot(pipeDirectory: string): Promise<string> {
  const reach = await mpsDaemon(pipeDirectory).look();
  return reach.kind === 'unreached' ? reach.why : reach.kind;
}

function fifo(): string {
  const path = join(folder, 'control');
  execFileSync('mkfifo', [path]);
  return path;
}

describe('a look at the MPS control daemon', () => {
  it('reaches it by its socket of type SEQPACKET, and leaves no trace with it', async () => {
    const daemon = new FakeMpsDaemon(folder);
    expect(await mpsDaemon(folder).look()).toEqual({ kind: 'reached' });
    expect(daemon.callers()).toBe(0);
    daemon.die();
  });

  it('reaches one that listens on a STREAM socket', async () => {
    const daemon = new FakeMpsDaemon(folder, { type: 'stream' });
    expect(await mpsDaemon(folder).look()).toEqual({ kind: 'reached' });
    expect(daemon.callers()).toBe(1);
    daemon.die();
  });

  it('reaches one that reads a FIFO', async () => {
    const reader = openSync(fifo(), constants.O_RDONLY | constants.O_NONBLOCK);
    expect(await mpsDaemon(folder).look()).toEqual({ kind: 'reached' });
    closeSync(reader);
  });

  it.each<[string, () => void, RegExp]>([
    [
      'it was killed',
      () => new FakeMpsDaemon(folder).die(),
      /^nobody listens on .*\/control: the daemon .* has ended$/,
    ],
    ['its STREAM socket is left over', () => new FakeMpsDaemon(folder, { type: 'stream' }).die(), /^nobody listens on/],
    ['it has quit', () => new FakeMpsDaemon(folder).quit(), /\/control is not there$/],
    ['nobody reads its FIFO', () => void fifo(), /^nobody listens on/],
    ['a file is in its place', () => writeFileSync(join(folder, 'control'), ''), /neither a socket nor a FIFO$/],
    ['a folder is in its place', () => mkdirSync(join(folder, 'control')), /neither a socket nor a FIFO$/],
  ])('does not reach it where %s', async (_, arrange, why) => {
    arrange();
    expect(await whyNot(folder)).toMatch(why);
  });

  it.each<[string, () => string, RegExp]>([
    ['is not there', () => join(folder, 'gone'), /^the pipe directory .*\/gone is not there, or not mounted/],
    ['is a file', () => fileIn(folder), /ENOTDIR/],
    ['has a name longer than a socket may have', () => deepFolder(folder), /\/control: .*E/],
    ['has a name that cannot be', () => 'a\0b', /null bytes/],
  ])('does not reach it, nor fails, where the pipe directory %s', async (_, directory, why) => {
    expect(await whyNot(directory())).toMatch(why);
  });

  it('does not reach one that has stopped to take connections', async () => {
    const daemon = new FakeMpsDaemon(folder, { type: 'stream', backlog: 0 });
    const looks: MpsReach[] = [];
    for (let look = 0; look < 3; look++) looks.push(await mpsDaemon(folder).look());
    expect(looks.at(-1)).toEqual({ kind: 'unreached', why: `${folder}/control takes no more connections` });
    daemon.die();
  });

  it('sees it die and come back', async () => {
    const daemon = mpsDaemon(folder);
    const seen: string[] = [];
    for (let round = 0; round < 3; round++) {
      const fake = new FakeMpsDaemon(folder);
      seen.push((await daemon.look()).kind);
      fake.die();
      seen.push((await daemon.look()).kind);
    }
    expect(seen).toEqual(['reached', 'unreached', 'reached', 'unreached', 'reached', 'unreached']);
  });
});

describe('a look that hangs', () => {
  it('is given up after its limit, and begun anew only when it has ended', async () => {
    const begun: ((reach: MpsReach) => void)[] = [];
    const daemon = limited(() => new Promise((resolve) => begun.push(resolve)), '/mps/control', 1);
    const late = { kind: 'unreached', why: '/mps/control did not answer within 1 ms' };
    expect(await Promise.all([daemon.look(), daemon.look()])).toEqual([late, late]);
    expect(await daemon.look()).toEqual(late);
    expect(begun).toHaveLength(1);
    begun[0]?.({ kind: 'reached' });
    await new Promise(setImmediate);
    expect(await daemon.look()).toEqual(late);
    expect(begun).toHaveLength(2);
  });
});

function fileIn(parent: string): string {
  const path = join(parent, 'file');
  writeFileSync(path, '');
  return path;
}

/** It got its name after the socket was made. */
function deepFolder(parent: string): string {
  const [short, long] = [join(parent, 'short'), join(parent, 'd'.repeat(120))];
  mkdirSync(short);
  new FakeMpsDaemon(short).die();
  renameSync(short, long);
  return long;
}
