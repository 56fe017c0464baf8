import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createHostReader, MOST_HOSTS } from '../../extender/http/host-request.ts';

/** What the reader makes of a body: its parts as values, or nothing. */
function partsOf(body: string | Buffer): { readonly head: unknown; readonly names: readonly string[] } | undefined {
  const request = createHostReader()(Buffer.from(body));
  if (request === undefined) return undefined;
  const { hosts } = request;
  const names = Array.from({ length: hosts.count }, (_, each) => hosts.nameAt(each));
  return { head: parsed(request.head), names };
}

const DAMAGE = ['{', '}', '[', ']', '"', ',', ':', '\\', 'n', '0', ' ', 'a'];

/** Undefined where it is not JSON. */
function parsed(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString());
  } catch (cause) {
    if (cause instanceof SyntaxError) return undefined;
    throw cause;
  }
}

describe('a reader of requests that leaves node names in bytes', () => {
  it.each([
    ['as Go writes them', '{"Pod":{"a":1},"Nodes":null,"NodeNames":["n1","n-2.x"]}', ['n1', 'n-2.x']],
    ['with a line break at the end', '{"Pod":null,"NodeNames":["n1"]}\r\n', ['n1']],
    ['with the longest name', `{"Pod":null,"NodeNames":["${'n'.repeat(253)}"]}`, ['n'.repeat(253)]],
    ['with one name', '{"Pod":null,"NodeNames":["n"]}', ['n']],
    ['with no name at all', '{"Pod":null,"NodeNames":[]}', []],
  ])('reads names %s', (_, body, names) => {
    const whole = JSON.parse(body) as { readonly NodeNames: unknown };
    const { NodeNames, ...head } = whole;
    expect(partsOf(body)).toEqual({ head, names });
    expect(NodeNames).toEqual(names);
  });

  it.each([
    ['names that are not last', '{"Nodes":null,"NodeNames":["n"],"Pod":{}}'],
    ['names that are first', '{"NodeNames":["n"]}'],
    ['blanks in the list', '{"Pod":null,"NodeNames":["n", "m"]}'],
    ['an escape in a name', '{"Pod":null,"NodeNames":["\\u0061"]}'],
    ['a name beyond ASCII', '{"Pod":null,"NodeNames":["nö"]}'],
    ['a name longer than names of nodes are', `{"Pod":null,"NodeNames":["${'n'.repeat(254)}"]}`],
    ['no list', '{"Pod":null,"NodeNames":null}'],
    ['a list of something else', '{"Pod":null,"NodeNames":[1]}'],
    ['a comma too many', '{"Pod":null,"NodeNames":["n",]}'],
    ['a list without an end', '{"Pod":null,"NodeNames":["n"'],
    ['a name without an end', '{"Pod":null,"NodeNames":["n'],
    ['something after the body', '{"Pod":null,"NodeNames":["n"]}x'],
    ['names of an object inside the body', '{"Pod":{"a":1,"NodeNames":["n"]},"Nodes":null}'],
  ])('leaves %s to the ordinary reader', (_, body) => {
    expect(partsOf(body)).toBeUndefined();
  });

  it('leaves more names than any cluster has to the ordinary reader', () => {
    const body = (names: number): string => JSON.stringify({ Pod: null, NodeNames: Array(names).fill('n') });
    expect(partsOf(body(MOST_HOSTS))?.names).toHaveLength(MOST_HOSTS);
    expect(partsOf(body(MOST_HOSTS + 1))).toBeUndefined();
  });

  it('is not led astray by the key inside a text of the pod', () => {
    const Pod = { metadata: { annotations: { trap: ',"NodeNames":["evil"]}', other: 'x,' } } };
    const body = JSON.stringify({ Pod, Nodes: null, NodeNames: ['n1'] });
    expect(partsOf(body)).toEqual({ head: { Pod, Nodes: null }, names: ['n1'] });
  });

  it('says the same as JSON of any body, or nothing', () => {
    const name = fc.oneof(fc.stringMatching(/^[a-z0-9.-]{1,30}$/), fc.string({ unit: 'grapheme', maxLength: 6 }));
    const record = fc.record({ Pod: fc.jsonValue({ maxDepth: 3 }), NodeNames: fc.array(name, { maxLength: 8 }) });
    fc.assert(
      fc.property(record, ({ Pod, NodeNames }) => {
        const body = JSON.stringify({ Pod, Nodes: null, NodeNames });
        const isPlain = NodeNames.every((each) => /^[\x20-\x7e]*$/.test(each) && !/["\\]/.test(each));
        expect(partsOf(body)).toEqual(
          isPlain ? { head: parsed(Buffer.from(JSON.stringify({ Pod, Nodes: null }))), names: NodeNames } : undefined,
        );
      }),
      { seed: 2, numRuns: 400 },
    );
  });

  it('never reads names out of a damaged body that JSON would refuse or read otherwise', () => {
    const body = Buffer.from(
      '{"Pod":{"a":"x,\\"NodeNames\\":[","b":[{},1]},"Nodes":null,"NodeNames":["n1","n2","n3"]}\n',
    );
    const damage = fc.array(
      fc.tuple(fc.nat({ max: body.length - 1 }), fc.constantFrom(...DAMAGE), fc.nat({ max: 2 })),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(damage, (changes) => {
        let bytes = body;
        for (const [at, byte, dropped] of changes) {
          bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(byte), bytes.subarray(at + dropped)]);
        }
        const parts = partsOf(bytes);
        if (parts?.head === undefined) return;
        const whole = parsed(bytes);
        expect(whole).toEqual({ ...(parts.head as object), NodeNames: parts.names });
      }),
      { seed: 3, numRuns: 4000 },
    );
  });
});
