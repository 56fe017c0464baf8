// Virtual time: a heap of events by time, then by rank, then by the order in which they were scheduled. Knows nothing of
// what events mean, so that further kinds (load samples, preemption, reclaim) join by being scheduled and handled.
// An event cannot be taken back: whoever handles it looks whether it still holds.

interface Entry<E> {
  readonly atMillis: number;
  readonly rank: number;
  readonly sequence: number;
  readonly event: E;
}

export class EventLoop<E> {
  readonly #rankOf: (event: E) => number;
  readonly #heap: Entry<E>[] = [];
  #scheduled = 0;
  #nowMillis = 0;

  /** Of events at the same time the one of lower rank comes first. */
  constructor(rankOf: (event: E) => number) {
    this.#rankOf = rankOf;
  }

  /** The time of the event that is being handled, or was handled last. */
  get nowMillis(): number {
    return this.#nowMillis;
  }

  /** Events that are still to come. */
  get pending(): number {
    return this.#heap.length;
  }

  /** For now or later; an event in the past is a mistake of the caller. */
  schedule(atMillis: number, event: E): void {
    if (!(atMillis >= this.#nowMillis))
      throw new RangeError(`event at ${atMillis} ms, but it is ${this.#nowMillis} ms`);
    this.#push({ atMillis, rank: this.#rankOf(event), sequence: this.#scheduled++, event });
  }

  /** Handles events in order until none is left, or the next is later than `untilMillis`. */
  run(untilMillis: number, handle: (event: E) => void): void {
    for (let next = this.#heap[0]; next !== undefined && next.atMillis <= untilMillis; next = this.#heap[0]) {
      this.#pop();
      this.#nowMillis = next.atMillis;
      handle(next.event);
    }
  }

  #push(entry: Entry<E>): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const leftEntry = heap[left];
      if (leftEntry === undefined) break;
      const rightEntry = heap[left + 1];
      const isRight = rightEntry !== undefined && isBefore(rightEntry, leftEntry);
      const child = isRight ? rightEntry : leftEntry;
      if (!isBefore(child, last)) break;
      heap[at] = child;
      at = isRight ? left + 1 : left;
    }
    heap[at] = last;
  }
}

function isBefore<E>(a: Entry<E>, b: Entry<E>): boolean {
  return (
    a.atMillis - b.atMillis < 0 ||
    (a.atMillis === b.atMillis && (a.rank < b.rank || (a.rank === b.rank && a.sequence < b.sequence)))
  );
}
