// A table of plain text for people: columns of words to the left, columns of numbers to the right.

/** `wordColumns`: positions of the columns that hold words. */
export function textTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  wordColumns: readonly number[],
): string {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => (wordColumns.includes(at) ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
