// The reader of node names: the same value as JSON.parse gives, for anything that may be sent.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { decodeJson, decodeWithNodeNames } from '../../extender/http/json-body.ts';
import { NodeNameReader } from '../../extender/http/node-names.ts';

const body = (names: readonly string[], pod: unknown = { metadata: { name: 'p' } }): Buffer =>
  Buffer.from(`${JSON.stringify({ Pod: pod, Nodes: null, NodeNames: names })}\n`);

const plainName = fc.stringMatching(/^[a-z0-9.-]{1,12}$/);
const anyName = fc.oneof(
  { weight: 20, arbitrary: plainName },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '"', '\\', 'é', 'a b', '],"NodeNames":["x', 'x'.repeat(254), '__proto__'),
  },
);

describe('the node names of a request', () => {
  it('are what JSON.parse would give, over many requests with changing lists, odd names and odd pods', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.array(anyName, { maxLength: 8 }), fc.jsonValue()), { maxLength: 6 }),
        (calls) => {
          const reader = new NodeNameReader();
          for (const [names, pod] of calls) {
            const bytes = body(names, pod);
            expect(decodeWithNodeNames(bytes, reader)).toEqual(decodeJson(bytes));
          }
        },
      ),
      { seed: 7, numRuns: 400 },
    );
  });

  it('are what JSON.parse would give when bytes of the request are damaged', () => {
    const sound = body(['node-a', 'node-b', 'node-c']);
    const damage = fc.array(fc.tuple(fc.nat(sound.length - 1), fc.constantFrom(...Buffer.from('"[]{},:\\ an'))), {
      minLength: 1,
      maxLength: 3,
    });
    const reader = new NodeNameReader();
    fc.assert(
      fc.property(damage, (edits) => {
        const bytes = Buffer.from(sound);
        for (const [at, byte] of edits) bytes[at] = byte;
        expect(decodeWithNodeNames(bytes, reader)).toEqual(decodeJson(bytes));
      }),
      { seed: 8, numRuns: 3000 },
    );
  });

  it('are right again in any other order', () => {
    const reader = new NodeNameReader();
    const names = Array.from({ length: 9000 }, (_, at) => `node-${at}`);
    expect(reader.split(body(names))?.names).toEqual(names);
    const backwards = [...names].reverse();
    expect(reader.split(body(backwards))?.names).toEqual(backwards);
    expect(reader.split(body(names))?.names).toEqual(names);
  });

  it('are forgotten when too many different ones came by, and read anew', () => {
    const reader = new NodeNameReader();
    for (let batch = 0; batch < 8; batch++) {
      const names = Array.from({ length: 10_000 }, (_, at) => `batch-${batch}-${at}`);
      expect(reader.split(body(names))?.names).toEqual(names);
    }
    expect(reader.split(body(['batch-0-1', 'batch-7-1']))?.names).toEqual(['batch-0-1', 'batch-7-1']);
  });

  it.each([
    ['whose list is empty', '{"Pod":null,"NodeNames":[]}'],
    ['whose list comes first', '{"NodeNames":["a"],"Pod":null}'],
    ['whose list is inside another object', '{"Pod":{"x":1,"NodeNames":["a"]}}'],
    ['that ends in the middle of an object', '{"Pod":{"x":1,"NodeNames":["a"]}'],
    ['that holds the field twice', '{"Pod":null,"NodeNames":["b"],"NodeNames":["a"]}'],
    ['that holds the field in a text', '{"Pod":null,"x":",\\"NodeNames\\":[\\"a\\"]"}'],
    ['that is no object', '[1,"NodeNames":["a"]}'],
    ['with spaces', '{"Pod": null, "NodeNames": ["a"] }'],
  ])('of a request %s come out as JSON.parse would have them', (_, text) => {
    const bytes = Buffer.from(text);
    expect(decodeWithNodeNames(bytes, new NodeNameReader())).toEqual(decodeJson(bytes));
  });
});
