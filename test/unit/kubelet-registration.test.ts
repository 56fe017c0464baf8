// When the registration loop serves, registers, waits and tries again, on a clock that the test moves.

import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PluginEvent } from '../../device-plugin/kubelet/events.ts';
import type { PluginServer } from '../../device-plugin/kubelet/plugin-server.ts';
import { Registration } from '../../device-plugin/kubelet/registration.ts';
import { fileIdentity } from '../../device-plugin/kubelet/sockets.ts';
import { ManualTimers } from '../support/manual-timers.ts';

let directory: string;
let timers: ManualTimers;
let registration: Registration;
let events: PluginEvent[];
let servers: string[];
let closed: string[];
let attempts: string[];
let answer: (signal: AbortSignal) => Promise<void>;
let streams: number;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'gl-'));
  timers = new ManualTimers();
  [events, servers, closed, attempts] = [[], [], [], []];
  answer = () => Promise.resolve();
  streams = 1;
  registration = new Registration({
    directory,
    clock: { monotonicMillis: timers.now, after: (millis, action) => timers.after(millis, action), random: () => 1 },
    report: (event) => events.push(event),
    openServer,
    register: (_kubeletSocket, endpoint, signal) => {
      attempts.push(endpoint);
      return answer(signal);
    },
    openStreams: () => streams,
  });
});
afterEach(async () => {
  await registration.stop();
  rmSync(directory, { recursive: true });
});

function openServer(): Promise<PluginServer> {
  const endpoint = `server-${servers.length + 1}`;
  const socketPath = join(directory, endpoint);
  writeFileSync(socketPath, '');
  servers.push(endpoint);
  const close = (): Promise<void> => {
    closed.push(endpoint);
    return Promise.resolve();
  };
  return Promise.resolve({ socketPath, endpoint, identity: fileIdentity(socketPath) ?? '', close });
}

/** Replaces the socket by another file, never by the same inode again. */
function startKubelet(): void {
  writeFileSync(join(directory, 'next'), '');
  renameSync(join(directory, 'next'), join(directory, 'kubelet.sock'));
}

/** Turns the event loop until the condition holds; the test's own limit ends a wait in vain. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

/** Lets the loop look once more and come to rest. */
async function lookAgain(): Promise<void> {
  registration.poke();
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
}

async function registeredOnce(): Promise<void> {
  startKubelet();
  registration.start();
  await until(() => registration.status().registered);
}

describe('the registration loop', () => {
  it('serves and registers when the kubelet appears, and does nothing more while all is well', async () => {
    registration.start();
    await lookAgain();
    expect([servers, attempts]).toEqual([[], []]);
    startKubelet();
    registration.poke();
    await until(() => registration.status().registered);
    timers.advance(3_600_000);
    await lookAgain();
    expect([servers, attempts]).toEqual([['server-1'], ['server-1']]);
    expect(registration.status()).toMatchObject({ registrations: 1, lastRegisteredMillis: 0, lastError: undefined });
  });

  it('registers the same socket with a kubelet that was replaced without removing it', async () => {
    await registeredOnce();
    startKubelet();
    registration.poke();
    await until(() => registration.status().registrations === 2);
    expect([servers, attempts]).toEqual([['server-1'], ['server-1', 'server-1']]);
  });

  it('replaces a removed socket and closes the old server only after the new registration', async () => {
    await registeredOnce();
    const closedAtAttempt: string[][] = [];
    answer = () => {
      closedAtAttempt.push([...closed]);
      return Promise.resolve();
    };
    rmSync(join(directory, 'server-1'));
    registration.poke();
    await until(() => closed.length === 1);
    expect([attempts, closedAtAttempt, closed]).toEqual([['server-1', 'server-2'], [[]], ['server-1']]);
  });

  it('tries again after 50 ms, 100 ms and so on up to a second, without a new socket each time', async () => {
    answer = () => Promise.reject(new Error('not now'));
    startKubelet();
    registration.start();
    const waits: number[] = [];
    for (let failure = 1; failure <= 7; failure++) {
      await until(() => events.filter(({ kind }) => kind === 'registration-failed').length === failure);
      const last = events.at(-1);
      waits.push(last?.kind === 'registration-failed' ? last.retryInMillis : 0);
      await lookAgain();
      expect(attempts).toHaveLength(failure);
      timers.advance(waits.at(-1) ?? 0);
    }
    expect(waits).toEqual([50, 100, 200, 400, 800, 1_000, 1_000]);
    expect(servers).toEqual(['server-1']);
    expect(registration.status()).toMatchObject({ registered: false, lastError: 'not now' });
  });

  it('does not wait any longer when another kubelet appears', async () => {
    answer = () => Promise.reject(new Error('not now'));
    startKubelet();
    registration.start();
    await until(() => attempts.length === 1);
    await lookAgain();
    answer = () => Promise.resolve();
    startKubelet();
    registration.poke();
    await until(() => registration.status().registered);
    expect(timers.now()).toBe(0);
  });

  it('registers again when the kubelet opens no stream, each time more patiently, up to once a minute', async () => {
    streams = 0;
    await registeredOnce();
    const registeredAt: number[] = [];
    for (let second = 0; second <= 300; second++) {
      const before = attempts.length;
      await lookAgain();
      if (attempts.length > before) registeredAt.push(second);
      timers.advance(1_000);
    }
    const gaps = registeredAt.map((second, index) => second - (registeredAt[index - 1] ?? 0));
    expect(gaps).toEqual([5, 11, 21, 41, 61, 61, 61]);
  });

  it('forgets a lost stream that came back', async () => {
    await registeredOnce();
    for (const present of [0, 1, 0, 1]) {
      streams = present;
      await lookAgain();
      timers.advance(4_000);
    }
    await lookAgain();
    expect(attempts).toHaveLength(1);
  });

  it('stops in the middle of a registration that nobody answers', async () => {
    answer = (signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(new Error('cancelled'));
        });
      });
    startKubelet();
    registration.start();
    await until(() => attempts.length === 1);
    await registration.stop();
    expect(closed).toEqual(['server-1']);
    expect(events.filter(({ kind }) => kind === 'registration-failed')).toEqual([]);
  });
});
