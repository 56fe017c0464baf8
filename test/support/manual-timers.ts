// Time that a test moves by hand: a clock and delayed actions that run only inside advance().

interface Pending {
  readonly dueMillis: number;
  readonly action: () => void;
}

export class ManualTimers {
  #nowMillis: number;
  readonly #pending = new Set<Pending>();

  constructor(startMillis = 0) {
    this.#nowMillis = startMillis;
  }

  readonly now = (): number => this.#nowMillis;

  get pending(): number {
    return this.#pending.size;
  }

  after(delayMillis: number, action: () => void): () => void {
    const entry: Pending = { dueMillis: this.#nowMillis + delayMillis, action };
    this.#pending.add(entry);
    return () => {
      this.#pending.delete(entry);
    };
  }

  /** Runs everything that falls due, in order of time, including what that schedules. */
  advance(millis: number): void {
    const endMillis = this.#nowMillis + millis;
    for (let next = this.#earliest(endMillis); next !== undefined; next = this.#earliest(endMillis)) {
      this.#pending.delete(next);
      this.#nowMillis = Math.max(this.#nowMillis, next.dueMillis);
      next.action();
    }
    this.#nowMillis = endMillis;
  }

  #earliest(endMillis: number): Pending | undefined {
    let earliest: Pending | undefined;
    for (const entry of this.#pending) {
      if (entry.dueMillis <= endMillis && (earliest === undefined || entry.dueMillis < earliest.dueMillis)) {
        earliest = entry;
      }
    }
    return earliest;
  }
}
