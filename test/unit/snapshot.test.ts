import { describe, expect, it } from 'vitest';
import { readSnapshot, takeSnapshot } from '../../extender/core/snapshot.ts';
import { gpusOf, pod } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';

type Path = readonly (string | number)[];

/** A snapshot with a node, a placed pod with affinity, and one that waits, as it comes out of JSON. */
function document(): unknown {
  const bench = new Bench([{ name: 'a', gpus: gpusOf(2, 16) }]);
  const annotations = { 'gpuloom.io/gpu-anti-affinity': 'app=web', 'gpuloom.io/placement': 'binpack' };
  const placed = { name: 'placed', slices: 8, annotations };
  bench.engine.learner.learn(bench.shape(pod(placed)).request);
  bench.place(placed, 'a');
  return JSON.parse(JSON.stringify(takeSnapshot(bench.engine, [pod({ name: 'waits', slices: 20 })])));
}

function changed(path: Path, value: unknown): unknown {
  const root = document();
  let holder = root as Record<string | number, unknown>;
  for (const step of path.slice(0, -1)) holder = holder[step] as Record<string | number, unknown>;
  holder[path.at(-1) ?? ''] = value;
  return root;
}

describe('reading a snapshot', () => {
  it('takes what takeSnapshot gave', () => {
    expect(readSnapshot(document())).toEqual({ kind: 'snapshot', snapshot: document() });
  });

  it('takes one of a build that did not know creation times and isolation yet', () => {
    const older = changed(['residents', 0, 'pod', 'createdSeconds'], undefined);
    expect(readSnapshot(older)).toMatchObject({ kind: 'snapshot' });
    expect(readSnapshot(changed(['residents', 0, 'request', 'isolation'], undefined))).toMatchObject({
      kind: 'snapshot',
    });
  });

  it.each<[string, Path, unknown, RegExp]>([
    [
      'a number of slices that is a text',
      ['residents', 0, 'request', 'slicesPerGpu'],
      '8',
      /^residents\[0\]\.request\.slicesPerGpu must be a whole number/,
    ],
    ['slices that overflow', ['residents', 0, 'request', 'slicesPerGpu'], 1e300, /slicesPerGpu must be a whole number/],
    ['a negative CPU', ['nodes', 0, 'allocatable', 'cpuMilli'], -1, /^nodes\[0\]\.allocatable\.cpuMilli must be/],
    [
      'a GPU named twice',
      ['nodes', 0, 'gpus', 'inventory', 'gpus', 1, 'uuid'],
      'GPU-a-0',
      /inventory\.gpus names a GPU twice/,
    ],
    ['a link matrix that is not square', ['nodes', 0, 'gpus', 'inventory', 'links'], [[0]], /links must have a row/],
    [
      'a capacity that no column holds',
      ['nodes', 0, 'gpus', 'inventory', 'gpus', 0, 'slices'],
      2 ** 31,
      /gpus\[0\]\.slices must/,
    ],
    [
      'an unknown kind of inventory',
      ['nodes', 0, 'gpus', 'kind'],
      'some',
      /^nodes\[0\]\.gpus\.kind must be one of inventory, none, closed/,
    ],
    [
      'a name that steers a terminal',
      ['residents', 0, 'pod', 'name'],
      '\u001B[2J',
      /^residents\[0\]\.pod\.name must be a name/,
    ],
    [
      'a class that there is not',
      ['pending', 0, 'demand', 'request', 'class'],
      'urgent',
      /class must be one of online, batch/,
    ],
    [
      'a demand without its request',
      ['pending', 0, 'demand'],
      { kind: 'request' },
      /^pending\[0\]\.demand\.request must be an object/,
    ],
    ['a kind from the prototype', ['pending', 0, 'demand'], { kind: 'constructor' }, /demand\.kind must be one of/],
    [
      'a selector without requirements',
      ['residents', 0, 'request', 'affinities', 'forbidden', 'requirements'],
      'app=web',
      /forbidden\.requirements must be a list/,
    ],
    ['a mark that is no pair', ['markedUnhealthy'], [['a']], /^markedUnhealthy\[0\] must be a node name/],
    ['a share above 1', ['mix', 'typical', 0, 'share'], 1.5, /^mix\.typical\[0\]\.share must be a number from 0 to 1/],
    ['labels that are a list', ['residents', 0, 'pod', 'labels'], [], /labels must be an object/],
    ['a later version', ['version'], 2, /^snapshot version 2; this build reads version 1/],
    ['a list that is missing', ['pending'], undefined, /^snapshot lacks/],
  ])('refuses %s with its path', (_, path, value, message) => {
    const reading = readSnapshot(changed(path, value));
    expect(reading.kind === 'invalid' ? reading.why : 'read').toMatch(message);
  });

  it.each(['nodes', 'residents', 'pending'])('refuses %s that come twice', (list) => {
    const root = document() as Record<string, unknown[]>;
    root[list] = [...(root[list] ?? []), ...(root[list] ?? [])];
    const reading = readSnapshot(root);
    expect(reading.kind === 'invalid' ? reading.why : 'read').toMatch(`${list}[1] is `);
  });

  it('keeps the creation time of a pod, and 0 for one that cannot be read', () => {
    const at = '2026-01-02T03:04:05Z';
    const record = pod({ name: 'timed', creationTimestamp: at });
    expect(record.createdSeconds).toBe(Date.parse(at) / 1000);
    expect(pod({ name: 'untimed', creationTimestamp: 'yesterday' }).createdSeconds).toBe(0);
    expect(pod({ name: 'untimed' }).createdSeconds).toBe(0);
  });
});
