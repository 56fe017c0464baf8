// Lines of text with styles, cut to a width, with or without colours. Pure: it writes nothing.

export type Style = 'plain' | 'bold' | 'dim' | 'online' | 'batch' | 'good' | 'bad';

export interface Span {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Span[];

export interface Look {
  readonly width: number;
  readonly colour: boolean;
  readonly glyphs: Glyphs;
}

export interface Glyphs {
  readonly online: string;
  readonly batch: string;
  readonly free: string;
  readonly ellipsis: string;
}

export const UNICODE: Glyphs = { online: '█', batch: '▒', free: '·', ellipsis: '…' };
export const ASCII: Glyphs = { online: '#', batch: '=', free: '.', ellipsis: '~' };

const RESET = '\u001b[0m';
const CODES: Readonly<Record<Style, string>> = {
  plain: '',
  bold: '\u001b[1m',
  dim: '\u001b[2m',
  online: '\u001b[36m',
  batch: '\u001b[33m',
  good: '\u001b[32m',
  bad: '\u001b[31m',
};

export function span(text: string, style: Style = 'plain'): Span {
  return { text, style };
}

export function line(...parts: readonly (string | Span)[]): Line {
  return parts.map((part) => (typeof part === 'string' ? span(part) : part));
}

/** The line as terminal text, never wider than the look's width. */
export function paint(spans: Line, { width, colour, glyphs }: Look): string {
  let left = width;
  let painted = '';
  const isCut =
    spans
      .map(({ text }) => text)
      .join('')
      .trimEnd().length > width;
  if (isCut) left -= glyphs.ellipsis.length;
  for (const { text, style } of spans) {
    const shown = text.slice(0, Math.max(0, left));
    left -= shown.length;
    const code = colour && shown !== '' ? CODES[style] : '';
    painted += code === '' ? shown : code + shown + RESET;
  }
  return isCut ? painted + glyphs.ellipsis : painted.trimEnd();
}

/** `text` in lines of at most `width` characters, broken at spaces. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let current = '';
  for (const word of text.split(' ')) {
    const longer = current === '' ? word : `${current} ${word}`;
    if (current !== '' && longer.length > width) {
      lines.push(current);
      current = word;
    } else current = longer;
  }
  return [...lines, current];
}
