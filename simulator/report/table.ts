// Tables for those who read figures rather than drawings.

import { element, type Markup } from './markup.ts';

/** The first cell of a row is its heading. Wide tables scroll inside their frame, not the page. */
export function dataTable(caption: string, head: readonly string[], rows: readonly (readonly string[])[]): Markup {
  const headings = head.map((name) => element('th', { scope: 'col' }, name));
  const lines = rows.map(([first = '', ...cells]) =>
    element('tr', {}, element('th', { scope: 'row' }, first), ...cells.map((cell) => element('td', {}, cell))),
  );
  const table = element(
    'table',
    {},
    element('caption', {}, caption),
    element('thead', {}, element('tr', {}, ...headings)),
    element('tbody', {}, ...lines),
  );
  // Focusable, so that it can be scrolled with the keyboard.
  return element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, table);
}
