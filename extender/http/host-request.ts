// Reads a request whose node names come last, as every Go client of the extender protocol writes it, without making
// strings of the names: the part before them is ordinary JSON, the names stay bytes. Whatever looks different in the
// least is left to the ordinary reader.

import { HostBytes } from '../app/host-bytes.ts';

/** Inside a JSON string a quote is escaped, so these bytes can only be a key after a comma. */
const LIST_KEY: Buffer = Buffer.from(',"NodeNames":[');
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const END_OF_LIST = 0x5d;
const END_OF_OBJECT = 0x7d;

/** Far above any cluster. The reader keeps its buffers, so one odd request must not make them large for good. */
export const MOST_HOSTS = 250_000;

/** Of a DNS subdomain, which is what names of nodes are. */
const LONGEST_NAME = 253;

/** A request in two parts; `head` is the JSON object without its last key, `NodeNames`. */
export interface HostRequest {
  readonly head: Buffer;
  readonly hosts: HostBytes;
}

/** A reader that reuses its buffers: what it returned last is valid until it reads again. */
export function createHostReader(): (body: unknown) => HostRequest | undefined {
  const hosts = new HostBytes();
  return (body) => {
    if (!Buffer.isBuffer(body)) return undefined;
    const at = body.indexOf(LIST_KEY);
    if (at < 0 || !readNames(body, at + LIST_KEY.length, hosts)) return undefined;
    // The brace that ended the whole body ends the head as well, and nothing but it may follow the list: so the head
    // is an object exactly if the body is one, and the list is a value of that object and of none inside it.
    const head = Buffer.allocUnsafe(at + 1);
    body.copy(head, 0, 0, at);
    head[at] = END_OF_OBJECT;
    return { head, hosts };
  };
}

/** Reads a list without blanks or escapes, then the end of the object and of the body. False where it is not that. */
function readNames(body: Buffer, from: number, hosts: HostBytes): boolean {
  hosts.begin(body);
  let at = from;
  if (body[at] === END_OF_LIST) return isEnd(body, at + 1);
  for (;;) {
    if (body[at] !== QUOTE) return false;
    const end = endOfName(body, at + 1);
    if (end < 0 || hosts.count === MOST_HOSTS) return false;
    hosts.add(at + 1, end);
    const next = body[end + 1];
    if (next === END_OF_LIST) return isEnd(body, end + 2);
    if (next !== COMMA) return false;
    at = end + 2;
  }
}

/** Where the closing quote is, or -1 where a byte is not of plain printable ASCII or the name is too long for one. */
function endOfName(body: Buffer, from: number): number {
  const last = Math.min(body.length - 1, from + LONGEST_NAME);
  for (let at = from; at <= last; at++) {
    const byte = body[at] ?? 0;
    if (byte === QUOTE) return at;
    if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return -1;
  }
  return -1;
}

function isEnd(body: Buffer, from: number): boolean {
  if (body[from] !== END_OF_OBJECT) return false;
  for (let at = from + 1; at < body.length; at++) if (!isBlank(body[at] ?? 0)) return false;
  return true;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
