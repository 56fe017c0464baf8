// The XML of `nvidia-smi -q -x`: elements, attributes and text, nothing else of XML. Pure.
// Tolerant where drivers differ (unknown elements, an output cut short), bounded against nonsense.

export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | undefined>>;
  readonly children: readonly XmlElement[];
  /** Own text, trimmed. */
  readonly text: string;
}

interface OpenElement {
  readonly name: string;
  readonly attributes: Record<string, string>;
  readonly children: XmlElement[];
  text: string;
}

const TOKEN =
  /<!--[\s\S]*?-->|<[?!][^>]*>|<(\/?)([A-Za-z_][\w.-]*)((?:\s+[\w.:-]+\s*=\s*(?:"[^"]*"|'[^']*'))*)\s*(\/?)>/g;
const ATTRIBUTE = /([\w.:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const ENTITIES: Readonly<Record<string, string | undefined>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };
const MAX_DEPTH = 32;

/** The elements at the top. An element left open at the end of the text ends there. */
export function parseXml(text: string): XmlElement {
  const root: OpenElement = { name: '', attributes: {}, children: [], text: '' };
  const open: OpenElement[] = [root];
  let end = 0;
  for (const token of text.matchAll(TOKEN)) {
    const inner = open.at(-1) ?? root;
    inner.text += text.slice(end, token.index);
    end = token.index + token[0].length;
    const [, closing, name, attributes = '', empty] = token;
    if (name === undefined) continue;
    if (closing === '/') close(open, name);
    else if (empty === '/') inner.children.push(finish(begin(name, attributes)));
    else if (open.length < MAX_DEPTH) open.push(begin(name, attributes));
  }
  while (open.length > 1) close(open, open.at(-1)?.name ?? '');
  return finish(root);
}

function begin(name: string, attributes: string): OpenElement {
  const parsed: Record<string, string> = {};
  for (const [, key = '', double, single] of attributes.matchAll(ATTRIBUTE))
    parsed[key] = decode(double ?? single ?? '');
  return { name, attributes: parsed, children: [], text: '' };
}

/** Closes up to the nearest open element of that name; a stray end tag closes nothing. */
function close(open: OpenElement[], name: string): void {
  const at = open.findLastIndex((element) => element.name === name);
  if (at <= 0) return;
  for (let element = open.pop(); element !== undefined; element = open.length > at ? open.pop() : undefined) {
    open.at(-1)?.children.push(finish(element));
  }
}

function finish({ name, attributes, children, text }: OpenElement): XmlElement {
  return { name, attributes, children, text: decode(text).trim() };
}

function decode(text: string): string {
  return text.replace(/&(#\d{1,6}|[a-z]{2,4});/g, (whole, entity: string) =>
    entity.startsWith('#')
      ? String.fromCodePoint(Math.min(0x10ffff, Number(entity.slice(1))))
      : (ENTITIES[entity] ?? whole),
  );
}

/** The first element at a path of names below `element`. */
export function elementAt(element: XmlElement, ...path: readonly string[]): XmlElement | undefined {
  let found: XmlElement | undefined = element;
  for (const name of path) found = found?.children.find((child) => child.name === name);
  return found;
}

/** Text at a path; `undefined` where the driver has nothing to say (no element, N/A, not supported, an error text). */
export function textAt(element: XmlElement, ...path: readonly string[]): string | undefined {
  const text = elementAt(element, ...path)?.text;
  return text === undefined || isNoValue(text) ? undefined : text;
}

/** The whole number that a text such as `81920 MiB` or `37 %` starts with. */
export function numberAt(element: XmlElement, ...path: readonly string[]): number | undefined {
  const digits = /^(\d{1,15})(?:\.\d+)?(?:\s|$)/.exec(textAt(element, ...path) ?? '')?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function isNoValue(text: string): boolean {
  return (
    text === '' || /^(\[?N\/A\]?|\[?Not Supported\]?|None|Insufficient Permissions|Requested functionality)/i.test(text)
  );
}
