// HTML and SVG as values: text is escaped when it becomes markup and nowhere else, so nothing that comes from a file can
// become a tag or an attribute. Pure.

/** Escaped and well-formed. Only `element` and `joined` make it. */
export interface Markup {
  readonly html: string;
}

export type Child = Markup | string;
export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** Elements that have no end tag in HTML. */
const VOID: readonly string[] = ['meta', 'br', 'hr', 'link'];

/** Attributes without a value are left out; numbers are written with at most two decimals. */
export function element(name: string, attributes: Attributes = {}, ...children: readonly Child[]): Markup {
  const written = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [` ${key}="${escaped(typeof value === 'number' ? short(value) : value)}"`],
  );
  const start = `<${name}${written.join('')}>`;
  return { html: VOID.includes(name) ? start : `${start}${joined(children).html}</${name}>` };
}

export function joined(children: readonly Child[]): Markup {
  return { html: children.map((child) => (typeof child === 'string' ? escaped(child) : child.html)).join('') };
}

/** A number as attributes and paths hold it: at most two decimals, never `-0` or an exponent. */
export function short(value: number): string {
  const rounded = Math.round(value * 100) / 100;
  return String(rounded === 0 ? 0 : rounded);
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
