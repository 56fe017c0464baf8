// Finds a node by the bytes of its name, as they lie in a request. A string made of them first would cost more than all
// that follows: it must be allocated, hashed and compared.
// A hash table of chains over node indices; names lie one after another in one array of bytes.

const NONE = -1;
/** Odd, with ones and zeros well mixed: the constant of Fibonacci hashing, 2^32 divided by the golden ratio. */
const MULTIPLIER: number = 0x9e3779b1 | 0;

/** Columns of an entry. They lie side by side, so that a look-up touches one line of the processor's cache. */
const HASH = 0;
const START = 1;
const LENGTH = 2;
const NEXT = 3;
const COLUMNS = 4;

/** Holds names of printable ASCII, which all names of Kubernetes objects are; others are never found. */
export class NameIndex {
  #names = new Uint8Array(4096);
  #used = 0;
  /** By node index: the hash of its name, where the name lies, its length (0: none), and the next node of the chain. */
  #entries = new Int32Array(64 * COLUMNS);
  /** By hash: the first node of the chain. Its length is a power of two. */
  #heads = new Int32Array(64).fill(NONE);
  #count = 0;

  /** Enters a name that is not in the index under a node index that is not in use. */
  add(name: string, index: number): void {
    if (!isPrintable(name)) return;
    this.#entries = widened(this.#entries, (index + 1) * COLUMNS);
    if (this.#used + name.length > this.#names.length) this.#makeRoom(name.length);
    const start = this.#used;
    for (let at = 0; at < name.length; at++) this.#names[start + at] = name.charCodeAt(at);
    this.#used += name.length;
    const entry = index * COLUMNS;
    this.#entries[entry + HASH] = hashOf(this.#names, start, start + name.length);
    this.#entries[entry + START] = start;
    this.#entries[entry + LENGTH] = name.length;
    this.#count++;
    if (this.#count > this.#heads.length) this.#rehash(this.#heads.length * 2);
    else this.#link(index);
  }

  /** Takes the name of a node out; does nothing where the node has none here. */
  remove(index: number): void {
    const entries = this.#entries;
    const entry = index * COLUMNS;
    if ((entries[entry + LENGTH] ?? 0) === 0) return;
    const following = entries[entry + NEXT] ?? NONE;
    const slot = this.#slotOf(entries[entry + HASH] ?? 0);
    if (this.#heads[slot] === index) this.#heads[slot] = following;
    else {
      let before = this.#heads[slot] ?? NONE;
      while (before !== NONE && entries[before * COLUMNS + NEXT] !== index)
        before = entries[before * COLUMNS + NEXT] ?? NONE;
      entries[before * COLUMNS + NEXT] = following;
    }
    entries[entry + LENGTH] = 0;
    this.#count--;
  }

  /** The node whose name is `bytes[start]` up to, but not including, `bytes[end]`, or -1. */
  find(bytes: Uint8Array, start: number, end: number): number {
    const hash = hashOf(bytes, start, end);
    const length = end - start;
    const entries = this.#entries;
    let index = this.#heads[this.#slotOf(hash)] ?? NONE;
    while (index !== NONE) {
      const entry = index * COLUMNS;
      if (entries[entry + HASH] === hash && entries[entry + LENGTH] === length) {
        if (areEqual(this.#names, entries[entry + START] ?? 0, bytes, start, length)) return index;
      }
      index = entries[entry + NEXT] ?? NONE;
    }
    return NONE;
  }

  #slotOf(hash: number): number {
    return hash & (this.#heads.length - 1);
  }

  #link(index: number): void {
    const entry = index * COLUMNS;
    const slot = this.#slotOf(this.#entries[entry + HASH] ?? 0);
    this.#entries[entry + NEXT] = this.#heads[slot] ?? NONE;
    this.#heads[slot] = index;
  }

  #rehash(slots: number): void {
    this.#heads = new Int32Array(slots).fill(NONE);
    for (let index = 0; index * COLUMNS < this.#entries.length; index++) {
      if ((this.#entries[index * COLUMNS + LENGTH] ?? 0) > 0) this.#link(index);
    }
  }

  /** Names that were taken out leave gaps: they are closed first, and only then is more memory asked for. */
  #makeRoom(needed: number): void {
    const entries = this.#entries;
    let inUse = 0;
    for (let entry = 0; entry < entries.length; entry += COLUMNS) inUse += entries[entry + LENGTH] ?? 0;
    const names = new Uint8Array(Math.max(this.#names.length, 2 * (inUse + needed)));
    let used = 0;
    for (let entry = 0; entry < entries.length; entry += COLUMNS) {
      const start = entries[entry + START] ?? 0;
      const length = entries[entry + LENGTH] ?? 0;
      names.set(this.#names.subarray(start, start + length), used);
      entries[entry + START] = used;
      used += length;
    }
    this.#names = names;
    this.#used = used;
  }
}

function widened(entries: Int32Array<ArrayBuffer>, needed: number): Int32Array<ArrayBuffer> {
  if (needed <= entries.length) return entries;
  const wider = new Int32Array(Math.max(needed, entries.length * 2));
  wider.set(entries);
  return wider;
}

function isPrintable(name: string): boolean {
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (code < 0x20 || code > 0x7e) return false;
  }
  return name.length > 0;
}

function areEqual(a: Uint8Array, startA: number, b: Uint8Array, startB: number, length: number): boolean {
  for (let at = 0; at < length; at++) if (a[startA + at] !== b[startB + at]) return false;
  return true;
}

/** Four bytes at a time, since each step waits for the one before: multiply, then bring the upper bits down. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = end - start;
  let at = start;
  for (; at + 3 < end; at += 4) {
    const low = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    const high = (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8);
    hash = Math.imul(hash ^ (low | (high << 16)), MULTIPLIER);
    hash ^= hash >>> 15;
  }
  for (; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), MULTIPLIER);
  return hash ^ (hash >>> 15);
}
