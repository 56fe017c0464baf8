// CSV with a heading, as the openb trace is published: no quoting, every cell plain. Each value is checked where it is
// read, so that a wrong file ends in an error with its place and never in a wrong number.

import { faultAt, quoted, type TraceFault } from './fault.ts';
import { readLines } from './lines.ts';

const MAX_LINE_BYTES = 1 << 16;

/** A column that must be there, with its unit in words, for the advice. */
export interface Column {
  readonly name: string;
  readonly meaning: string;
}

/** One line of the file. Valid until the next one is read. Cells are cut out of the line only when they are asked for. */
export class Row {
  line = 0;
  /** Cells of the heading. */
  readonly width: number;
  #text = '';
  /** Where each cell of the line begins, and where one more would. */
  readonly #starts: Int32Array;
  readonly #file: string;
  readonly #columns: readonly Column[];
  readonly #positions: readonly number[];

  constructor(file: string, columns: readonly Column[], positions: readonly number[], width: number) {
    this.#file = file;
    this.#columns = columns;
    this.#positions = positions;
    this.width = width;
    this.#starts = new Int32Array(width + 1);
  }

  /** Takes in a line; returns how many cells it has, of which no more than `width` can be read. */
  read(text: string, line: number): number {
    this.#text = text;
    this.line = line;
    let cells = 0;
    for (let start = 0; start >= 0; cells++) {
      if (cells < this.width) this.#starts[cells] = start;
      const comma = text.indexOf(',', start);
      start = comma < 0 ? -1 : comma + 1;
    }
    this.#starts[this.width] = text.length + 1;
    return cells;
  }

  /** The cell of column number `at` of the columns asked for; empty where an optional column is absent. */
  text(at: number): string {
    const cell = this.#positions[at] ?? -1;
    return cell < 0 ? '' : this.#text.slice(this.#starts[cell], (this.#starts[cell + 1] ?? 0) - 1);
  }

  /** A whole number from `least` to `most`. */
  whole(at: number, least: number, most: number): number {
    const cell = this.#positions[at] ?? -1;
    const value = cell < 0 ? -1 : parseWhole(this.#text, this.#starts[cell] ?? 0, (this.#starts[cell + 1] ?? 0) - 1);
    if (value >= least && value <= most) return value;
    const { name, meaning } = this.#columns[at] ?? { name: '', meaning: '' };
    const range = `a whole number from ${least} to ${most}`;
    throw this.fault(`${name} is ${quoted(this.text(at))}, not ${range}`, `write ${meaning}`);
  }

  fault(what: string, mend: string): TraceFault {
    return faultAt(this.#file, this.line, what, mend);
  }
}

/** Reads the file and gives each data row to `take`, in order; `columns` first, then `optional` ones. */
export async function readCsv(
  file: string,
  columns: readonly Column[],
  optional: readonly Column[],
  take: (row: Row) => void,
): Promise<void> {
  const all = [...columns, ...optional];
  let row: Row | undefined;
  let emptyLine = 0;
  await readLines(file, MAX_LINE_BYTES, (text, line) => {
    if (row === undefined) {
      const heading = headingOf(text);
      row = new Row(file, all, positionsOf(file, heading, columns, optional), heading.length);
      return;
    }
    if (text === '') {
      emptyLine = emptyLine || line;
      return;
    }
    if (emptyLine > 0)
      throw faultAt(file, emptyLine, 'the line is empty', 'remove it; only the end of the file may be');
    const cells = row.read(text, line);
    if (cells !== row.width) {
      const what = `${cells} cells where the heading has ${row.width}`;
      throw faultAt(file, line, what, 'give every column a cell, write no commas inside cells, and cut off no line');
    }
    take(row);
  });
  if (row === undefined)
    throw faultAt(file, 1, 'the file is empty', `its first line names the columns: ${named(columns)}`);
  if (row.line === 0) throw faultAt(file, 2, 'no data after the heading', 'is the file complete?');
}

/** -1 where the text from `start` to `end` is not a plain whole number of at most 12 digits. */
function parseWhole(text: string, start: number, end: number): number {
  if (end <= start || end > start + 12) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

function headingOf(text: string): readonly string[] {
  const BYTE_ORDER_MARK = '\uFEFF';
  return (text.startsWith(BYTE_ORDER_MARK) ? text.slice(1) : text).split(',').map((name) => name.trim());
}

function positionsOf(
  file: string,
  heading: readonly string[],
  columns: readonly Column[],
  optional: readonly Column[],
): readonly number[] {
  const twice = heading.find((name, at) => heading.indexOf(name) !== at);
  if (twice !== undefined) throw faultAt(file, 1, `two columns are named ${quoted(twice)}`, 'keep one of them');
  const missing = columns.filter(({ name }) => !heading.includes(name));
  if (missing.length > 0) throw missingColumns(file, heading, missing);
  return [...columns, ...optional].map(({ name }) => heading.indexOf(name));
}

function missingColumns(file: string, heading: readonly string[], missing: readonly Column[]): TraceFault {
  const advice = missing.map(({ name, meaning }) => {
    const stem = name.split('_')[0] ?? name;
    const similar = heading.find((each) => each.startsWith(stem));
    const from = similar === undefined ? '' : ` (there is ${quoted(similar)}: convert and rename it)`;
    return `${name} = ${meaning}${from}`;
  });
  return faultAt(file, 1, `no column ${named(missing)}`, `the first line names the columns; add ${advice.join(', ')}`);
}

function named(columns: readonly Column[]): string {
  return columns.map(({ name }) => name).join(', ');
}
