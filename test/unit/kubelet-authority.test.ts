// The rewrite of `:authority`: real bytes of grpc-go, every framing that HTTP/2 allows, and hostile input.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AuthorityRewriter } from '../../device-plugin/kubelet/authority.ts';
import { withPlainAuthority } from '../../device-plugin/kubelet/header-block.ts';
import { decodeHuffman, MalformedHeadersError } from '../../device-plugin/kubelet/huffman.ts';
import { GRPC_GO_AUTHORITY, GRPC_GO_CONNECTION, GRPC_GO_HEADER_BLOCK, PREFACE } from '../support/grpc-go-bytes.ts';

const FLAG = { endStream: 1, endHeaders: 4, padded: 8, priority: 32 };
const PATH_FIELD = Buffer.concat([Buffer.from([0x04, 2]), Buffer.from('/x')]);

function frame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

function authorityField(representation: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([representation, value.length]), Buffer.from(value)]);
}

function rewritten(...chunks: readonly Buffer[]): Buffer {
  const rewriter = new AuthorityRewriter();
  return Buffer.concat(chunks.flatMap((chunk) => rewriter.push(chunk)));
}

const OLD = '/var/lib/kubelet/device-plugins/x.sock';
const INDEXED = 0x41;

describe('Huffman decoding', () => {
  it.each([
    ['www.example.com', 'f1e3c2e5f23a6ba0ab90f4ff'],
    ['no-cache', 'a8eb10649cbf'],
    ['custom-value', '25a849e95bb8e8b4bf'],
    ['Mon, 21 Oct 2013 20:13:21 GMT', 'd07abe941054d444a8200595040b8166e082a62d1bff'],
    ['', ''],
  ])('gives %j, an example of RFC 7541', (text, encoded) => {
    expect(decodeHuffman(Buffer.from(encoded, 'hex')).toString()).toBe(text);
  });

  it.each([
    ['padding that is not all ones', 'f1e3c2e5f23a6ba0ab90f400'],
    ['padding longer than seven bits', 'f1e3c2e5f23a6ba0ab90f4ffff'],
    ['the end-of-string code', 'ffffffff'],
  ])('refuses %s', (_what, encoded) => {
    expect(() => decodeHuffman(Buffer.from(encoded, 'hex'))).toThrow(MalformedHeadersError);
  });
});

describe('a header block', () => {
  it.each([
    ['with a socket path that enters the table', authorityField(INDEXED, OLD), authorityField(INDEXED, 'localhost')],
    ['with a socket path outside the table', authorityField(0x01, OLD), authorityField(0x01, 'localhost')],
    ['with a socket path that never enters a table', authorityField(0x11, OLD), authorityField(0x11, 'localhost')],
    ['with a path shorter than the replacement', authorityField(INDEXED, '/a.sk'), authorityField(INDEXED, 'local')],
    ['with an empty authority outside the table', authorityField(0x01, ''), authorityField(0x01, 'localhost')],
    ['with the static empty authority', Buffer.from([0x81]), authorityField(0x01, 'localhost')],
  ])('%s is corrected and nothing around it changes', (_what, before, after) => {
    const block = Buffer.concat([Buffer.from([0x83, 0x86]), before, PATH_FIELD]);
    expect(withPlainAuthority(block)).toEqual(Buffer.concat([Buffer.from([0x83, 0x86]), after, PATH_FIELD]));
  });

  it.each([
    ['localhost, as new kubelets send it', authorityField(INDEXED, 'localhost')],
    ['a percent-encoded path', authorityField(INDEXED, '%2Fvar%2Flib%2Fkubelet%2Fx.sock')],
    ['an empty authority that enters the table, where any other value would be longer', authorityField(INDEXED, '')],
    ['a path in another header', PATH_FIELD],
    [
      'a header with a literal name',
      Buffer.concat([Buffer.from([0x40, 1]), Buffer.from('a'), Buffer.from([1]), Buffer.from('/')]),
    ],
    ['a change of the table size', Buffer.from([0x3f, 0xe1, 0x1f, 0x83])],
  ])('with %s is handed back as it is', (_what, field) => {
    const block = Buffer.concat([Buffer.from([0x83]), field]);
    expect(withPlainAuthority(block)).toBe(block);
  });

  it('of grpc-go keeps its length in the table or becomes shorter, whatever its authority', () => {
    const before = GRPC_GO_HEADER_BLOCK;
    const after = withPlainAuthority(before);
    const authority = Buffer.concat([Buffer.from([0x41, 9]), Buffer.from('localhost')]);
    expect(decodeHuffman(before.subarray(38, 66)).toString()).toBe(GRPC_GO_AUTHORITY);
    expect(after).toEqual(Buffer.concat([before.subarray(0, 36), authority, before.subarray(66)]));
  });

  it.each([
    ['ends inside a string', [0x41, 5, 0x61]],
    ['ends inside an integer', [0x41, 0x7f, 0x80]],
    ['holds an endless integer', [0x41, 0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]],
    ['holds a string of gigabytes', [0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x7f]],
  ])('that %s is refused', (_what, bytes) => {
    expect(() => withPlainAuthority(Buffer.from(bytes))).toThrow(MalformedHeadersError);
  });
});

describe('a connection', () => {
  const block = Buffer.concat([Buffer.from([0x83]), authorityField(INDEXED, OLD), PATH_FIELD]);
  const plain = Buffer.concat([Buffer.from([0x83]), authorityField(INDEXED, 'localhost'), PATH_FIELD]);
  const data = frame(0, FLAG.endStream, 1, Buffer.from('/var/lib/kubelet is data here'));
  const expected = Buffer.concat([PREFACE, frame(1, FLAG.endHeaders, 1, plain), data]);
  const priority = Buffer.from([0x80, 0, 0, 3, 200]);

  it.each([
    ['one HEADERS frame', [frame(1, FLAG.endHeaders, 1, block)]],
    [
      'padding',
      [frame(1, FLAG.endHeaders | FLAG.padded, 1, Buffer.concat([Buffer.from([4]), block, Buffer.alloc(4)]))],
    ],
    [
      'continuations, one of them empty',
      [
        frame(1, 0, 1, block.subarray(0, 3)),
        frame(9, 0, 1, block.subarray(3, 3)),
        frame(9, 0, 1, block.subarray(3, 20)),
        frame(9, FLAG.endHeaders, 1, block.subarray(20)),
      ],
    ],
    ['an empty HEADERS frame and one continuation', [frame(1, 0, 1, Buffer.alloc(0)), frame(9, 4, 1, block)]],
  ])('that sends the block as %s gets the same corrected frame', (_framing, frames) => {
    expect(rewritten(PREFACE, ...frames, data)).toEqual(expected);
  });

  it('keeps the priority of a HEADERS frame and drops its padding', () => {
    const flags = FLAG.endHeaders | FLAG.padded | FLAG.priority | FLAG.endStream;
    const sent = frame(1, flags, 5, Buffer.concat([Buffer.from([2]), priority, block, Buffer.alloc(2)]));
    const kept = FLAG.endHeaders | FLAG.priority | FLAG.endStream;
    expect(rewritten(PREFACE, sent)).toEqual(
      Buffer.concat([PREFACE, frame(1, kept, 5, Buffer.concat([priority, plain]))]),
    );
  });

  it('splits a corrected block that is larger than a frame', () => {
    const large = Buffer.concat([block, ...Array.from({ length: 400 }, () => authorityField(0x04, 'p'.repeat(100)))]);
    const frames = [frame(1, 0, 1, large.subarray(0, 16_384)), frame(9, 0, 1, large.subarray(16_384, 32_768))];
    const output = rewritten(PREFACE, ...frames, frame(9, FLAG.endHeaders, 1, large.subarray(32_768))).subarray(24);
    const payloads: Buffer[] = [];
    for (let at = 0; at < output.length; at += 9 + output.readUIntBE(at, 3)) {
      payloads.push(output.subarray(at + 9, at + 9 + output.readUIntBE(at, 3)));
    }
    expect(payloads.map(({ length }) => length)).toEqual([16_384, 16_384, large.length - 29 - 32_768]);
    expect(Buffer.concat(payloads)).toEqual(withPlainAuthority(large));
  });

  it('may be cut anywhere', () => {
    const whole = rewritten(GRPC_GO_CONNECTION);
    expect(whole.includes('localhost')).toBe(true);
    fc.assert(
      fc.property(fc.array(fc.nat(GRPC_GO_CONNECTION.length)), (cuts) => {
        const edges = [0, ...cuts.toSorted((a, b) => a - b), GRPC_GO_CONNECTION.length];
        const chunks = edges.slice(1).map((end, index) => GRPC_GO_CONNECTION.subarray(edges[index], end));
        expect(rewritten(...chunks)).toEqual(whole);
      }),
      { seed: 7, numRuns: 200 },
    );
    const bytes = [...GRPC_GO_CONNECTION].map((byte) => Buffer.from([byte]));
    expect(rewritten(...bytes)).toEqual(whole);
  });

  it('of a new kubelet passes byte for byte, padding and continuations included', () => {
    const good = Buffer.concat([Buffer.from([0x83]), authorityField(INDEXED, 'localhost'), PATH_FIELD]);
    const padded = frame(1, FLAG.padded, 1, Buffer.concat([Buffer.from([1]), good.subarray(0, 4), Buffer.alloc(1)]));
    const sent = Buffer.concat([PREFACE, padded, frame(9, FLAG.endHeaders, 1, good.subarray(4)), data]);
    expect(rewritten(sent)).toEqual(sent);
  });

  it.each([
    ['does not start as HTTP/2', [Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')]],
    ['sends another frame inside a header block', [PREFACE, frame(1, 0, 1, block), data]],
    ['continues another stream', [PREFACE, frame(1, 0, 1, block), frame(9, FLAG.endHeaders, 3, block)]],
    ['continues without a start', [PREFACE, frame(9, FLAG.endHeaders, 1, block)]],
    ['pads more than it sends', [PREFACE, frame(1, FLAG.endHeaders | FLAG.padded, 1, Buffer.from([9, 0x83]))]],
    ['is too short for its priority', [PREFACE, frame(1, FLAG.endHeaders | FLAG.priority, 1, Buffer.alloc(3))]],
    ['sends an empty padded frame', [PREFACE, frame(1, FLAG.endHeaders | FLAG.padded, 1, Buffer.alloc(0))]],
    ['sends a header frame above 16 KiB', [PREFACE, frame(1, FLAG.endHeaders, 1, Buffer.alloc(16_385))]],
    [
      'never ends its header block',
      [PREFACE, frame(1, 0, 1, block), ...Array<Buffer>(64).fill(frame(9, 0, 1, PATH_FIELD))],
    ],
    [
      'sends more than 64 KiB of headers',
      [PREFACE, frame(1, 0, 1, block), ...Array<Buffer>(5).fill(frame(9, 0, 1, Buffer.alloc(16_000)))],
    ],
  ])('that %s is refused', (_what, chunks) => {
    expect(() => rewritten(...chunks)).toThrow(MalformedHeadersError);
  });

  it('with random or damaged bytes is served or refused, and nothing else happens', () => {
    const damaged = fc
      .array(fc.record({ at: fc.nat(GRPC_GO_CONNECTION.length - 1), byte: fc.nat(255) }), { maxLength: 6 })
      .map((damages) => {
        const bytes = Buffer.from(GRPC_GO_CONNECTION);
        for (const { at, byte } of damages) bytes[at] = byte;
        return bytes;
      });
    const random = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.concat([PREFACE, bytes]));
    fc.assert(
      fc.property(fc.oneof(damaged, random), (bytes) => {
        try {
          const output = rewritten(bytes);
          expect(output.length).toBeLessThanOrEqual(bytes.length + 64);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedHeadersError);
        }
      }),
      { seed: 11, numRuns: 3_000 },
    );
  });
});
