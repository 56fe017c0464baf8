// Node names as bytes of the request that carries them. A scheduler that works for thousands of nodes names each of them
// in every call: here nobody makes a string, or an object, for each.

import type { PodManifest } from '../core/manifest.ts';

/** Names of printable ASCII without quotes or escapes, each between two quotes in `bytes`, a comma from the next. */
export class HostBytes {
  bytes: Uint8Array = new Uint8Array(0);
  count = 0;
  /** Name number n is `bytes[starts[n]]` up to, but not including, `bytes[ends[n]]`. */
  starts: Int32Array = new Int32Array(1024);
  ends: Int32Array = new Int32Array(1024);

  begin(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.count = 0;
  }

  add(start: number, end: number): void {
    if (this.count === this.starts.length) this.#grow();
    this.starts[this.count] = start;
    this.ends[this.count] = end;
    this.count++;
  }

  nameAt(each: number): string {
    return String.fromCharCode(...this.bytes.subarray(this.starts[each], this.ends[each]));
  }

  #grow(): void {
    const { starts, ends } = this;
    this.starts = new Int32Array(starts.length * 2);
    this.starts.set(starts);
    this.ends = new Int32Array(ends.length * 2);
    this.ends.set(ends);
  }
}

/** The extender's arguments with the names in bytes. */
export interface HostArgs {
  readonly Pod?: PodManifest | null;
  readonly Hosts: HostBytes;
}
