// The items of a Kubernetes `List` document, one by one as its bytes come in: a list of a big cluster is hundreds of
// megabytes, and only one item of it is ever in memory. Owns the outer form of the document; what an item means is the
// caller's. One reader for each document.

import { Buffer } from 'node:buffer';

import { quoted, TraceFault } from '../trace/fault.ts';

/** `at` counts items from 0. May throw a `TraceFault`. */
export type TakeItem = (item: unknown, at: number) => void;

const MAX_ITEM_BYTES: number = 8 << 20;
const MAX_HEAD_BYTES: number = 1 << 20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const BYTE_ORDER_MARK: Buffer = Buffer.from([0xef, 0xbb, 0xbf]);
/** Depth between the items: inside the document's object and its list. */
const LIST_DEPTH = 2;
const HOW = 'write one with: kubectl get nodes,pods -A -o json';

export class ListReader {
  readonly #file: string;
  readonly #take: TakeItem;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  /** The document without its items. */
  #head: Buffer[] = [];
  #headBytes = 0;
  #item: Buffer[] = [];
  #itemBytes = 0;
  #items = 0;
  #bytes = 0;
  #depth = 0;
  #hasBegun = false;
  #isInString = false;
  #isEscaped = false;
  /** Where we are: before, in and after the list of items. */
  #phase: 'before' | 'items' | 'after' = 'before';
  #wantsComma = false;
  #hasTrailingComma = false;
  /** The last string at the top of the document, and the key whose value comes next. */
  #word = '';
  #key = '';

  constructor(file: string, take: TakeItem) {
    this.#file = file;
    this.#take = take;
  }

  write(chunk: Buffer): void {
    let from = this.#bytes === 0 && chunk.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK) ? 3 : 0;
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0;
      if (this.#isInString) {
        at = this.#skipString(chunk, at);
        continue;
      }
      if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) continue;
      if (this.#depth === LIST_DEPTH && this.#phase === 'items') from = this.#between(chunk, at, byte);
      else from = this.#within(chunk, at, byte, from);
    }
    this.#keep(chunk.subarray(from));
    this.#bytes += chunk.length;
  }

  /** The document is over. Gives its own fields, items left out. */
  end(): Readonly<Record<string, unknown>> {
    if (!this.#hasBegun) throw this.#fault('', 'the document is empty', HOW);
    if (this.#depth > 0 || this.#isInString) {
      const path = this.#phase === 'items' ? `items[${this.#items}]` : '';
      const mend = 'the command that wrote it did not end well; run it again';
      throw this.#fault(path, `the document is cut short after ${this.#bytes} bytes`, mend);
    }
    const value = this.#parse(this.#decode(Buffer.concat(this.#head), ''), '');
    if (this.#phase !== 'after') throw this.#noList(value);
    return value;
  }

  /** From a byte inside a string; returns where its closing quote is, or the end of the chunk. Most bytes come here. */
  #skipString(chunk: Buffer, from: number): number {
    let isEscaped = this.#isEscaped;
    let at = from;
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (isEscaped) isEscaped = false;
      else if (byte === BACKSLASH) isEscaped = true;
      else if (byte === QUOTE) break;
    }
    this.#isEscaped = isEscaped;
    this.#isInString = at === chunk.length;
    if (this.#depth === 1) this.#word += chunk.toString('latin1', from, at);
    return at;
  }

  /** A byte between two items; returns where the bytes to keep begin. */
  #between(chunk: Buffer, at: number, byte: number): number {
    if (byte === OPEN_BRACE && !this.#wantsComma) {
      this.#depth++;
      return at;
    }
    if (byte === COMMA && this.#wantsComma) {
      this.#wantsComma = false;
      this.#hasTrailingComma = true;
      return at + 1;
    }
    if (byte === CLOSE_BRACKET && !this.#hasTrailingComma) {
      this.#depth--;
      this.#phase = 'after';
      return at;
    }
    const what = `${this.#wantsComma ? 'a comma or the end of the list' : 'an object'} is missing before byte ${this.#bytes + at}`;
    throw this.#fault(`items[${this.#items}]`, `${what} (${quoted(chunk.toString('latin1', at, at + 12))})`, HOW);
  }

  /** A byte inside an item or outside the list; returns where the bytes to keep begin. */
  #within(chunk: Buffer, at: number, byte: number, from: number): number {
    if (this.#depth === 0 && byte !== OPEN_BRACE) {
      const what = this.#hasBegun ? 'something follows the document' : 'the document is not JSON';
      throw this.#fault(
        '',
        `${what}: ${quoted(chunk.toString('latin1', at, at + 12))} at byte ${this.#bytes + at}`,
        HOW,
      );
    }
    this.#hasBegun = true;
    if (byte === QUOTE) {
      this.#isInString = true;
      if (this.#depth === 1) this.#word = '';
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      this.#depth++;
      if (this.#depth === LIST_DEPTH && byte === OPEN_BRACKET && this.#key === 'items')
        return this.#beginItems(chunk, at, from);
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      this.#depth--;
      if (this.#phase === 'items' && this.#depth === LIST_DEPTH) return this.#endItem(chunk, at, from);
    } else if (this.#depth === 1 && byte === COLON) this.#key = this.#word;
    else if (this.#depth === 1 && byte === COMMA) this.#key = '';
    return from;
  }

  #beginItems(chunk: Buffer, at: number, from: number): number {
    if (this.#phase !== 'before') throw this.#fault('items', 'the document has two lists of items', HOW);
    this.#keep(chunk.subarray(from, at + 1));
    this.#phase = 'items';
    return at + 1;
  }

  #endItem(chunk: Buffer, at: number, from: number): number {
    this.#keepItem(chunk.subarray(from, at + 1));
    const bytes = this.#item.length === 1 ? this.#item[0] : Buffer.concat(this.#item);
    this.#item = [];
    this.#itemBytes = 0;
    const path = `items[${this.#items}]`;
    this.#take(this.#parse(this.#decode(bytes ?? Buffer.alloc(0), path), path), this.#items);
    this.#items++;
    this.#wantsComma = true;
    this.#hasTrailingComma = false;
    return at + 1;
  }

  #keep(rest: Buffer): void {
    if (rest.length === 0) return;
    if (this.#phase === 'items') {
      // Between two items there is only white space.
      if (this.#depth > LIST_DEPTH) this.#keepItem(rest);
      return;
    }
    this.#headBytes += rest.length;
    this.#head.push(Buffer.from(rest));
    if (this.#headBytes <= MAX_HEAD_BYTES) return;
    const text = Buffer.concat(this.#head).toString('latin1', 0, MAX_HEAD_BYTES);
    throw this.#noList({ kind: /"kind":\s*"([^"]{0,80})"/.exec(text)?.[1] });
  }

  #keepItem(part: Buffer): void {
    this.#itemBytes += part.length;
    if (this.#itemBytes > MAX_ITEM_BYTES) {
      throw this.#fault(`items[${this.#items}]`, `the item is longer than ${MAX_ITEM_BYTES} bytes`, HOW);
    }
    // The stream may reuse the memory of a chunk.
    this.#item.push(Buffer.from(part));
  }

  #decode(bytes: Buffer, path: string): string {
    try {
      return this.#decoder.decode(bytes);
    } catch {
      throw this.#fault(path, 'the document is not UTF-8 text', HOW);
    }
  }

  #parse(text: string, path: string): Record<string, unknown> {
    try {
      return JSON.parse(text) as Record<string, unknown>;
    } catch (error) {
      throw this.#fault(path, `not JSON (${error instanceof Error ? error.message : String(error)})`, HOW);
    }
  }

  #noList({ kind }: Readonly<Record<string, unknown>>): TraceFault {
    const is = kind === undefined ? 'it names no kind' : `it is of kind ${shown(kind)}`;
    const mend = kind === 'gpuloom-snapshot' ? 'give a snapshot with --snapshot' : HOW;
    return this.#fault('items', `the document has no list of items: ${is}`, mend);
  }

  #fault(path: string, what: string, mend: string): TraceFault {
    return documentFault(this.#file, path, what, mend);
  }
}

/** `file: path within the document: what is wrong; how to mend it`. */
export function documentFault(file: string, path: string, what: string, mend: string): TraceFault {
  return new TraceFault(printable(`${file}: ${path === '' ? '' : `${path}: `}${what}; ${mend}`));
}

/** Text of a document as it may go to a terminal: without control characters. */
export function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}

/** A value of a document as it may appear in a message. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  return value === undefined ? 'nothing' : quoted(JSON.stringify(value)).slice(1, -1);
}
