// Answers of `simulator replay` to what-if questions, worked out by hand on clusters small enough for that.

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PROFILES } from '../../extender/core/resources.ts';
import type { ReplayReport } from '../../simulator/replay/report.ts';
import { gpusOf } from '../support/builders.ts';
import { kubectlObjects, kubectlText, replayed, type Scene, type ScenePod } from '../support/replayed.ts';
import { callSimulator, Folder } from '../support/simulated.ts';

function ask(scene: Scene, ...argv: readonly string[]): Promise<ReplayReport> {
  return replayed('kubectl', kubectlText(kubectlObjects(scene)), ...argv);
}

/** Created in this order, a minute after each other. */
function inTurn(...pods: readonly ScenePod[]): ScenePod[] {
  return pods.map((pod, at) => ({
    ...pod,
    creationTimestamp: `2026-01-01T00:${String(at).padStart(2, '0')}:00Z`,
  }));
}

/** `group: fit/pods` for each group, and `count x reason` for each refusal. */
function brief(groups: NonNullable<ReplayReport['changed']>['groups']): string[] {
  return groups.flatMap(({ group, fit, pods, refusals }) => [
    `${group}: ${fit}/${pods}`,
    ...refusals.map(({ why, names }) => `${names.join()}: ${why}`),
  ]);
}

describe('the cluster as it is', () => {
  it('counts nodes, GPUs and slices, and says why pods wait', async () => {
    const { today, document, findings } = await ask({
      nodes: [
        { name: 'a', gpus: gpusOf(2, 16) },
        { name: 'b', gpus: [{ slices: 16 }, { slices: 16, health: 'unhealthy' }] },
        { name: 'c', gpus: [] },
      ],
      pods: [
        { name: 'half', slices: 8, on: ['a', 0] },
        { name: 'whole', slices: 16, on: ['a', 1] },
        { name: 'done', slices: 16, on: ['b', 0], phase: 'Succeeded' },
        { name: 'fits', slices: 12 },
        { name: 'big', slices: 24 },
        { name: 'pair', slices: 32, count: 2 },
        { name: 'odd', slices: 3, count: 2 },
      ],
    });
    expect(document).toEqual({ kind: 'kubectl', nodes: 3, pods: 2, gpuPods: 2, waitingPods: 4 });
    expect(today.occupancy).toMatchObject({
      ...{ gpuNodes: 2, closedNodes: 0, nodesWithoutGpus: 1, gpus: 4, unhealthyGpus: 1, idleGpus: 1 },
      ...{ slices: 64, allocatedSlices: 24, allocationPercent: 37.5, freeSlices: 24 },
    });
    expect(brief(today.waiting === undefined ? [] : [today.waiting])).toEqual([
      'waiting: 1/4',
      'default/pair: 0/3 nodes fit; 1 fewer than 2 GPUs are healthy, 1 fewer than 2 GPUs have 16 free slices, 1 node reports no GPUs',
      'default/big: 0/3 nodes fit; 2 no GPU is large enough for 24 slices, 1 node reports no GPUs',
      'default/odd: invalid request: container "main" asks gpuloom.io/gpu-mem 3, which does not divide by gpuloom.io/gpu-count 2; ask 2 or 4',
    ]);
    expect(findings.map(({ kind, count }) => `${kind} ${count}`)).toEqual([
      'incomplete 1',
      'unhealthy-gpu 1',
      'invalid-request 1',
    ]);
  });

  it('measures stranded slices as the free slices that the average typical request cannot use', async () => {
    // Typical: three in five ask for 4 slices, two for 12. GPU 0 has 8 free and GPU 1 has 4: only the small ones can use
    // them. GPU 2 has 16 free, of use to all. GPU 3 is full. (8 + 4) x 2/5 = 4.8.
    const { today, settings } = await ask({
      nodes: [{ name: 'a', gpus: [...gpusOf(3, 16), { slices: 4 }] }],
      pods: [
        { name: 's1', slices: 4, on: ['a', 0] },
        { name: 's2', slices: 4, on: ['a', 0] },
        { name: 's3', slices: 4, on: ['a', 3] },
        { name: 'l1', slices: 12, on: ['a', 1] },
        { name: 'l2', slices: 12 },
      ],
    });
    expect(settings.typicalRequests).toBe(2);
    expect(today.occupancy).toMatchObject({ freeSlices: 28, strandedSlices: 4.8 });
  });

  it('says nothing of fragmentation where no request is typical', async () => {
    const { today, settings } = await ask({ nodes: [{ name: 'a', gpus: gpusOf(1, 16) }], pods: [] });
    expect(settings.typicalRequests).toBe(0);
    expect(today.occupancy).toMatchObject({ freeSlices: 16, allocationPercent: 0 });
    expect(Object.keys(today.occupancy)).not.toContain('strandedSlices');
  });

  it('tells over-commit, vanished GPUs and pods without a known GPU plainly', async () => {
    const { findings, today } = await ask({
      nodes: ['a', 'b', 'c'].map((name) => ({ name, gpus: gpusOf(1, 16) })),
      pods: [
        { name: 'x', slices: 10, on: ['a', 0] },
        { name: 'y', slices: 10, on: ['a', 0] },
        { name: 'lost', slices: 4, on: ['b', 7] },
        { name: 'somewhere', slices: 6, on: ['c'] },
      ],
    });
    expect(findings.map(({ kind, examples }) => `${kind}: ${examples.join()}`)).toEqual([
      'incomplete: default',
      'over-commit: a GPU 0 (20/16 slices, 0 % compute)',
      'closed-node: a',
      'closed-node: b',
      'unplaced: default/somewhere',
    ]);
    expect(findings[2]?.text).toMatch(/GPU GPU-a-0 is granted beyond its capacity/);
    expect(findings[3]?.text).toMatch(/GPU GPU-b-7 vanished while pod default\/lost holds it/);
    expect(today.occupancy).toMatchObject({ closedNodes: 2, allocatedSlices: 20, freeSlices: 10 });
  });

  it('reads a gpushare cluster by its profile', async () => {
    const node = {
      kind: 'Node',
      metadata: { name: 'a' },
      status: { capacity: { 'aliyun.com/gpu-mem': '30', 'aliyun.com/gpu-count': '2', cpu: '8', memory: '16Gi' } },
    };
    const pods = kubectlObjects(
      {
        nodes: [],
        pods: [
          { name: 'p', slices: 5, nodeName: 'a', annotations: { ALIYUN_COM_GPU_MEM_IDX: '1' } },
          { name: 'q', slices: 11 },
        ],
      },
      PROFILES.gpushare,
    );
    const { today } = await replayed('kubectl', kubectlText([node, ...pods]), '--profile', 'gpushare');
    expect(today.occupancy).toMatchObject({ gpus: 2, slices: 30, allocatedSlices: 5, idleGpus: 1, freeSlices: 25 });
    expect(today.waiting).toMatchObject({ fit: 1, pods: 1 });
  });
});

describe('placing all pods anew', () => {
  // Two GPUs of 10. Oldest first under binpack, 6 and 4 fill one GPU, and 5 and 5 the other.
  // Today 6+4 share a GPU, 5 is alone, and the last 5 fits too: nothing changes.
  const twoGpus = { name: 'a', gpus: gpusOf(2, 10) };

  it('moves nobody where the pods are where the policy puts them', async () => {
    const pods = inTurn(
      { name: 'six', slices: 6, on: ['a', 0] },
      { name: 'four', slices: 4, on: ['a', 0] },
      { name: 'five', slices: 5, on: ['a', 1] },
    );
    const { anew } = await ask({ nodes: [twoGpus], pods }, '--policy', 'binpack');
    expect(anew).toMatchObject({ moves: 0, occupancy: { allocatedSlices: 15 } });
    expect(brief(anew?.groups ?? [])).toEqual(['running: 3/3']);
  });

  it.each([
    // 3 and 3 come first and share a GPU; 7 takes the other; the second 7 is left over.
    ['creation', ['running: 3/4', 'default/seven2: 0/1 nodes fit; 1 no GPU has 7 free slices'], 2],
    // 7 and 7 come first, 3 and 3 fill up beside them: the way they run today, GPUs swapped or not.
    ['size', ['running: 4/4'], 0],
  ] as const)('by %s places as many as that order can', async (order, groups, moves) => {
    const pods = inTurn(
      { name: 'three1', slices: 3, on: ['a', 0] },
      { name: 'three2', slices: 3, on: ['a', 1] },
      { name: 'seven1', slices: 7, on: ['a', 0] },
      { name: 'seven2', slices: 7, on: ['a', 1] },
    );
    const { anew } = await ask({ nodes: [twoGpus], pods }, '--policy', 'binpack', '--order', order);
    expect(brief(anew?.groups ?? [])).toEqual(groups);
    expect(anew?.moves).toBe(moves);
  });

  it('keeps pods without GPUs where they are, and their CPU with them', async () => {
    const scene = {
      nodes: [{ ...twoGpus, cpu: '4' }],
      pods: inTurn(
        { name: 'host', slices: 0, cpu: '3', on: ['a'] },
        { name: 'p', slices: 1, cpu: '1', on: ['a', 0] },
        { name: 'q', slices: 1, cpu: '1' },
      ),
    };
    const { anew } = await ask(scene, '--policy', 'binpack');
    expect(brief(anew?.groups ?? [])).toEqual([
      'running: 1/1',
      'waiting: 0/1',
      'default/q: 0/1 nodes fit; 1 insufficient CPU or memory',
    ]);
  });

  it('gives the same for the same seed and writes where every pod went', async () => {
    using folder = new Folder();
    const scene = {
      nodes: [twoGpus, { name: 'b', gpus: gpusOf(2, 10) }],
      pods: inTurn(...[1, 2, 3, 4, 5, 6, 7].map((slices) => ({ name: `p${slices}`, slices }))),
    };
    const file = folder.file('list.json', kubectlText(kubectlObjects(scene)));
    const shuffledFile = folder.file('other.json', kubectlText(kubectlObjects(scene).toReversed()));
    const outputs: string[] = [];
    for (const source of [file, file, shuffledFile]) {
      const out = folder.free('out.csv');
      const { stdout } = await callSimulator(
        'replay',
        '--kubectl',
        source,
        '--order',
        'seed:7',
        '--repack',
        '--placements',
        out,
      );
      outputs.push(stdout.replace(source, 'FILE') + readFileSync(out, 'utf8'));
    }
    expect(outputs[1]).toBe(outputs[0]);
    expect(outputs[2]).toBe(outputs[0]);
    const [head, ...lines] = (outputs[0] ?? '')
      .slice((outputs[0] ?? '').indexOf('namespace,name'))
      .trim()
      .split('\n');
    expect(head).toBe('namespace,name,uid,group,node_today,gpus_today,node,gpus');
    expect(lines).toHaveLength(7);
    for (const line of lines) expect(line).toMatch(/^default,p(\d),uid-default-p\1,waiting,,,[ab],[01]$/);
  });
});

describe('changing the cluster', () => {
  const nodes = [
    { name: 'a', gpus: gpusOf(1, 16) },
    { name: 'b', gpus: gpusOf(1, 16) },
  ];

  it('finds places for the pods of a node to be drained, oldest first, and says for whom there is none', async () => {
    const pods = inTurn(
      { name: 'stays', slices: 6, on: ['b', 0] },
      { name: 'old', slices: 8, on: ['a', 0] },
      { name: 'young', slices: 4, on: ['a', 0] },
    );
    const { changed } = await ask({ nodes, pods }, '--remove-nodes', 'a');
    expect(changed?.drained).toEqual([
      { pod: 'default/old', from: 'a', to: 'b', gpus: [0], why: '' },
      { pod: 'default/young', from: 'a', to: '', gpus: [], why: '0/1 nodes fit; 1 no GPU has 4 free slices' },
    ]);
    expect(changed).toMatchObject({ moves: 1, occupancy: { gpuNodes: 1, slices: 16, allocatedSlices: 14 } });
  });

  it.each<[string, readonly string[], readonly string[]]>([
    // Each copy of b is empty: one more 12 fits on it.
    [
      'a copy of a node',
      ['--add-nodes', 'b'],
      ['waiting: 1/2', 'default/w2: 0/3 nodes fit; 3 no GPU has 12 free slices'],
    ],
    ['two copies', ['--add-nodes', 'b=2'], ['waiting: 2/2']],
    // 2 GPUs of 12 GiB at 1 GiB a slice.
    ['a shape in GiB', ['--add-nodes', 'T4:2x12Gi'], ['waiting: 2/2']],
    ['a shape in slices', ['--add-nodes', 'T4:1x12=2'], ['waiting: 2/2']],
    [
      'a shape too small',
      ['--add-nodes', 'T4:2x11Gi'],
      [
        'waiting: 0/2',
        'default/w1,default/w2: 0/3 nodes fit; 2 no GPU has 12 free slices, 1 no GPU is large enough for 12 slices',
      ],
    ],
    // One core is not enough for two pods of one core each on one node.
    [
      'a shape with little CPU',
      ['--add-nodes', 'T4:2x12Gi:1:8Gi'],
      ['waiting: 1/2', 'default/w2: 0/3 nodes fit; 2 no GPU has 12 free slices, 1 insufficient CPU or memory'],
    ],
  ])('tries waiting pods with %s added', async (_, argv, groups) => {
    const pods = inTurn(
      { name: 'x', slices: 8, on: ['a', 0] },
      { name: 'y', slices: 8, on: ['b', 0] },
      { name: 'w1', slices: 12 },
      { name: 'w2', slices: 12 },
    );
    const { changed } = await ask({ nodes, pods }, ...argv);
    expect(brief(changed?.groups ?? [])).toEqual(groups);
  });

  it.each<[string, readonly string[], string, number]>([
    ['pods in words', ['--add-pods', 'gpu-mem=5,count=7'], 'added: 6/7', 30],
    // One batch pod beside online work, of half the GPU at most; four where it is alone.
    ['batch pods', ['--add-pods', 'gpu-mem=4,count=7,class=batch'], 'added: 7/7', 28],
    [
      'one batch pod for each GPU by a stricter rule',
      ['--add-pods', 'gpu-mem=4,count=7,class=batch', '--batch-per-gpu', '1'],
      'added: 2/7',
      8,
    ],
    [
      'pods of two kinds',
      ['--add-pods', 'gpu-mem=16,name=x', '--add-pods', 'gpu-mem=9,count=2,name=y'],
      'added: 2/3',
      25,
    ],
    ['pods of a model that is not there', ['--add-pods', 'gpu-mem=1,model=H100'], 'added: 0/1', 0],
  ])('adds %s', async (_, argv, group, allocated) => {
    const { changed } = await ask({ nodes, pods: [] }, ...argv);
    expect(brief(changed?.groups ?? [])[0]).toBe(group);
    expect(changed?.occupancy.allocatedSlices).toBe(allocated);
  });

  it('gives drained pods their places before those that wait, however old these are', async () => {
    const pods = inTurn(
      { name: 'waits', slices: 16 },
      { name: 'full', slices: 16, on: ['b', 0] },
      { name: 'drained', slices: 16, on: ['a', 0] },
    );
    const { changed } = await ask({ nodes, pods }, '--remove-nodes', 'a', '--add-nodes', 'b=1');
    expect(brief(changed?.groups ?? [])).toEqual([
      'drained: 1/1',
      'waiting: 0/1',
      'default/waits: 0/2 nodes fit; 2 no GPU has 16 free slices',
    ]);
  });

  it('never takes a GPU of a copied node for the GPU it was copied from', async () => {
    const annotations = { 'gpuloom.io/gpu-uuid': 'GPU-b-0' };
    const pods = inTurn({ name: 'full', slices: 16, on: ['b', 0] }, { name: 'picky', slices: 4, annotations });
    const { changed } = await ask({ nodes, pods }, '--add-nodes', 'b=2');
    expect(changed?.groups).toMatchObject([{ group: 'waiting', pods: 1, fit: 0 }]);
  });

  it('adds pods from manifests, with replicas, and as often as is said', async () => {
    using folder = new Folder();
    const container = '[{name: c, resources: {limits: {gpuloom.io/gpu-mem: 3}}}]';
    const file = folder.file(
      'pods.yaml',
      `kind: Pod\nmetadata: {name: solo}\nspec: {containers: ${container}}\n---\nkind: Deployment\nmetadata: {name: web, namespace: prod}\nspec:\n  replicas: 2\n  template: {metadata: {labels: {gpuloom.io/class: batch}}, spec: {containers: ${container}}}\n`,
    );
    const { changed } = await ask({ nodes, pods: [] }, '--add-pods', `${file}=5`);
    // 5 x (1 + 2) pods of 3: an online GPU takes 5, of which one may be batch; a batch GPU takes 4.
    expect(changed?.groups[0]).toMatchObject({ group: 'added', pods: 15 });
    expect(changed?.occupancy.allocatedSlices).toBe(3 * (changed?.groups[0]?.fit ?? 0));
    expect(changed?.groups[0]?.refusals[0]?.names[0]).toMatch(/^prod\/web-\d+$/);
  });
});

describe('another packing', () => {
  it('frees what one move frees, and says how few pods have to move', async () => {
    // Two GPUs half full with a 5 each, and a pod of 10 that waits: one move makes room for it.
    const scene = {
      nodes: [{ name: 'a', gpus: gpusOf(2, 10) }],
      pods: inTurn(
        { name: 'x', slices: 5, on: ['a', 0] },
        { name: 'y', slices: 5, on: ['a', 1] },
        { name: 'big', slices: 10 },
      ),
    };
    const { repack, today } = await ask(scene, '--repack');
    expect(today.waiting).toMatchObject({ fit: 0, pods: 1 });
    // Typical: two in three ask for 5, one for 10. Of 10 free slices on GPUs of 5 free, a third is stranded.
    expect(repack).toMatchObject({
      today: { strandedSlices: 3.3, waitingFit: 0, idleGpus: 0 },
      fewMoves: { moves: 1, waitingFit: 1, strandedSlices: 0, freedSlices: 3.3 },
      anew: { waitingFit: 1, strandedSlices: 0 },
    });
  });

  it('moves nobody where nothing can be gained', async () => {
    const scene = {
      nodes: [{ name: 'a', gpus: gpusOf(1, 10) }],
      pods: [{ name: 'x', slices: 5, on: ['a', 0] as const }],
    };
    const { repack } = await ask(scene, '--repack');
    expect(repack).toMatchObject({
      fewMoves: { moves: 0, freedSlices: 0, idleGpus: 0 },
      anew: { moves: 0, freedSlices: 0 },
    });
  });

  it('names the best of the orders and policies that it tried', async () => {
    // The two of 3 fill one GPU to 6 if they come first, which leaves room for one 7; two fit if the 7s come first.
    const pods = inTurn(
      { name: 'three1', slices: 3, on: ['a', 0] },
      { name: 'three2', slices: 3, on: ['a', 0] },
      { name: 'seven1', slices: 7 },
      { name: 'seven2', slices: 7 },
    );
    const { repack } = await ask({ nodes: [{ name: 'a', gpus: gpusOf(2, 10) }], pods }, '--repack');
    expect(repack?.today.waitingFit).toBe(1);
    expect(repack?.anew).toMatchObject({ waitingFit: 2, moves: 1, freedSlices: repack?.today.strandedSlices });
  });

  it('offers no packing that leaves a running pod without a place', async () => {
    // Two pods share the only GPU beyond its capacity: no order can place both.
    const scene = {
      nodes: [{ name: 'a', gpus: gpusOf(1, 10) }],
      pods: [
        { name: 'x', slices: 6, on: ['a', 0] as const },
        { name: 'y', slices: 6, on: ['a', 0] as const },
      ],
    };
    const { repack } = await ask(scene, '--repack');
    expect(repack?.anew).toBeUndefined();
    expect(repack?.fewMoves.moves).toBe(0);
  });
});
