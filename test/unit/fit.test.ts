import { describe, expect, it } from 'vitest';
import { explain, renderExplanation } from '../../extender/core/explain.ts';
import { nodeRecord } from '../../extender/core/records.ts';
import type { PodSketch } from '../support/builders.ts';
import { gpusOf, node, pod } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';

describe('whether a node can host a pod', () => {
  it.each<[string, PodSketch, string]>([
    ['fits by memory', { name: 'p', slices: 16 }, 'Fits'],
    ['is larger than any GPU although the node has the sum', { name: 'p', slices: 25 }, 'GpuTooSmall'],
    ['asks more GPUs than the node has', { name: 'p', slices: 3, count: 3 }, 'TooFewGpus'],
    ['asks a model the node lacks', { name: 'p', annotations: { 'gpuloom.io/gpu-model': 'H100' } }, 'GpuModel'],
    [
      'excludes the models the node has',
      { name: 'p', annotations: { 'gpuloom.io/gpu-model': '!A100|!T4' } },
      'GpuModel',
    ],
    ['asks one of the models', { name: 'p', annotations: { 'gpuloom.io/gpu-model': 'H100|T4' } }, 'Fits'],
    ['asks a UUID the node lacks', { name: 'p', annotations: { 'gpuloom.io/gpu-uuid': 'GPU-else' } }, 'GpuUuid'],
    ['asks a UUID the node has', { name: 'p', annotations: { 'gpuloom.io/gpu-uuid': 'GPU-n-1' } }, 'Fits'],
    ['needs on each of two GPUs what only one has', { name: 'p', slices: 40, count: 2 }, 'GpuTooSmall'],
  ])('says so for a pod that %s', (_, sketch, reason) => {
    const gpus = [
      { slices: 24, model: 'A100' },
      { slices: 16, model: 'T4' },
    ];
    expect(new Bench([{ name: 'n', gpus }]).reason(sketch, 'n')).toBe(reason);
  });

  it('knows unequal GPUs of one node by their own sizes', () => {
    const bench = new Bench([{ name: 'n', gpus: [{ slices: 80 }, { slices: 16 }] }]);
    expect(bench.place({ name: 'big', slices: 60 }, 'n')).toEqual([0]);
    expect(bench.reason({ name: 'next', slices: 21 }, 'n')).toBe('GpuMemory');
    expect(bench.reason({ name: 'next', slices: 20 }, 'n')).toBe('Fits');
  });

  it('passes over unhealthy GPUs', () => {
    const bench = new Bench([{ name: 'n', gpus: [{ slices: 16, health: 'unhealthy' }, { slices: 16 }] }]);
    expect(bench.place({ name: 'p', slices: 4 }, 'n')).toEqual([1]);
    expect(bench.reason({ name: 'q', slices: 8, count: 2 }, 'n')).toBe('GpuUnhealthy');
  });

  it('gives each GPU a hundred percent of compute, and always one percent to pods that name none', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    bench.place({ name: 'a', slices: 1, core: 60 }, 'n');
    expect(bench.reason({ name: 'b', slices: 1, core: 41 }, 'n')).toBe('GpuCore');
    bench.place({ name: 'sharer', slices: 1 }, 'n');
    expect(bench.reason({ name: 'b', slices: 1, core: 40 }, 'n')).toBe('GpuCore');
    bench.place({ name: 'b', slices: 1, core: 39 }, 'n');
    expect(bench.reason({ name: 'second sharer', slices: 1 }, 'n')).toBe('Fits');
  });

  it('refuses a pod without compute share on a GPU whose compute is granted in full', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    bench.place({ name: 'whole', slices: 1, core: 100 }, 'n');
    expect(bench.reason({ name: 'sharer', slices: 1 }, 'n')).toBe('GpuCore');
  });

  it('caps the pods on one GPU', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 64) }]);
    for (let each = 0; each < 16; each++) bench.place({ name: `p${each}` }, 'n');
    expect(bench.reason({ name: 'one more' }, 'n')).toBe('GpuTenants');
  });
});

describe('isolation that a pod requires', () => {
  const nodes = [
    { name: 'plain', gpus: gpusOf(1, 16) },
    { name: 'limited', gpus: gpusOf(1, 16), isolation: 'mps' as const },
  ];
  const requires = (level: string): PodSketch => ({ name: level, annotations: { 'gpuloom.io/isolation': level } });

  it.each<[string, PodSketch, string, string]>([
    ['requires nothing', { name: 'p' }, 'Fits', 'Fits'],
    ['requires none in so many words', requires('none'), 'Fits', 'Fits'],
    ['requires MPS', requires('mps'), 'Isolation', 'Fits'],
  ])('leaves a pod that %s only nodes that offer it', (_, sketch, plain, limited) => {
    const bench = new Bench(nodes);
    expect([bench.reason(sketch, 'plain'), bench.reason(sketch, 'limited')]).toEqual([plain, limited]);
  });

  it('follows a node that begins to offer it and ceases to', () => {
    const bench = new Bench(nodes);
    const said = (['mps', 'none'] as const).map((isolation) => {
      bench.engine.ledger.upsertNode(node({ name: 'plain', gpus: gpusOf(1, 16), isolation }));
      return bench.reason(requires('mps'), 'plain');
    });
    expect(said).toEqual(['Fits', 'Isolation']);
  });

  it('is none on a node whose agent misses the MPS daemon, and no pod fits there until it is back', () => {
    const bench = new Bench(nodes);
    const gpus = gpusOf(1, 16);
    const closed = gpus.map((gpu) => ({ ...gpu, health: 'unhealthy' as const }));
    bench.engine.ledger.upsertNode(node({ name: 'limited', gpus: closed, isolation: 'none' }));
    const reasons = (): string[] => [bench.reason({ name: 'p' }, 'limited'), bench.reason(requires('mps'), 'limited')];
    expect(reasons()).toEqual(['GpuUnhealthy', 'Isolation']);
    bench.engine.ledger.upsertNode(node({ name: 'limited', gpus, isolation: 'mps' }));
    expect(reasons()).toEqual(['Fits', 'Fits']);
  });

  it('is none on a node that only gpushare describes', () => {
    const bench = new Bench(nodes);
    const gpushare = { 'aliyun.com/gpu-mem': '16', 'aliyun.com/gpu-count': '1' };
    const record = nodeRecord({ metadata: { name: 'old' }, status: { capacity: gpushare } });
    if (record !== undefined) bench.engine.ledger.upsertNode(record);
    expect([bench.reason({ name: 'p' }, 'old'), bench.reason(requires('mps'), 'old')]).toEqual(['Fits', 'Isolation']);
  });

  it('is explained with what the pod requires, what each node offers and how to mend it', () => {
    const bench = new Bench(nodes);
    const explanation = explain(bench.engine, bench.shape(pod(requires('mps'))));
    expect(explanation.asks.isolation).toBe('mps');
    expect(explanation.nodes.map(({ node: name, isolation, reason }) => [name, isolation, reason])).toEqual([
      ['limited', 'mps', 'Fits'],
      ['plain', 'none', 'Isolation'],
    ]);
    expect(explanation.nodes[1]).toMatchObject({
      text: 'node without isolation mps: set isolation: mps for its agent and see that its MPS daemon runs, or drop gpuloom.io/isolation',
      preemptionCanHelp: false,
    });
    expect(renderExplanation(explanation)).toMatch(/^asks 1 x 1 slices, class online, isolation mps, policy/);
  });
});

describe('online and batch work on one GPU', () => {
  const one = [{ name: 'n', gpus: gpusOf(1, 20) }];

  it('lets one batch pod beside online pods, and no second', () => {
    const bench = new Bench(one);
    bench.place({ name: 'online', slices: 4 }, 'n');
    bench.place({ name: 'batch', slices: 4, class: 'batch' }, 'n');
    expect(bench.reason({ name: 'more batch', slices: 1, class: 'batch' }, 'n')).toBe('CoLocation');
    expect(bench.reason({ name: 'more online', slices: 1 }, 'n')).toBe('Fits');
  });

  it('caps batch beside online at half of the memory', () => {
    const bench = new Bench(one);
    bench.place({ name: 'online', slices: 1 }, 'n');
    expect(bench.reason({ name: 'batch', slices: 11, class: 'batch' }, 'n')).toBe('CoLocation');
    expect(bench.reason({ name: 'batch', slices: 10, class: 'batch' }, 'n')).toBe('Fits');
  });

  it('allows four batch pods alone on a GPU, and then keeps online away from them', () => {
    const bench = new Bench(one);
    for (let each = 0; each < 4; each++) bench.place({ name: `b${each}`, class: 'batch' }, 'n');
    expect(bench.reason({ name: 'b4', class: 'batch' }, 'n')).toBe('CoLocation');
    expect(bench.reason({ name: 'online' }, 'n')).toBe('CoLocation');
  });

  it.each<[string, Omit<PodSketch, 'name'>]>([
    ['of several GPUs', { count: 2, slices: 2 }],
    ['of a gang', { slices: 1, labels: { 'scheduling.x-k8s.io/pod-group': 'g' } }],
  ])('never puts batch work %s beside online work, whichever comes first', (_, sketch) => {
    const nodes = [{ name: 'n', gpus: gpusOf(2, 20) }];
    const onlineFirst = new Bench(nodes);
    onlineFirst.place({ name: 'o0', annotations: { 'gpuloom.io/gpu-uuid': 'GPU-n-0' } }, 'n');
    onlineFirst.place({ name: 'o1', annotations: { 'gpuloom.io/gpu-uuid': 'GPU-n-1' } }, 'n');
    expect(onlineFirst.reason({ name: 'batch', class: 'batch', ...sketch }, 'n')).toBe('CoLocation');
    const batchFirst = new Bench([{ name: 'n', gpus: gpusOf(sketch.count ?? 1, 20) }]);
    batchFirst.place({ name: 'batch', class: 'batch', ...sketch }, 'n');
    expect(batchFirst.reason({ name: 'online' }, 'n')).toBe('CoLocation');
  });
});

describe('GPU affinity and anti-affinity', () => {
  const two = [{ name: 'n', gpus: gpusOf(2, 16) }];
  const keepOff = { annotations: { 'gpuloom.io/gpu-anti-affinity': 'app=noisy' } };

  it('keeps a pod off GPUs with pods it names', () => {
    const bench = new Bench(two);
    expect(bench.place({ name: 'noisy', labels: { app: 'noisy' } }, 'n')).toEqual([0]);
    expect(bench.place({ name: 'quiet', ...keepOff }, 'n')).toEqual([1]);
  });

  it('keeps pods off the GPU of a pod that named them, though they say nothing themselves', () => {
    const bench = new Bench(two);
    expect(bench.place({ name: 'quiet', ...keepOff }, 'n')).toEqual([0]);
    expect(bench.place({ name: 'noisy', labels: { app: 'noisy' } }, 'n')).toEqual([1]);
    expect(bench.reason({ name: 'both', slices: 2, count: 2, labels: { app: 'noisy' } }, 'n')).toBe('GpuAntiAffinity');
  });

  it('does not reach into other namespaces unless they are listed', () => {
    const bench = new Bench([{ name: 'n', gpus: gpusOf(1, 16) }]);
    bench.place({ name: 'noisy', namespace: 'other', labels: { app: 'noisy' } }, 'n');
    expect(bench.reason({ name: 'quiet', ...keepOff }, 'n')).toBe('Fits');
    const annotations = { ...keepOff.annotations, 'gpuloom.io/gpu-affinity-namespaces': 'other,default' };
    expect(bench.reason({ name: 'quiet', annotations }, 'n')).toBe('GpuAntiAffinity');
  });

  it('puts a pod only on a GPU with a pod it asks for', () => {
    const bench = new Bench(two);
    const friend = { name: 'friend', annotations: { 'gpuloom.io/gpu-affinity': 'app=cache' } };
    expect(bench.reason(friend, 'n')).toBe('GpuAffinity');
    bench.place({ name: 'filler', slices: 12 }, 'n');
    expect(bench.place({ name: 'cache', slices: 8, labels: { app: 'cache' } }, 'n')).toEqual([1]);
    expect(bench.place(friend, 'n')).toEqual([1]);
  });

  it('lets the first pod of a group that asks for its own kind start the group anywhere', () => {
    const bench = new Bench(two);
    const member = (name: string) => ({
      name,
      slices: 4,
      labels: { app: 'ring' },
      annotations: { 'gpuloom.io/gpu-affinity': 'app=ring' },
    });
    const [first] = bench.place(member('first'), 'n');
    expect(bench.place(member('second'), 'n')).toEqual([first]);
    bench.place({ name: 'filler', slices: 7, annotations: { 'gpuloom.io/gpu-uuid': `GPU-n-${first}` } }, 'n');
    expect(bench.reason(member('third'), 'n')).toBe('GpuMemory');
  });

  it('follows soft wishes where it can and ignores them where it cannot', () => {
    const bench = new Bench(two);
    bench.place({ name: 'cache', slices: 8, labels: { app: 'cache' } }, 'n');
    const near = { annotations: { 'gpuloom.io/gpu-preferred-affinity': 'app=cache' } };
    const apart = { annotations: { 'gpuloom.io/gpu-preferred-anti-affinity': 'app=cache' } };
    expect(bench.place({ name: 'near', ...near }, 'n')).toEqual([0]);
    expect(bench.place({ name: 'apart', ...apart }, 'n')).toEqual([1]);
    expect(bench.place({ name: 'too big to be near', slices: 12, ...near }, 'n')).toEqual([1]);
  });
});
