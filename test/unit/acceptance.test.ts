// docs/acceptance-device-plugin.md against the tests: whatever it says is shown by a test is the name of one.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const TESTS = join(import.meta.dirname, '..');
const text = readFileSync(join(TESTS, '../docs/acceptance-device-plugin.md'), 'utf8');

/** Rows that name a test and its file. */
const rows = text
  .split('\n')
  .map((line) => /^\|[^|]*\| `([^`]+)`[^|]*\| `([^`*]+)` +\|$/.exec(line))
  .flatMap((match) => (match === null ? [] : [{ title: match[1] ?? '', file: join(TESTS, match[2] ?? '') }]));

it('finds the rows of both tables', () => {
  expect(rows.length).toBeGreaterThan(15);
});

it.each(rows)('"$title" is a test', ({ title, file }) => {
  expect(existsSync(file), file).toBe(true);
  expect(readFileSync(file, 'utf8')).toContain(`'${title}'`);
});
