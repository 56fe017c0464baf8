// Buffers for request bodies and for answers, used again and again: memory outside the heap makes the garbage collector
// run, and calls about thousands of nodes take a lot of it.

/** A buffer that grows. */
export class Page {
  #bytes: Buffer<ArrayBuffer>;
  #length = 0;

  constructor(bytes: number) {
    this.#bytes = Buffer.allocUnsafeSlow(bytes);
  }

  get capacity(): number {
    return this.#bytes.length;
  }

  clear(): void {
    this.#length = 0;
  }

  text(text: string): void {
    this.reserve(text.length * 3);
    this.#length += this.#bytes.write(text, this.#length);
  }

  byte(value: number): void {
    this.reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** A short stretch of other bytes: a loop costs less than a call into the runtime. */
  copy(from: Uint8Array, start: number, end: number): void {
    this.reserve(end - start);
    const bytes = this.#bytes;
    let to = this.#length;
    for (let at = start; at < end; at++) bytes[to++] = from[at] ?? 0;
    this.#length = to;
  }

  copyLong(from: Uint8Array, start: number, end: number): void {
    this.reserve(end - start);
    this.#bytes.set(from.subarray(start, end), this.#length);
    this.#length += end - start;
  }

  /** Takes the last byte back. */
  back(): void {
    this.#length--;
  }

  /** What was written; it changes when the page is written anew. */
  content(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const bytes = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#length + more));
    this.#bytes.copy(bytes, 0, 0, this.#length);
    this.#bytes = bytes;
  }
}

const FIRST_BYTES = 16 * 1024;
/** kube-scheduler asks for one pod after another; a few more are for several of them. */
const MOST_SPARE = 4;
/** A larger page served a request that nobody expects again. */
const LARGEST_SPARE_BYTES: number = 4 * 1024 * 1024;

/** Pages between two answers. */
export class Pages {
  readonly #spare: Page[] = [];

  take(): Page {
    const page = this.#spare.pop() ?? new Page(FIRST_BYTES);
    page.clear();
    return page;
  }

  /** Call it once nobody reads the content any more. */
  giveBack(page: Page): void {
    if (this.#spare.length < MOST_SPARE && page.capacity <= LARGEST_SPARE_BYTES) this.#spare.push(page);
  }
}
