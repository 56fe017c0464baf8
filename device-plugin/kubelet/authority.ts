// Lets Node's HTTP/2 serve kubelets older than 1.26, which send the socket's path as `:authority`: the frames of one
// client are read, header blocks corrected, everything else passed on byte by byte. One rewriter per connection.
// Must not hold more than one header block (64 KiB) of a connection; throws MalformedHeadersError on anything that no
// HTTP/2 client sends, and is useless afterwards. Synchronous.

import { withPlainAuthority } from './header-block.ts';
import { MalformedHeadersError } from './huffman.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const FRAME_HEADER_BYTES = 9;
const PRIORITY_BYTES = 5;
const FRAME_TYPE = { headers: 1, continuation: 9 } as const;
const FLAG = { endHeaders: 0x04, padded: 0x08, priority: 0x20 } as const;

/** The server never raises SETTINGS_MAX_FRAME_SIZE, so a header frame cannot be larger. */
const MAX_HEADER_FRAME_BYTES = 16_384;
const MAX_BLOCK_BYTES = 65_536;
const MAX_CONTINUATIONS = 64;

/** A HEADERS frame whose block is not complete yet. */
interface OpenBlock {
  readonly streamId: number;
  readonly flags: number;
  readonly priority: Buffer;
  readonly fragments: Buffer[];
  /** The frames as they came, to be passed on when nothing in them changes. */
  readonly frames: Buffer[];
  bytes: number;
}

type Reading = 'preface' | 'frame header' | 'header frame';

export class AuthorityRewriter {
  #reading: Reading = 'preface';
  #wanted: Buffer = Buffer.alloc(PREFACE.length);
  #filled = 0;
  /** Bytes of the current frame that only pass through. */
  #passing = 0;
  #open: OpenBlock | undefined;

  /** Takes the next bytes of the client and returns what the server is to read. */
  push(chunk: Buffer): Buffer[] {
    const output: Buffer[] = [];
    let position = 0;
    while (position < chunk.length) {
      if (this.#passing > 0) {
        const piece = chunk.subarray(position, position + this.#passing);
        output.push(piece);
        this.#passing -= piece.length;
        position += piece.length;
      } else {
        const copied = chunk.copy(this.#wanted, this.#filled, position);
        this.#filled += copied;
        position += copied;
        if (this.#filled === this.#wanted.length) this.#onFilled(output);
      }
    }
    return output;
  }

  #onFilled(output: Buffer[]): void {
    const bytes = this.#wanted;
    switch (this.#reading) {
      case 'preface':
        if (!bytes.equals(PREFACE)) throw new MalformedHeadersError('the connection does not start as HTTP/2');
        output.push(bytes);
        this.#expectFrame();
        return;
      case 'frame header':
        this.#onFrameHeader(bytes, output);
        return;
      case 'header frame':
        this.#expectFrame();
        this.#onHeaderFrame(bytes, output);
        return;
    }
  }

  #expectFrame(): void {
    this.#expect('frame header', Buffer.allocUnsafe(FRAME_HEADER_BYTES), 0);
  }

  #expect(reading: Reading, wanted: Buffer, filled: number): void {
    this.#reading = reading;
    this.#wanted = wanted;
    this.#filled = filled;
  }

  #onFrameHeader(header: Buffer, output: Buffer[]): void {
    const length = header.readUIntBE(0, 3);
    const type = header.readUInt8(3);
    if ((this.#open !== undefined) !== (type === FRAME_TYPE.continuation)) {
      throw new MalformedHeadersError('a CONTINUATION frame is missing or out of place');
    }
    if (type !== FRAME_TYPE.headers && type !== FRAME_TYPE.continuation) {
      output.push(header);
      this.#passing = length;
      this.#expectFrame();
      return;
    }
    if (length > MAX_HEADER_FRAME_BYTES) throw new MalformedHeadersError('a header frame is larger than 16 KiB');
    const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + length);
    header.copy(frame);
    this.#expect('header frame', frame, FRAME_HEADER_BYTES);
    if (length === 0) this.#onFilled(output);
  }

  #onHeaderFrame(frame: Buffer, output: Buffer[]): void {
    const block = this.#open === undefined ? openBlock(frame) : continueBlock(this.#open, frame);
    if ((frame.readUInt8(4) & FLAG.endHeaders) === 0) {
      this.#open = block;
      return;
    }
    this.#open = undefined;
    const original = block.fragments.length === 1 ? (block.fragments[0] ?? frame) : Buffer.concat(block.fragments);
    const rewritten = withPlainAuthority(original);
    output.push(...(rewritten === original ? block.frames : framesOf(block, rewritten)));
  }
}

function openBlock(frame: Buffer): OpenBlock {
  const flags = frame.readUInt8(4);
  let start = FRAME_HEADER_BYTES;
  let end = frame.length;
  if ((flags & FLAG.padded) !== 0) {
    end -= frame[start] ?? frame.length;
    start += 1;
  }
  const priorityEnd = start + ((flags & FLAG.priority) === 0 ? 0 : PRIORITY_BYTES);
  if (priorityEnd > end) throw new MalformedHeadersError('a HEADERS frame is shorter than its padding and priority');
  const fragment = frame.subarray(priorityEnd, end);
  return {
    streamId: frame.readUInt32BE(5),
    flags,
    priority: frame.subarray(start, priorityEnd),
    fragments: [fragment],
    frames: [frame],
    bytes: fragment.length,
  };
}

function continueBlock(block: OpenBlock, frame: Buffer): OpenBlock {
  if (frame.readUInt32BE(5) !== block.streamId) {
    throw new MalformedHeadersError('a CONTINUATION frame belongs to another stream');
  }
  const fragment = frame.subarray(FRAME_HEADER_BYTES);
  block.fragments.push(fragment);
  block.frames.push(frame);
  block.bytes += fragment.length;
  if (block.bytes > MAX_BLOCK_BYTES || block.frames.length > MAX_CONTINUATIONS) {
    throw new MalformedHeadersError('a header block is larger than 64 KiB or comes in too many frames');
  }
  return block;
}

/** The block as frames of its own: priority kept, padding dropped (it counts for nothing in HEADERS). */
function framesOf(block: OpenBlock, rewritten: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  let position = 0;
  do {
    const isFirst = frames.length === 0;
    const lead = isFirst ? block.priority : Buffer.alloc(0);
    const fragment = rewritten.subarray(position, position + MAX_HEADER_FRAME_BYTES - lead.length);
    position += fragment.length;
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUIntBE(lead.length + fragment.length, 0, 3);
    header.writeUInt8(isFirst ? FRAME_TYPE.headers : FRAME_TYPE.continuation, 3);
    const kept = isFirst ? block.flags & ~(FLAG.padded | FLAG.endHeaders) : 0;
    header.writeUInt8(kept | (position >= rewritten.length ? FLAG.endHeaders : 0), 4);
    header.writeUInt32BE(block.streamId, 5);
    frames.push(header, lead, fragment);
  } while (position < rewritten.length);
  return frames;
}
