// Where commands write: results to stdout, everything else to stderr. Progress is told only of what lasts.

/** The parts of `process` that commands use. */
export interface Terminal {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
}

const QUIET_MILLIS = 1000;
const EVERY_MILLIS = 500;
/** Where lines cannot be overwritten (a file, a pipe) they come less often. */
const EVERY_MILLIS_ON_LINES = 5000;

/** Tells on stderr how far a long job is and when it will be done. */
export class ProgressLine {
  readonly #terminal: Terminal;
  readonly #what: string;
  readonly #startMillis: number;
  #nextMillis: number;
  #isShown = false;

  constructor(terminal: Terminal, what: string) {
    this.#terminal = terminal;
    this.#what = what;
    this.#startMillis = performance.now();
    this.#nextMillis = this.#startMillis + QUIET_MILLIS;
  }

  tell(done: number, total: number): void {
    const nowMillis = performance.now();
    if (nowMillis < this.#nextMillis || done === 0 || done >= total) return;
    const { stderr } = this.#terminal;
    const isScreen = stderr.isTTY === true;
    this.#nextMillis = nowMillis + (isScreen ? EVERY_MILLIS : EVERY_MILLIS_ON_LINES);
    const leftSeconds = Math.ceil((((nowMillis - this.#startMillis) / done) * (total - done)) / 1000);
    const text = `${this.#what}: ${done} of ${total} (${Math.floor((done / total) * 100)} %), about ${leftSeconds} s left`;
    stderr.write(isScreen ? `\r${text}\u001B[K` : `${text}\n`);
    this.#isShown = true;
  }

  /** Clears the line from a screen. */
  end(): void {
    if (this.#isShown && this.#terminal.stderr.isTTY === true) this.#terminal.stderr.write('\r\u001B[K');
  }
}
