// What reaches the plugin's socket byte by byte: real grpc-go connections, authorities of all kinds, many headers, and
// input that no kubelet sends. Whatever comes in, the plugin goes on serving.

import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { Client, credentials } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KubeletConnection } from '../../device-plugin/kubelet/connection.ts';
import type { DevicePlugin } from '../../device-plugin/kubelet/device-plugin.ts';
import { loadDevicePluginApi } from '../../device-plugin/proto/services.ts';
import type { FakeKubelet } from '../support/fake-kubelet.ts';
import { GRPC_GO_CONNECTION } from '../support/grpc-go-bytes.ts';
import { MEMORY, PluginBench, slices } from '../support/plugin-bench.ts';

let bench: PluginBench;
let kubelet: FakeKubelet;
let plugin: DevicePlugin;
let allocations = 0;

beforeEach(async () => {
  allocations = 0;
  bench = new PluginBench();
  kubelet = await bench.kubelet();
  plugin = bench.plugin({
    handlers: {
      allocate: () => {
        allocations += 1;
        return Promise.resolve({});
      },
    },
  });
  plugin.setDevices(slices(8));
  await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === 8, 'the list');
});
afterEach(() => bench.close());

async function stillServes(): Promise<void> {
  const before = allocations;
  const uid = `after-${before}`;
  await kubelet.run({ uid, namespace: 'default', name: uid, containers: [{ name: 'c', limits: { [MEMORY]: 1 } }] });
  kubelet.remove(uid);
  expect(allocations).toBe(before + 1);
  expect(plugin.status()).toMatchObject({ registered: true, streams: 1 });
}

/** Sends the pieces one after the other and resolves with what came back when the peer or `until` ends it. */
function exchange(pieces: readonly Uint8Array[], until: (received: Buffer) => boolean): Promise<Buffer> {
  return new Promise((resolve) => {
    const received: Buffer[] = [];
    const socket = connect(plugin.status().socketPath ?? '');
    socket.on('data', (chunk: Buffer) => {
      received.push(chunk);
      if (until(Buffer.concat(received))) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      resolve(Buffer.concat(received));
    });
    for (const piece of pieces) socket.write(piece);
  });
}

/** Types, flags and streams of the frames that the server sent. */
function framesOf(bytes: Buffer): { type: number; flags: number; stream: number }[] {
  const frames = [];
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    frames.push({ type: bytes.readUInt8(at + 3), flags: bytes.readUInt8(at + 4), stream: bytes.readUInt32BE(at + 5) });
  }
  return frames;
}

const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const END_STREAM = 1;

function answeredStreams(bytes: Buffer): number[] {
  return framesOf(bytes)
    .filter(({ type, flags }) => type === HEADERS && (flags & END_STREAM) !== 0)
    .map(({ stream }) => stream);
}

describe('the recorded connection of grpc-go 1.27', () => {
  it.each([
    ['whole', [GRPC_GO_CONNECTION]],
    ['byte by byte', [...GRPC_GO_CONNECTION].map((byte) => Buffer.from([byte]))],
  ])('is served when it comes %s, both calls of it', async (_how, pieces) => {
    const received = await exchange(pieces, (bytes) => answeredStreams(bytes).length === 2);
    expect(answeredStreams(received)).toEqual([1, 3]);
    expect(framesOf(received).some(({ type }) => type === RST_STREAM)).toBe(false);
    expect(received.includes('pre_start') || received.includes(Buffer.from([8, 1, 16, 1]))).toBe(true);
  });
});

describe('an authority', () => {
  it.each([
    ['a path, as kubelets before 1.26 send it', '/var/lib/kubelet/device-plugins/x.sock'],
    ['a percent-encoded path', '%2Fvar%2Flib%2Fkubelet%2Fdevice-plugins%2Fx.sock'],
    ['localhost, as new kubelets send it', 'localhost'],
    ['a path shorter than its replacement', '/x'],
    ['one character', '/'],
    ['characters that no host has', 'a b"<>{}|\\^`'],
    ['a path larger than the header table', `/${'long/'.repeat(1_000)}`],
  ])('that is %s is served, call after call on one connection', async (_kind, authority) => {
    const { devicePlugin } = loadDevicePluginApi();
    const client = new Client(`unix:${plugin.status().socketPath ?? ''}`, credentials.createInsecure(), {
      'grpc.default_authority': authority,
    });
    const { path, requestSerialize, responseDeserialize } = devicePlugin.GetDevicePluginOptions;
    for (let call = 0; call < 5; call++) {
      const options = await new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, (error, response) => {
          if (error === null) resolve(response);
          else reject(error);
        });
      });
      expect(options).toEqual({ pre_start_required: true, get_preferred_allocation_available: true });
    }
    client.close();
  });
});

describe('the dynamic table of header compression', () => {
  it('stays the same on both sides under any sequence of headers and authorities', async () => {
    const seen: IncomingHttpHeaders[] = [];
    const http2 = createHttp2Server();
    http2.on('stream', (stream, headers) => {
      seen.push(headers);
      stream.respond({ ':status': 200 }, { endStream: true });
    });
    const socketPath = join(bench.directory, 'table');
    const listener = createServer({ allowHalfOpen: true }, (socket) => {
      http2.emit('connection', new KubeletConnection(socket, () => undefined));
    });
    await new Promise<void>((resolve) => {
      listener.listen(socketPath, resolve);
    });
    // Values that together just about fill the table, so that the client refers to entries which are about to leave it.
    const authority = fc.oneof(
      fc.stringMatching(/^\/[a-z]{0,4}$/),
      fc.stringMatching(/^\/[ -~]{0,60}$/),
      fc.constant('localhost'),
    );
    const value = fc.integer({ min: 0, max: 17 }).map((number) => String.fromCharCode(65 + number).repeat(190));
    const names = ['x-a', 'x-b'] as const;
    const request = fc.record({ authority, values: fc.tuple(value, value) });
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 80, size: 'max' }), async (requests) => {
        seen.length = 0;
        const session = connectHttp2('http://localhost', { createConnection: () => connect(socketPath) });
        for (const { authority, values } of requests) {
          await answered(session, {
            ':authority': authority,
            ...Object.fromEntries(names.map((name, i) => [name, values[i]])),
          });
        }
        session.close();
        expect(seen.map((headers) => names.map((name) => headers[name]))).toEqual(requests.map(({ values }) => values));
      }),
      { seed: 17, numRuns: 30 },
    );
    listener.close();
  });
});

function answered(session: ClientHttp2Session, headers: Record<string, string | undefined>): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = session.request(headers);
    request.on('response', () => {
      resolve();
    });
    request.on('error', reject);
    request.resume();
  });
}

describe('input that no kubelet sends', () => {
  it('of another protocol ends that connection, is reported, and hurts nobody else', async () => {
    const received = await exchange([Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')], () => false);
    expect(framesOf(received).every(({ type }) => type === SETTINGS)).toBe(true);
    expect(bench.eventsOf('connection-refused')).toEqual([
      { kind: 'connection-refused', message: 'the connection does not start as HTTP/2' },
    ]);
    await stillServes();
  });

  it('of random and damaged bytes is survived', async () => {
    const damaged = fc
      .array(fc.record({ at: fc.nat(GRPC_GO_CONNECTION.length - 1), byte: fc.nat(255) }), {
        minLength: 1,
        maxLength: 8,
      })
      .map((damages) => {
        const bytes = Buffer.from(GRPC_GO_CONNECTION);
        for (const { at, byte } of damages) bytes[at] = byte;
        return bytes;
      });
    const afterPreface = fc
      .uint8Array({ maxLength: 300 })
      .map((bytes) => Buffer.concat([GRPC_GO_CONNECTION.subarray(0, 33), bytes]));
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged, afterPreface), async (bytes) => {
        await new Promise<void>((resolve) => {
          const socket = connect(plugin.status().socketPath ?? '');
          socket.on('error', () => undefined);
          socket.on('close', () => {
            resolve();
          });
          socket.resume();
          socket.end(bytes, () => {
            setImmediate(() => socket.destroy());
          });
        });
      }),
      { seed: 19, numRuns: 300 },
    );
    await stillServes();
  });

  it('of random messages to every call is answered with a result or an error', async () => {
    const client = new Client(`unix:${plugin.status().socketPath ?? ''}`, credentials.createInsecure());
    const paths = Object.values(loadDevicePluginApi().devicePlugin)
      .filter(({ responseStream }) => !responseStream)
      .map(({ path }) => path);
    const asIs = (bytes: Buffer): Buffer => bytes;
    const id = fc.string({ maxLength: 80 });
    const wire = fc.tuple(fc.constantFrom(0x0a, 0x12, 0x18), fc.array(id)).map(([tag, ids]) => nested(tag, ids));
    const message = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      wire,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...paths, '/v1beta1.DevicePlugin/Unknown', '/'),
        message,
        async (path, bytes) => {
          await new Promise<void>((resolve) => {
            client.makeUnaryRequest(path, asIs, asIs, bytes, { deadline: Date.now() + 10_000 }, () => {
              resolve();
            });
          });
        },
      ),
      { seed: 23, numRuns: 400 },
    );
    client.close();
    await stillServes();
  });

  it('of a message above the limit, or of a call that is dropped half-way, is survived', async () => {
    const client = new Client(`unix:${plugin.status().socketPath ?? ''}`, credentials.createInsecure());
    const { path } = loadDevicePluginApi().devicePlugin.Allocate;
    const asIs = (bytes: Buffer): Buffer => bytes;
    const error = await new Promise<Error | null>((resolve) => {
      client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(5 * 2 ** 20), resolve);
    });
    expect(error?.message).toMatch(/RESOURCE_EXHAUSTED/);
    const dropped = client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), () => undefined);
    dropped.cancel();
    client.close();
    await exchange([GRPC_GO_CONNECTION.subarray(0, 120)], () => true);
    await stillServes();
  });
});

/** A list of strings in a message in a field, as in an AllocateRequest. */
function nested(tag: number, ids: readonly string[]): Buffer {
  const inner = Buffer.concat(
    ids.map((text) => Buffer.concat([Buffer.from([0x0a, Buffer.byteLength(text) % 128]), Buffer.from(text)])),
  ).subarray(0, 127);
  return Buffer.concat([Buffer.from([tag, inner.length]), inner]);
}
