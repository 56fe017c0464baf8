// One HPACK header block (RFC 7541): makes `:authority` acceptable to Node's HTTP/2 and leaves everything else alone.
// Keeps no dynamic table and needs none: a replaced value is never longer than the original, so the decoder's table
// always holds at least the entries that the encoder still refers to, in the same order. Pure.

import { decodeHuffman, MalformedHeadersError } from './huffman.ts';

const PLAIN_AUTHORITY = 'localhost';
/** What Node serves; kubelets before 1.26 send the path of the socket, and `/` is not in this set. */
const ACCEPTABLE = /^[A-Za-z0-9._~%:[\]-]+$/;

const INDEXED_EMPTY_AUTHORITY = 0x81;
const LITERAL_AUTHORITY = { indexed: 0x41, notIndexed: 0x01, neverIndexed: 0x11 } as const;
/** Larger integers than this have no place in a header block that we accept. */
const MAX_INTEGER = 2 ** 24;

/** Returns the same buffer when there is nothing to replace. */
export function withPlainAuthority(block: Buffer): Buffer {
  const reader = new BlockReader(block);
  const pieces: Buffer[] = [];
  let copiedUpTo = 0;
  while (!reader.atEnd) {
    const start = reader.position;
    const replacement = replacementOfNextField(reader);
    if (replacement === undefined) continue;
    pieces.push(block.subarray(copiedUpTo, start), replacement);
    copiedUpTo = reader.position;
  }
  if (copiedUpTo === 0) return block;
  pieces.push(block.subarray(copiedUpTo));
  return Buffer.concat(pieces);
}

function replacementOfNextField(reader: BlockReader): Buffer | undefined {
  const first = reader.peek();
  if (first === INDEXED_EMPTY_AUTHORITY) {
    reader.integer(7);
    return literal(LITERAL_AUTHORITY.notIndexed, PLAIN_AUTHORITY);
  }
  if (first >= 0x80) {
    reader.integer(7);
    return undefined;
  }
  if (first >= 0x20 && first < 0x40) {
    // A change of the table's size.
    reader.integer(5);
    return undefined;
  }
  const nameIndex = reader.integer(first >= 0x40 ? 6 : 4);
  if (nameIndex === 0) reader.string();
  const value = reader.string();
  return nameIndex === 1 ? replacementOfLiteral(first, value) : undefined;
}

function replacementOfLiteral(first: number, value: HpackString): Buffer | undefined {
  const original = value.isHuffman ? decodeHuffman(value.bytes) : value.bytes;
  if (ACCEPTABLE.test(original.toString('latin1'))) return undefined;
  if (first !== LITERAL_AUTHORITY.indexed) return literal(first, PLAIN_AUTHORITY);
  // The entry goes into the dynamic table: a longer value could push out an entry that the encoder still uses.
  const shortened = PLAIN_AUTHORITY.slice(0, original.length);
  return shortened === '' ? undefined : literal(first, shortened);
}

function literal(representation: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([representation, value.length]), Buffer.from(value, 'latin1')]);
}

interface HpackString {
  readonly isHuffman: boolean;
  readonly bytes: Buffer;
}

class BlockReader {
  readonly #block: Buffer;
  #position = 0;

  constructor(block: Buffer) {
    this.#block = block;
  }

  get position(): number {
    return this.#position;
  }

  get atEnd(): boolean {
    return this.#position >= this.#block.length;
  }

  peek(): number {
    const byte = this.#block[this.#position];
    if (byte === undefined) throw new MalformedHeadersError('a header block ends in the middle of a field');
    return byte;
  }

  /** An integer whose first byte has `prefixBits` bits of it (RFC 7541, 5.1). */
  integer(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1;
    let value = this.#next() & mask;
    if (value < mask) return value;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#next();
      value += (byte & 0x7f) * factor;
      if (value > MAX_INTEGER || factor > MAX_INTEGER) {
        throw new MalformedHeadersError('a header block holds an integer beyond all sizes');
      }
      if (byte < 0x80) return value;
    }
  }

  string(): HpackString {
    const isHuffman = this.peek() >= 0x80;
    const length = this.integer(7);
    const end = this.#position + length;
    if (end > this.#block.length) throw new MalformedHeadersError('a header string is longer than its block');
    const bytes = this.#block.subarray(this.#position, end);
    this.#position = end;
    return { isHuffman, bytes };
  }

  #next(): number {
    const byte = this.peek();
    this.#position += 1;
    return byte;
  }
}
