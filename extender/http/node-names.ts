// Reads the list of node names at the end of a filter or prioritize request without building it anew each time.
// kube-scheduler sends thousands of names per pod, nearly always the same ones in nearly the same order, as the last
// field of the body. Each name is compared, byte by byte, with the one that followed its predecessor last time, and the
// string from then is handed out again. Whatever does not look exactly like that is left to JSON.parse.

const FIELD = Buffer.from(',"NodeNames":["');
const QUOTE = 0x22;
const COMMA = 0x2c;
const CLOSE_LIST = 0x5d;
const CLOSE_OBJECT = 0x7d;
const NEWLINE = 0x0a;
/** Names that were never asked about again are forgotten all at once when there are this many. */
const MOST_REMEMBERED = 65_536;

export interface SplitBody {
  /** The JSON text without its last field. */
  readonly head: string;
  readonly names: readonly string[];
}

export class NodeNameReader {
  readonly #positions: Map<string, number> = new Map();
  #names: string[] = [];
  /** Characters of all remembered names, one byte each, and where each name starts. */
  #bytes: Uint8Array = new Uint8Array(65_536);
  #starts: Uint32Array = new Uint32Array(4096);
  /** Which name followed each name last time; the last slot is for the first name of a list. */
  #successor: Uint32Array = new Uint32Array(4096);

  /**
   * Cuts `,"NodeNames":[...]` off the end of `body`. `undefined` unless the body ends with such a list of plain names,
   * each 1 to 253 of the characters that a Kubernetes name may have. That the field is one of the outermost object
   * shows when `head` parses, which only the caller can find out.
   */
  split(body: Uint8Array): SplitBody | undefined {
    let end = body.length;
    if (body[end - 1] === NEWLINE) end -= 1;
    if (body[end - 1] !== CLOSE_OBJECT || body[end - 2] !== CLOSE_LIST || body[end - 3] !== QUOTE) return undefined;
    const text = Buffer.from(body.buffer, body.byteOffset, body.length);
    const field = text.lastIndexOf(FIELD, end);
    if (field < 0) return undefined;
    const names = this.#readNames(body, field + FIELD.length, end - 2);
    return names === undefined ? undefined : { head: `${text.toString('utf8', 0, field)}}`, names };
  }

  /** Names from the first character of the first one to the quote before `listEnd`. */
  #readNames(body: Uint8Array, start: number, listEnd: number): readonly string[] | undefined {
    if (this.#names.length >= MOST_REMEMBERED) this.#forget();
    const names: string[] = [];
    let at = start;
    let previous = 0;
    for (;;) {
      const length = nameLength(body, at, listEnd);
      if (length === 0) return undefined;
      const known = this.#recall(body, at, length, previous);
      names.push(this.#names[known] ?? '');
      previous = known + 1;
      at += length + 1;
      if (at === listEnd) return names;
      if (body[at] !== COMMA || body[at + 1] !== QUOTE) return undefined;
      at += 2;
    }
  }

  /** The number of the name at `at`; guessed from the one before it, else looked up, else remembered from now on. */
  #recall(body: Uint8Array, at: number, length: number, previous: number): number {
    const guess = this.#successor[previous] ?? 0;
    if (this.#isAt(guess, body, at, length)) return guess;
    const name = Buffer.from(body.buffer, body.byteOffset + at, length).toString('latin1');
    const known = this.#positions.get(name) ?? this.#remember(name, body, at);
    this.#successor[previous] = known;
    return known;
  }

  #isAt(known: number, body: Uint8Array, at: number, length: number): boolean {
    const start = this.#starts[known] ?? 0;
    if (known >= this.#names.length || (this.#starts[known + 1] ?? 0) - start !== length) return false;
    const bytes = this.#bytes;
    // Names of one cluster tend to differ at their end.
    for (let each = length - 1; each >= 0; each--) {
      if (bytes[start + each] !== body[at + each]) return false;
    }
    return true;
  }

  #remember(name: string, body: Uint8Array, at: number): number {
    const known = this.#names.length;
    const start = this.#starts[known] ?? 0;
    if (start + name.length > this.#bytes.length)
      this.#bytes = grown(this.#bytes, new Uint8Array(2 * this.#bytes.length));
    if (known + 2 > this.#starts.length) {
      this.#starts = grown(this.#starts, new Uint32Array(2 * this.#starts.length));
      this.#successor = grown(this.#successor, new Uint32Array(2 * this.#successor.length));
    }
    this.#bytes.set(body.subarray(at, at + name.length), start);
    this.#starts[known + 1] = start + name.length;
    this.#names.push(name);
    this.#positions.set(name, known);
    return known;
  }

  #forget(): void {
    this.#positions.clear();
    this.#names = [];
    this.#successor.fill(0);
  }
}

/** Characters up to the closing quote; 0 where it is no plain name. */
function nameLength(body: Uint8Array, start: number, limit: number): number {
  let at = start;
  while (at < limit && isNameByte(body[at] ?? 0)) at++;
  const length = at - start;
  return at < limit && body[at] === QUOTE && length <= 253 ? length : 0;
}

/** Letters, digits, `-` and `.`: no character that JSON would escape. */
function isNameByte(byte: number): boolean {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2e;
}

function grown<T extends Uint8Array | Uint32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
