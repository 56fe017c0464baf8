// Result files. A file is written beside its place and then moved there, so that nobody ever reads half of one.

import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';

import { TraceFault } from '../trace/fault.ts';
import type { Terminal } from './terminal.ts';

/** Writes the pieces to the file, or to stdout for `-`. */
export function writeOutput(file: string, pieces: Iterable<string>, terminal: Terminal): void {
  if (file === '-') {
    for (const piece of pieces) terminal.stdout.write(piece);
    return;
  }
  const draft = `${file}.${process.pid}.tmp`;
  try {
    const handle = openSync(draft, 'w');
    try {
      for (const piece of pieces) writeAll(handle, piece);
    } finally {
      closeSync(handle);
    }
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    const reason = error instanceof Error ? error.message : String(error);
    throw new TraceFault(`${file}: cannot be written (${reason}); check that its folder exists and has room`);
  }
}

function writeAll(handle: number, piece: string): void {
  const bytes = Buffer.from(piece);
  let written = 0;
  while (written < bytes.length) written += writeSync(handle, bytes, written);
}
