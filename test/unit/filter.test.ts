import { describe, expect, it } from 'vitest';
import { PROFILES } from '../../extender/core/resources.ts';
import { TestCluster } from '../support/application.ts';
import { gpusOf, nodeManifest, podManifest, type NodeSketch, type PodSketch } from '../support/builders.ts';

function nodes(count: number, slices = 16): NodeSketch[] {
  return Array.from({ length: count }, (_, at) => ({
    name: `n${String(at).padStart(2, '0')}`,
    gpus: gpusOf(2, slices),
  }));
}

function names(sketches: readonly NodeSketch[]): string[] {
  return sketches.map(({ name }) => name);
}

const asks = (sketch: PodSketch) => podManifest({ uid: 'asking', ...sketch });

describe('filter', () => {
  it('hands back every feasible node and a reason for each of the others, in the map that every version reads', () => {
    const cluster = new TestCluster([
      { name: 'fits', gpus: gpusOf(1, 16) },
      { name: 'small', gpus: gpusOf(1, 8) },
      { name: 'none', gpus: [] },
    ]);
    const unresolvable = { small: 'no GPU is large enough for 12 slices', none: 'node reports no GPUs' };
    const answer = cluster.app.filter({
      Pod: asks({ name: 'p', slices: 12 }),
      NodeNames: ['fits', 'small', 'none', 'new'],
    });
    expect(answer).toEqual({
      Nodes: null,
      NodeNames: ['fits'],
      FailedNodes: { new: 'node not known to gpuloom yet', ...unresolvable },
      FailedAndUnresolvableNodes: unresolvable,
      Error: '',
    });
  });

  it('separates what preemption could mend from what it could not', async () => {
    const cluster = new TestCluster([{ name: 'full', gpus: gpusOf(1, 16) }]);
    cluster.create({ name: 'resident', slices: 10 });
    await cluster.bind('resident', 'full');
    const full = cluster.app.filter({ Pod: asks({ name: 'p', slices: 12 }), NodeNames: ['full'] });
    expect(full.FailedNodes).toEqual({ full: 'no GPU has 12 free slices' });
    expect(full.FailedAndUnresolvableNodes).toEqual({});
    const model = { annotations: { 'gpuloom.io/gpu-model': 'H100' } };
    const wrong = cluster.app.filter({ Pod: asks({ name: 'p', ...model }), NodeNames: ['full'] });
    expect(wrong.FailedAndUnresolvableNodes).toEqual({ full: 'no GPU is of an admitted model' });
    const isolated = { annotations: { 'gpuloom.io/isolation': 'mps' } };
    const open = cluster.app.filter({ Pod: asks({ name: 'p', ...isolated }), NodeNames: ['full'] });
    expect(open.FailedAndUnresolvableNodes['full']).toMatch(/^node without isolation mps: set isolation: mps/);
  });

  it('hands back the best K nodes in the order of the ranking when more are feasible', async () => {
    const sketches = nodes(10);
    const cluster = new TestCluster(sketches, { narrow: 3, ranking: 'advisory', defaultPolicy: 'binpack' });
    for (const [name, slices, node] of [
      ['a', 4, 'n07'],
      ['b', 8, 'n03'],
    ] as const) {
      cluster.create({ name, slices });
      await cluster.bind(name, node);
    }
    const answer = cluster.app.filter({ Pod: asks({ name: 'p', slices: 4 }), NodeNames: names(sketches) });
    expect(answer.NodeNames).toEqual(['n03', 'n07', 'n00']);
    expect(answer.FailedNodes).toEqual({});
  });

  it('does not narrow for pods whose soft in-tree preferences need to see every node', () => {
    const sketches = nodes(10);
    const cluster = new TestCluster(sketches, { narrow: 3 });
    const manifest = asks({ name: 'p' });
    const affinity = { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{}] } };
    const answer = cluster.app.filter({
      Pod: { ...manifest, spec: { ...manifest.spec, affinity } },
      NodeNames: names(sketches),
    });
    expect(answer.NodeNames).toHaveLength(10);
  });

  it('does not narrow when told not to', () => {
    const sketches = nodes(40);
    const cluster = new TestCluster(sketches, { narrow: 0 });
    expect(cluster.app.filter({ Pod: asks({ name: 'p' }), NodeNames: names(sketches) }).NodeNames).toHaveLength(40);
  });

  it('narrows among the candidates only, in whatever order they come', () => {
    const sketches = nodes(40);
    const cluster = new TestCluster(sketches, { narrow: 4, ranking: 'advisory' });
    for (const from of [0, 13, 39]) {
      const candidates = [...names(sketches).slice(from), ...names(sketches).slice(0, from)].slice(0, 20);
      const { NodeNames } = cluster.app.filter({ Pod: asks({ name: 'p' }), NodeNames: candidates });
      expect(NodeNames).toEqual([...candidates].sort().slice(0, 4));
    }
  });

  it('answers full nodes with full nodes', () => {
    const sketches = nodes(2);
    const cluster = new TestCluster(sketches, { narrow: 0 });
    const items = [...sketches.map(nodeManifest), { metadata: { name: 'stranger', annotations: { keep: 'me' } } }];
    const answer = cluster.app.filter({ Pod: asks({ name: 'p' }), Nodes: { items }, NodeNames: null });
    expect(answer.Nodes?.items).toEqual(items.slice(0, 2));
    expect(answer.FailedNodes).toEqual({ stranger: 'node not known to gpuloom yet' });
  });

  it('refuses a contradictory pod on every node with the same advice, and says so in an event', () => {
    const cluster = new TestCluster(nodes(2));
    const answer = cluster.app.filter({ Pod: asks({ name: 'p', slices: 5, count: 2 }), NodeNames: ['n00', 'n01'] });
    expect(Object.values(answer.FailedAndUnresolvableNodes)).toEqual([
      expect.stringMatching(/ask 4 or 6/),
      expect.stringMatching(/ask 4 or 6/),
    ]);
    expect(cluster.events).toMatchObject([{ type: 'Warning', reason: 'GpuRequestInvalid' }]);
  });

  it('lets pods that ask for no GPU pass', () => {
    const cluster = new TestCluster([]);
    expect(cluster.app.filter({ Pod: asks({ name: 'p', slices: 0 }), NodeNames: ['any'] }).NodeNames).toEqual(['any']);
  });

  it('explains a pod that fits nowhere in one stable sentence', () => {
    const cluster = new TestCluster([...nodes(3, 8), { name: 'x', gpus: gpusOf(1, 16, 'T4') }]);
    const candidates = ['x', 'n00', 'n01', 'n02'];
    cluster.app.filter({ Pod: asks({ name: 'p', slices: 20 }), NodeNames: candidates });
    cluster.app.filter({
      Pod: asks({ name: 'q', slices: 12, annotations: { 'gpuloom.io/gpu-model': '!T4' } }),
      NodeNames: candidates,
    });
    expect(cluster.events.map(({ message }) => message)).toEqual([
      '0/4 nodes fit; 4 no GPU is large enough for 20 slices',
      '0/4 nodes fit; 3 no GPU is large enough for 12 slices, 1 no GPU is of an admitted model',
    ]);
    expect(cluster.rejections.get('GpuTooSmall')).toBe(7);
  });

  it.each([['not ready', 'gpuloom is syncing: waiting']])(
    'answers an explicit error while %s, never an empty list',
    (_, refusal) => {
      const cluster = new TestCluster(nodes(1));
      cluster.refusal = refusal;
      expect(cluster.app.filter({ Pod: asks({ name: 'p' }), NodeNames: ['n00'] })).toMatchObject({
        NodeNames: null,
        Error: refusal,
      });
    },
  );

  it('answers an error to requests without a pod or nodes', () => {
    const cluster = new TestCluster(nodes(1));
    expect(cluster.app.filter({ Pod: null, NodeNames: ['n00'] }).Error).toBe('arg or pod is nil');
    expect(cluster.app.filter({ Pod: asks({ name: 'p' }), NodeNames: null, Nodes: null }).Error).toBe(
      'cannot get node names',
    );
  });

  it('writes nothing: any number of calls leave the ledger as it was', () => {
    const cluster = new TestCluster(nodes(4));
    const { state } = cluster.app.engine.ledger;
    const before = state.generation;
    for (let each = 0; each < 10; each++) cluster.app.filter({ Pod: asks({ name: `p${each}` }), NodeNames: ['n00'] });
    expect(state.generation).toBe(before);
  });

  it('is not led astray by a node called constructor', () => {
    const cluster = new TestCluster([{ name: 'constructor', gpus: gpusOf(1, 4) }]);
    const answer = cluster.app.filter({ Pod: asks({ name: 'p', slices: 8 }), NodeNames: ['constructor', '__proto__'] });
    expect(Object.keys(answer.FailedAndUnresolvableNodes)).toEqual(['constructor']);
    expect(answer.NodeNames).toEqual([]);
  });

  it("uses gpushare's own words in the gpushare profile", async () => {
    const cluster = new TestCluster([{ name: 'full', gpus: gpusOf(1, 16) }], { profile: PROFILES.gpushare });
    cluster.create({ name: 'resident', slices: 10 });
    await cluster.bind('resident', 'full');
    cluster.app.feeds.nodes.upsert({
      name: 'cpu',
      uid: 'u',
      address: '',
      allocatable: { cpuMilli: 1, memoryMiB: 1 },
      gpus: { kind: 'none' },
    });
    const answer = cluster.app.filter({
      Pod: podManifest({ name: 'p', slices: 12 }, PROFILES.gpushare),
      NodeNames: ['full', 'cpu'],
    });
    expect({ ...answer.FailedNodes, ...answer.FailedAndUnresolvableNodes }).toEqual({
      full: 'Insufficient GPU Memory in one device',
      cpu: 'The node cpu is not for GPU share, need skip',
    });
  });
});

describe('prioritize', () => {
  it('gives the top score to exactly one of many equal nodes: the first by name', () => {
    const sketches = nodes(12);
    const cluster = new TestCluster(sketches);
    const priorities = cluster.app.prioritize({ Pod: asks({ name: 'p' }), NodeNames: names(sketches).reverse() });
    expect(priorities.filter(({ Score }) => Score === 10).map(({ Host }) => Host)).toEqual(['n00']);
    expect(priorities.every(({ Score }) => Number.isInteger(Score) && Score >= 0 && Score <= 10)).toBe(true);
  });

  it('keeps equal nodes equal in the advisory ranking', async () => {
    const sketches = nodes(4);
    const cluster = new TestCluster(sketches, { ranking: 'advisory', defaultPolicy: 'binpack' });
    const ask = () => cluster.app.prioritize({ Pod: asks({ name: 'p', slices: 4 }), NodeNames: names(sketches) });
    expect(ask().map(({ Score }) => Score)).toEqual([10, 10, 10, 10]);
    cluster.create({ name: 'resident', slices: 4 });
    await cluster.bind('resident', 'n02');
    expect(ask().map(({ Score }) => Score)).toEqual([0, 0, 10, 0]);
  });

  it('under decisive ranking lets that node win which a narrowed filter hands back alone, whatever the policy', async () => {
    for (const defaultPolicy of ['fragmentation', 'binpack', 'spread', 'topology'] as const) {
      const sketches = nodes(8);
      const cluster = new TestCluster(sketches, { narrow: 3, defaultPolicy });
      for (let each = 0; each < 12; each++) {
        cluster.create({ name: `r${each}`, slices: 1 + (each % 5) });
        await cluster.bind(`r${each}`, `n0${(each * 3) % 8}`);
      }
      const Pod = asks({ name: 'p', slices: 3 });
      const { NodeNames } = cluster.app.filter({ Pod, NodeNames: names(sketches) });
      const scores = cluster.app.prioritize({ Pod, NodeNames: names(sketches) });
      expect(scores.filter(({ Score }) => Score === 10).map(({ Host }) => Host)).toEqual(NodeNames);
    }
  });

  it('has the nodes that an advisory filter hands back in its order', async () => {
    const sketches = nodes(8);
    const cluster = new TestCluster(sketches, { narrow: 3, ranking: 'advisory', defaultPolicy: 'binpack' });
    for (const [each, node] of ['n05', 'n02', 'n02'].entries()) {
      cluster.create({ name: `r${each}`, slices: 2 });
      await cluster.bind(`r${each}`, node);
    }
    const Pod = asks({ name: 'p', slices: 3 });
    const { NodeNames } = cluster.app.filter({ Pod, NodeNames: names(sketches) });
    expect(NodeNames).toEqual(['n02', 'n05', 'n00']);
    const scores = cluster.app.prioritize({ Pod, NodeNames: NodeNames ?? [] }).map(({ Score }) => Score);
    expect(scores).toEqual([...scores].sort((a, b) => b - a));
  });

  it('throws while it may not answer, because kube-scheduler would take zeros for an opinion', () => {
    const cluster = new TestCluster(nodes(1));
    cluster.refusal = 'gpuloom is stale';
    expect(() => cluster.app.prioritize({ Pod: asks({ name: 'p' }), NodeNames: ['n00'] })).toThrow('gpuloom is stale');
  });
});
