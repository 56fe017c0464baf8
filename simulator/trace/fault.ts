// What is wrong with a file that somebody gave us, in words they can act on. Thrown by readers, told by the command.

/** The message names file and line, says what is wrong there, and how to mend it. */
export class TraceFault extends Error {
  override readonly name = 'TraceFault';
}

/** `file:line: what is wrong; how to mend it`. Lines count from 1. */
export function faultAt(file: string, line: number, what: string, mend: string): TraceFault {
  return new TraceFault(`${file}:${line}: ${what}; ${mend}`);
}

/** A value from a file as it may appear in a message: short, and on one line. */
export function quoted(value: string): string {
  const shown = value.length > 40 ? `${value.slice(0, 40)}…` : value;
  return JSON.stringify(shown);
}
