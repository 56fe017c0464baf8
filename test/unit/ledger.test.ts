import { describe, expect, it } from 'vitest';
import { drift } from '../../extender/core/drift.ts';
import { encodeAllocation } from '../../extender/core/allocation-codec.ts';
import { nodeRecord } from '../../extender/core/records.ts';
import { ALLOCATION_ANNOTATION } from '../../extender/core/resources.ts';
import { gpusOf, node, pod, type PodSketch } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';

function bound(sketch: PodSketch, nodeName: string, gpus: readonly number[]): PodSketch {
  const allocation = encodeAllocation({
    containers: [
      { name: 'main', gpus: gpus.map((index) => ({ uuid: `GPU-${nodeName}-${index}`, index, slices: 1, core: 0 })) },
    ],
  });
  return { ...sketch, nodeName, annotations: { ...sketch.annotations, [ALLOCATION_ANNOTATION]: allocation } };
}

function freeSlices(bench: Bench, nodeName: string): number[] {
  const { state } = bench.engine.ledger;
  const index = bench.indexOf(nodeName);
  const start = state.gpuStart[index] ?? 0;
  return [...state.gpuFree.subarray(start, start + (state.gpuCount[index] ?? 0))];
}

describe('the ledger', () => {
  it('counts usage from the pod spec, whatever amounts the annotation names', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(2, 16) }]);
    bench.engine.ledger.observe(pod(bound({ name: 'p', slices: 10 }, 'n', [1])), 0);
    expect(freeSlices(bench, 'n')).toEqual([16, 6]);
  });

  it('keeps a terminating pod counted until it has ended', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    const { ledger } = bench.engine;
    const sketch = bound({ name: 'p', slices: 10 }, 'n', [0]);
    ledger.observe(pod(sketch), 0);
    ledger.observe(pod({ ...sketch, deletionTimestamp: '2026-01-01T00:00:00Z' }), 0);
    expect(freeSlices(bench, 'n')).toEqual([6]);
    ledger.observe(pod({ ...sketch, phase: 'Failed' }), 0);
    expect(freeSlices(bench, 'n')).toEqual([16]);
  });

  it('holds back the share of a pod that came without an allocation on every GPU, without closing the node', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(2, 16) }]);
    bench.engine.ledger.observe(pod({ name: 'bypass', slices: 10, nodeName: 'n' }), 0);
    bench.engine.ledger.observe(pod({ name: 'bypass2', slices: 10, nodeName: 'n' }), 0);
    expect(freeSlices(bench, 'n')).toEqual([0, 0]);
    expect(bench.reason({ name: 'p' }, 'n')).toBe('GpuMemory');
  });

  it.each([
    ['a claimed GPU', (sketch: PodSketch) => bound(sketch, 'n', [0]), 'NodeClosed'],
    ['an unknown GPU', (sketch: PodSketch) => ({ ...sketch, nodeName: 'n' }), 'GpuMemory'],
  ] as const)('finds nothing free beside pods whose requests overflow a column on %s', (_, place, reason) => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    for (const name of ['a', 'b']) bench.engine.ledger.observe(pod(place({ name, slices: 2 ** 31 - 1 })), 0);
    expect(freeSlices(bench, 'n')).toEqual([0]);
    expect(bench.reason({ name: 'p' }, 'n')).toBe(reason);
  });

  it('does not trust a claim to fewer GPUs than the pod asks for', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(3, 16) }]);
    bench.engine.ledger.observe(pod(bound({ name: 'p', slices: 20, count: 2 }, 'n', [0])), 0);
    expect(freeSlices(bench, 'n')).toEqual([6, 6, 6]);
  });

  it('ignores a change of a confirmed allocation and reports it', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(2, 16) }]);
    const { ledger } = bench.engine;
    ledger.observe(pod(bound({ name: 'p', slices: 10 }, 'n', [0])), 0);
    expect(ledger.observe(pod(bound({ name: 'p', slices: 10 }, 'n', [1])), 0)).toBe('tampered');
    expect(freeSlices(bench, 'n')).toEqual([6, 16]);
  });

  it('ignores an allocation that a user put on a pod before it is bound', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    const forged = { ...bound({ name: 'p', slices: 10 }, 'n', [0]), nodeName: '' };
    bench.engine.ledger.observe(pod(forged), 0);
    expect(freeSlices(bench, 'n')).toEqual([16]);
  });

  it('keeps allocations while a node is gone and counts them again when it returns, matched by UUID', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(2, 16) }]);
    const { ledger } = bench.engine;
    bench.place({ name: 'p', slices: 10 }, 'n');
    ledger.removeNode('n');
    const swapped = [
      { slices: 16, uuid: 'GPU-n-1' },
      { slices: 16, uuid: 'GPU-n-0' },
    ];
    ledger.upsertNode(node({ name: 'n', uid: 'reborn', gpus: swapped }));
    expect(freeSlices(bench, 'n')).toEqual([16, 6]);
  });

  it('closes a node when a GPU with pods on it vanishes, and opens it when they are gone', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(2, 16) }]);
    const { ledger } = bench.engine;
    bench.place({ name: 'p', slices: 4 }, 'n');
    ledger.upsertNode(node({ name: 'n', gpus: [{ slices: 16, uuid: 'GPU-n-1' }] }));
    expect(bench.reason({ name: 'q' }, 'n')).toBe('NodeClosed');
    expect(ledger.state.closedWhy[bench.indexOf('n')]).toMatch(/GPU-n-0 vanished while pod default\/p holds it/);
    ledger.release('uid-default-p');
    expect(bench.reason({ name: 'q' }, 'n')).toBe('Fits');
  });

  it('saturates and closes the node when more is granted than a GPU has', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    bench.engine.ledger.observe(pod(bound({ name: 'a', slices: 10 }, 'n', [0])), 0);
    bench.engine.ledger.observe(pod(bound({ name: 'b', slices: 10 }, 'n', [0])), 0);
    expect(freeSlices(bench, 'n')).toEqual([0]);
    expect(bench.reason({ name: 'q' }, 'n')).toBe('NodeClosed');
    expect(drift(bench.engine.ledger)).toEqual([]);
  });

  it('keeps a doubtful reservation beside a new one on another node until the pod is seen', () => {
    const bench = new Bench(['n', 'm'].map((name) => ({ name, gpus: gpusOf(1, 16) })));
    const { ledger } = bench.engine;
    const record = pod({ name: 'p', slices: 10 });
    if (record.demand.kind !== 'request') throw new Error('a GPU pod');
    ledger.assume(record, record.demand.request, 'n', [{ uuid: 'GPU-n-0', index: 0 }], 0);
    ledger.doubt(record.uid, 0);
    ledger.setAside(record.uid);
    ledger.assume(record, record.demand.request, 'm', [{ uuid: 'GPU-m-0', index: 0 }], 0);
    expect([freeSlices(bench, 'n'), freeSlices(bench, 'm')]).toEqual([[6], [6]]);
    ledger.observe(pod(bound({ name: 'p', slices: 10 }, 'n', [0])), 0);
    expect([freeSlices(bench, 'n'), freeSlices(bench, 'm')]).toEqual([[6], [16]]);
    expect(ledger.unconfirmed().size).toBe(0);
  });

  it('drops a reservation set aside as soon as another binding of the pod is known to be committed', () => {
    const bench = new Bench(['n', 'm'].map((name) => ({ name, gpus: gpusOf(1, 16) })));
    const { ledger } = bench.engine;
    const record = pod({ name: 'p', slices: 10 });
    if (record.demand.kind !== 'request') throw new Error('a GPU pod');
    ledger.assume(record, record.demand.request, 'n', [{ uuid: 'GPU-n-0', index: 0 }], 0);
    ledger.doubt(record.uid, 0);
    ledger.setAside(record.uid);
    ledger.assume(record, record.demand.request, 'm', [{ uuid: 'GPU-m-0', index: 0 }], 0);
    ledger.confirm(record.uid, 0);
    expect([freeSlices(bench, 'n'), freeSlices(bench, 'm')]).toEqual([[16], [6]]);
    expect(ledger.unconfirmed().size).toBe(0);
  });

  it('tells a pod from its successor of the same name by UID', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    const { ledger } = bench.engine;
    ledger.observe(pod(bound({ name: 'web-0', uid: 'first', slices: 6 }, 'n', [0])), 0);
    ledger.observe(pod(bound({ name: 'web-0', uid: 'second', slices: 6 }, 'n', [0])), 0);
    expect(freeSlices(bench, 'n')).toEqual([4]);
    ledger.release('first');
    expect(freeSlices(bench, 'n')).toEqual([10]);
  });

  it('keeps pods on their GPUs when the node agent names GPUs that only gpushare described before', () => {
    const capacity = { 'aliyun.com/gpu-mem': '32', 'aliyun.com/gpu-count': '2' };
    const before = nodeRecord({ metadata: { name: 'n' }, status: { capacity } });
    if (before === undefined) throw new Error('the node has a name');
    const bench = new Bench([]);
    bench.engine.ledger.upsertNode(before);
    bench.place({ name: 'first', slices: 10 }, 'n');
    bench.place({ name: 'second', slices: 12 }, 'n');
    const free = freeSlices(bench, 'n');
    bench.engine.ledger.upsertNode(node({ name: 'n', gpus: gpusOf(2, 16) }));
    expect(freeSlices(bench, 'n')).toEqual(free);
    expect(bench.reason({ name: 'p', slices: 4 }, 'n')).toBe('Fits');
  });

  it('treats GPUs that gpushare lists as unhealthy as such, and takes them back', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    bench.engine.ledger.markUnhealthy('n', new Set([0]));
    expect(bench.reason({ name: 'p' }, 'n')).toBe('GpuUnhealthy');
    bench.engine.ledger.markUnhealthy('n', new Set());
    expect(bench.reason({ name: 'p' }, 'n')).toBe('Fits');
  });
});
