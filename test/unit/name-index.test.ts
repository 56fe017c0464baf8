import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NameIndex } from '../../extender/core/name-index.ts';
import { ClusterState } from '../../extender/core/state.ts';

/** Looks a name up in the middle of other bytes, as it lies in a request. */
function find(index: NameIndex, name: string): number {
  const bytes = Buffer.from(`["${name}"]`);
  return index.find(bytes, 2, bytes.length - 2);
}

const nameOfNode = fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,40}$/);

describe('an index of node names in bytes', () => {
  it('agrees with a map of strings through any sequence of nodes that come, go and come again', () => {
    const steps = fc.array(fc.tuple(fc.boolean(), fc.nat({ max: 29 })), { maxLength: 300 });
    fc.assert(
      fc.property(fc.uniqueArray(nameOfNode, { minLength: 30, maxLength: 30 }), steps, (names, sequence) => {
        const index = new NameIndex();
        const expected = new Map<string, number>();
        const free = names.map((_, at) => at);
        for (const [comes, at] of sequence) {
          const name = names[at] ?? '';
          const known = expected.get(name);
          if (comes && known === undefined) {
            const slot = free.pop() ?? 0;
            index.add(name, slot);
            expected.set(name, slot);
          } else if (!comes && known !== undefined) {
            index.remove(known);
            expected.delete(name);
            free.push(known);
          }
        }
        for (const name of names) expect(find(index, name)).toBe(expected.get(name) ?? -1);
      }),
      { seed: 1, numRuns: 150 },
    );
  });

  it('finds each of many nodes, and only these', () => {
    const index = new NameIndex();
    const names = Array.from({ length: 20_000 }, (_, at) => `node-${at}.zone-${at % 7}.cluster.example`);
    for (const [at, name] of names.entries()) index.add(name, at);
    expect(names.every((name, at) => find(index, name) === at)).toBe(true);
    expect(find(index, 'node-20000.zone-1.cluster.example')).toBe(-1);
  });

  it('closes the gaps of nodes that went, whatever the lengths of names', () => {
    const index = new NameIndex();
    index.add('stays', 0);
    for (let round = 0; round < 5000; round++) {
      index.add(`${'x'.repeat(round % 250)}-${round}`, 1);
      index.remove(1);
    }
    expect(find(index, 'stays')).toBe(0);
    expect(find(index, 'x-1')).toBe(-1);
  });

  it.each([
    ['a part of its name', 'node'],
    ['more than its name', 'node-12'],
    ['a name of the same length', 'node-2'],
    ['no name', ''],
  ])('does not take %s for a node', (_, name) => {
    const index = new NameIndex();
    index.add('node-1', 3);
    expect(find(index, name)).toBe(-1);
  });

  it('leaves out names that a request cannot spell without escapes', () => {
    const index = new NameIndex();
    index.add('knötchen', 0);
    index.add('', 1);
    index.remove(0);
    expect(find(index, 'knötchen')).toBe(-1);
    expect(find(index, '')).toBe(-1);
  });

  it('is kept by the state of the cluster from the first question on', () => {
    const state = new ClusterState();
    const byBytes = (name: string): number => state.indexOfBytes(Buffer.from(name), 0, name.length);
    const first = state.addNode('first');
    const second = state.addNode('second');
    expect([byBytes('first'), byBytes('second'), byBytes('third')]).toEqual([first, second, -1]);
    state.removeNode(first);
    const third = state.addNode('third');
    expect([byBytes('first'), byBytes('second'), byBytes('third')]).toEqual([-1, second, third]);
  });
});
