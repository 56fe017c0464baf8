// Lines of a text file, plain or gzipped, whatever its size: at most one line and one chunk are in memory.
// Owns decoding, line ends and the bound on line length; knows nothing of what the lines mean. One reader per file.

import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import { createGunzip } from 'node:zlib';

import { faultAt, TraceFault } from './fault.ts';

const CHUNK_BYTES = 1 << 18;
const LINE_FEED = 10;

/** Takes each line without its end; `line` counts from 1. May throw a `TraceFault`. */
export type TakeLine = (text: string, line: number) => void;

/** Gives every line of the file to `take`, in order. A line of more than `maxLineBytes` is a fault. */
export async function readLines(file: string, maxLineBytes: number, take: TakeLine): Promise<void> {
  const splitter = new LineSplitter(file, maxLineBytes, take);
  const isGzip = startsLikeGzip(file);
  try {
    for await (const chunk of isGzip ? unzipped(file) : chunksOf(file)) splitter.write(chunk);
  } catch (error) {
    if (error instanceof TraceFault) throw error;
    throw isGzip ? gzipFault(file, splitter.line, error) : unreadable(file, error);
  }
  splitter.end();
}

/** The file's bytes; each chunk is valid until the next one. Nobody else waits for this process, so it need not. */
function* chunksOf(file: string): Generator<Buffer> {
  const handle = openSync(file, 'r');
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let length = -1; length !== 0;) {
      length = readSync(handle, chunk);
      if (length > 0) yield chunk.subarray(0, length);
    }
  } finally {
    closeSync(handle);
  }
}

async function* unzipped(file: string): AsyncGenerator<Buffer> {
  const source = createReadStream(file, { highWaterMark: CHUNK_BYTES });
  const stream = source.pipe(createGunzip({ chunkSize: CHUNK_BYTES }));
  // `pipe` does not pass on errors of the source.
  source.on('error', (error) => stream.destroy(error));
  try {
    for await (const chunk of stream) yield chunkOf(chunk);
  } finally {
    source.destroy();
  }
}

function chunkOf(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk;
  throw new TypeError('a byte stream gives buffers');
}

function startsLikeGzip(file: string): boolean {
  const head = Buffer.alloc(2);
  try {
    const handle = openSync(file, 'r');
    try {
      readSync(handle, head, 0, 2, 0);
    } finally {
      closeSync(handle);
    }
  } catch (error) {
    throw unreadable(file, error);
  }
  return head[0] === 0x1f && head[1] === 0x8b;
}

class LineSplitter {
  line = 1;
  readonly #file: string;
  readonly #maxBytes: number;
  readonly #take: TakeLine;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  /** The start of a line whose end has not come yet. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  constructor(file: string, maxBytes: number, take: TakeLine) {
    this.#file = file;
    this.#maxBytes = maxBytes;
    this.#take = take;
  }

  write(chunk: Buffer): void {
    const end = chunk.lastIndexOf(LINE_FEED);
    if (end < 0) {
      this.#keep(chunk);
      return;
    }
    const head = chunk.subarray(0, end);
    const whole = this.#pending.length === 0 ? head : Buffer.concat([...this.#pending, head]);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#split(whole);
    this.#keep(chunk.subarray(end + 1));
  }

  /** The file is over: what is left is its last line, unless it ended with a line end. */
  end(): void {
    if (this.#pendingBytes > 0) this.#split(Buffer.concat(this.#pending));
    this.#pending = [];
  }

  #keep(rest: Buffer): void {
    if (rest.length === 0) return;
    this.#pendingBytes += rest.length;
    if (this.#pendingBytes > this.#maxBytes) throw this.#tooLong();
    // The memory of a chunk is used again.
    this.#pending.push(Buffer.from(rest));
  }

  #split(whole: Buffer): void {
    for (const text of this.#decode(whole).split('\n')) {
      if (text.length > this.#maxBytes) throw this.#tooLong();
      this.#take(text.endsWith('\r') ? text.slice(0, -1) : text, this.line);
      this.line++;
    }
  }

  #decode(whole: Buffer): string {
    try {
      return this.#decoder.decode(whole);
    } catch (error) {
      const mend = 'save the file as UTF-8 text, or gzip that holds such text';
      throw faultAt(this.#file, this.line, `this or a later line is not text (${reasonOf(error)})`, mend);
    }
  }

  #tooLong(): TraceFault {
    const what = `the line is longer than ${this.#maxBytes} bytes`;
    return faultAt(this.#file, this.line, what, 'is it the right file, with one record on each line?');
  }
}

function gzipFault(file: string, line: number, error: unknown): TraceFault {
  const mend = 'the gzip file is cut short or damaged; fetch or compress it again';
  return faultAt(file, line, `cannot be decompressed (${reasonOf(error)})`, mend);
}

function unreadable(file: string, error: unknown): TraceFault {
  return new TraceFault(`${file}: cannot be read (${reasonOf(error)}); check the path and its permissions`);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
