// A terminal that is redrawn in place: the alternate screen without cursor, put back as it was by `close`. Writes to the
// given stream only. Safe to close twice.

import type { Line, Look } from './styled-text.ts';
import { ASCII, paint, UNICODE } from './styled-text.ts';

/** The part of a process's output stream that is needed here. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const ENTER = '\u001b[?1049h\u001b[?25l\u001b[H\u001b[2J';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const TO_LINE_END = '\u001b[K';
const TO_SCREEN_END = '\u001b[J';
const WIDTH_WITHOUT_TERMINAL = 100;
const MIN_WIDTH = 40;
const MAX_WIDTH = 140;
const ROWS_WITHOUT_SIZE = 24;

/** How lines look on this output: colours on a terminal only, unless NO_COLOR is set. */
export function lookOf(output: Output, env: Environment): Look {
  const width = output.isTTY === true ? (output.columns ?? WIDTH_WITHOUT_TERMINAL) : WIDTH_WITHOUT_TERMINAL;
  const locale = env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || 'UTF-8';
  return {
    width: Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, width)),
    colour: isRedrawable(output, env) && (env['NO_COLOR'] ?? '') === '',
    glyphs: /utf-?8/i.test(locale) ? UNICODE : ASCII,
  };
}

/** Whether the output is a terminal that understands control sequences. */
export function isRedrawable(output: Output, env: Environment): boolean {
  return output.isTTY === true && env['TERM'] !== 'dumb';
}

export function writeLines(output: Output, lines: readonly Line[], look: Look): void {
  output.write(lines.map((each) => `${paint(each, look)}\n`).join(''));
}

export class Screen {
  readonly #output: Output;
  readonly #env: Environment;
  #open = false;

  constructor(output: Output, env: Environment) {
    this.#output = output;
    this.#env = env;
  }

  /** As it is now: the terminal may have been resized. */
  get look(): Look {
    return lookOf(this.#output, this.#env);
  }

  get rows(): number {
    return this.#output.rows ?? ROWS_WITHOUT_SIZE;
  }

  draw(lines: readonly Line[]): void {
    const { look, rows } = this;
    const painted = lines.slice(0, rows - 1).map((each) => paint(each, look) + TO_LINE_END);
    this.#output.write(`${this.#open ? '' : ENTER}${HOME}${painted.join('\r\n')}${TO_LINE_END}${TO_SCREEN_END}`);
    this.#open = true;
  }

  close(): void {
    if (this.#open) this.#output.write(LEAVE);
    this.#open = false;
  }
}
