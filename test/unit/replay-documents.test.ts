// What `simulator replay` reads: lists of any form kubectl writes, and every document that it must refuse.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Engine } from '../../extender/core/engine.ts';
import type { PodRecord, PodRequest } from '../../extender/core/model.ts';
import { takeSnapshot } from '../../extender/core/snapshot.ts';
import { ListReader } from '../../simulator/replay/list-items.ts';
import { gpusOf, nodeManifest, pod, podManifest } from '../support/builders.ts';
import { Bench } from '../support/engine.ts';
import { kubectlObjects, kubectlText, replayed } from '../support/replayed.ts';
import { callSimulator, Folder } from '../support/simulated.ts';

const NODE = { kind: 'Node', ...nodeManifest({ name: 'a', gpus: gpusOf(2, 16) }) };
const POD = { kind: 'Pod', ...podManifest({ name: 'p', slices: 4 }) };

function itemsOf(bytes: Buffer, cuts: readonly number[]): { readonly items: unknown[]; readonly head: unknown } {
  const items: unknown[] = [];
  const reader = new ListReader('list', (item) => items.push(item));
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  for (let at = 1; at < edges.length; at++) reader.write(bytes.subarray(edges[at - 1], edges[at]));
  return { head: reader.end(), items };
}

describe('reading a list item by item', () => {
  it('finds the same items as JSON.parse, wherever the bytes are cut', () => {
    const item = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(
        fc.array(item, { maxLength: 5 }),
        fc.jsonValue(),
        fc.array(fc.nat(), { maxLength: 6 }),
        fc.constantFrom(undefined, 1, 4),
        (items, before, cuts, indent) => {
          const document = { before, items, kind: 'List', 'odd"items': [{ items: [] }] };
          const read = itemsOf(Buffer.from(JSON.stringify(document, undefined, indent)), cuts);
          // Compared as text, since a key __proto__ is a key like any other in JSON.
          expect(JSON.stringify(read.items)).toBe(JSON.stringify(items));
          expect(JSON.stringify(read.head)).toBe(JSON.stringify({ ...document, items: [] }));
        },
      ),
      { numRuns: 300, seed: 1 },
    );
  });

  it('says of every document that is cut short that it is, and never takes it for a whole one', () => {
    const bytes = Buffer.from(kubectlText([NODE, POD]));
    for (let length = 1; length < bytes.length; length += 7) {
      expect(() => itemsOf(bytes.subarray(0, length), [])).toThrow(
        /cut short after \d+ bytes; the command that wrote it/,
      );
    }
  });

  it('reads a list behind a byte order mark, and an empty one', () => {
    expect(itemsOf(Buffer.from(`\uFEFF${kubectlText([POD])}`), []).items).toEqual([POD]);
    expect(itemsOf(Buffer.from(kubectlText([])), []).items).toEqual([]);
  });
});

async function refusal(input: 'kubectl' | 'snapshot', text: string, ...argv: readonly string[]): Promise<string> {
  using folder = new Folder();
  const file = folder.file('doc.json', text);
  const { code, stdout, stderr } = await callSimulator('replay', `--${input}`, file, ...argv);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).not.toMatch(/\n +at /);
  return stderr.replaceAll(folder.path, '');
}

function podItem(sketch: Parameters<typeof podManifest>[0]): object {
  return { kind: 'Pod', ...podManifest(sketch) };
}

function withMetadata(object: { readonly metadata?: object }, metadata: object): object {
  return { ...object, metadata: { ...object.metadata, ...metadata } };
}

describe('a kubectl list', () => {
  it.each<[string, string, RegExp]>([
    ['nothing', '', /doc\.json: the document is empty; write one with: kubectl get nodes,pods -A -o json/],
    ['a table', 'NAME STATUS', /the document is not JSON: "NAME STATUS" at byte 0/],
    ['an error of the shell', '{"items": [oops]}', /items\[0\]: an object is missing before byte 11 \("oops/],
    ['a pod alone', JSON.stringify(POD), /items: the document has no list of items: it is of kind "Pod"/],
    [
      'a snapshot',
      JSON.stringify({ kind: 'gpuloom-snapshot' }),
      /kind "gpuloom-snapshot"; give a snapshot with --snapshot/,
    ],
    [
      'a list of pods',
      JSON.stringify({ kind: 'PodList', items: [{ metadata: { name: 'p' } }] }),
      /items\[0\]\.kind: the item names no kind/,
    ],
    [
      'another kind of list',
      JSON.stringify({ kind: 'PodList', items: [POD] }),
      /kind: the document is of kind "PodList", not a List/,
    ],
    ['two lists in a row', `${kubectlText([NODE])}${kubectlText([POD])}`, /items: the document has two lists of items/],
    ['a list and a remark', `${kubectlText([NODE])} done`, /something follows the document: "done"/],
    [
      'items without commas',
      '{"items":[{"kind":"X"} {"kind":"X"}],"kind":"List"}',
      /items\[1\]: a comma or the end of the list is missing/,
    ],
    ['a comma too many', '{"items":[{"kind":"X"},],"kind":"List"}', /items\[1\]: an object is missing/],
    ['an item that is not JSON', '{"items":[{"kind":]}],"kind":"List"}', /items\[0\]: not JSON/],
    ['a text that steers the terminal', '\u001B[2J', /not JSON: "\\u001b\[2J"/],
    ['bytes that are no text', `{"items":[{"kind":"\uD800"}]`, /cut short|not UTF-8|kind/],
    ['a node twice', kubectlText([NODE, NODE]), /items\[1\]: node a is already items\[0\]/],
    ['a pod twice', kubectlText([NODE, POD, POD]), /items\[2\]: pod default\/p is already items\[1\]/],
    [
      'a uid twice',
      kubectlText([podItem({ name: 'p', uid: 'u' }), podItem({ name: 'q', uid: 'u' })]),
      /items\[1\]: uid u is already items\[0\]/,
    ],
    [
      'a pod without a uid',
      kubectlText([withMetadata(POD, { uid: '' })]),
      /items\[0\]\.metadata: the pod has no name or no uid/,
    ],
    [
      'a node without a name',
      kubectlText([withMetadata(NODE, { name: '' })]),
      /items\[0\]\.metadata\.name: the node has no name/,
    ],
    [
      'a name that is none',
      kubectlText([withMetadata(POD, { name: '\u001B[31m' })]),
      /items\[0\]\.metadata\.name: "\\u001b\[31m" is no name/,
    ],
    [
      'labels that are a number',
      kubectlText([withMetadata(POD, { labels: 5 })]),
      /items\[0\]: metadata\.labels must be object/,
    ],
    [
      'containers that are a text',
      kubectlText([{ ...POD, spec: { containers: 'main' } }]),
      /items\[0\]: spec\.containers must be array/,
    ],
    [
      'a GPU pod on an unknown node',
      kubectlText([NODE, podItem({ name: 'p', nodeName: 'gone' })]),
      /items\[1\]\.spec\.nodeName: GPU pod default\/p is on node gone, which the document does not have; list nodes and pods in one go, or .*--skip-orphans/,
    ],
  ])('is refused with file, path and advice where it is %s', async (_, text, message) => {
    expect(await refusal('kubectl', text)).toMatch(message);
  });

  it('leaves pods on unknown nodes out where that is asked for, and says so', async () => {
    const text = kubectlText([NODE, podItem({ name: 'p', nodeName: 'gone', slices: 9 })]);
    const { findings, today } = await replayed('kubectl', text, '--skip-orphans');
    expect(findings).toMatchObject([{ kind: 'orphan', count: 1, examples: ['default/p'] }]);
    expect(today.occupancy.allocatedSlices).toBe(0);
  });

  it('counts a capacity at the bound of its column, and a request far beyond it, as they are', async () => {
    const capacity = { 'aliyun.com/gpu-mem': '2147483647', 'aliyun.com/gpu-count': '1' };
    const node = { kind: 'Node', metadata: { name: 'n' }, status: { capacity } };
    const huge = { 'aliyun.com/gpu-mem': '2147483647' };
    const container = (name: string): object => ({ name, resources: { limits: huge } });
    const pods = ['x', 'y'].map((name) => ({
      kind: 'Pod',
      metadata: { name, uid: name, annotations: { ALIYUN_COM_GPU_MEM_IDX: '0' } },
      spec: { nodeName: 'n', containers: [container('one'), container('two')] },
    }));
    const { today, findings } = await replayed('kubectl', kubectlText([node, ...pods]), '--profile', 'gpushare');
    expect(today.occupancy).toMatchObject({ slices: 2147483647, allocatedSlices: 4 * 2147483647, freeSlices: 0 });
    expect(findings.map(({ kind }) => kind)).toContain('over-commit');
  });

  it('reads Pods and Nodes as a real API server wrote them', async () => {
    const recorded = resolve(import.meta.dirname, '../fixtures/extender-requests/filter-nodes.json');
    const { body } = JSON.parse(readFileSync(recorded, 'utf8')) as {
      readonly body: { readonly Pod: object; readonly Nodes: { readonly items: readonly object[] } };
    };
    const nodes = body.Nodes.items.map((item) => ({ apiVersion: 'v1', ...item, kind: 'Node' }));
    const text = kubectlText([...nodes, { apiVersion: 'v1', ...body.Pod, kind: 'Pod' }]);
    const { document, today, findings } = await replayed('kubectl', text);
    expect(document).toMatchObject({ nodes: 3, gpuPods: 0, waitingPods: 1 });
    // 2 GPUs of 80 slices, one of 24 and one of 40, and one of 16.
    expect(today.occupancy).toMatchObject({ gpus: 5, slices: 240, allocatedSlices: 0, idleGpus: 5, freeSlices: 240 });
    expect(today.waiting).toMatchObject({ pods: 1, fit: 1 });
    expect(findings).toEqual([]);
  });

  it('ignores other kinds, and reads the unhealthy lists of gpushare', async () => {
    const list = { kind: 'ConfigMap', metadata: { name: 'unhealthy-gpu-a' }, data: { gpus: '1' } };
    const { today } = await replayed('kubectl', kubectlText([{ kind: 'Service' }, NODE, list]));
    expect(today.occupancy).toMatchObject({ gpus: 2, unhealthyGpus: 1, idleGpus: 1, freeSlices: 16, slices: 32 });
  });

  it('says what it does not replay, and what the document seems to lack', async () => {
    const cordoned = { ...NODE, spec: { unschedulable: true } };
    const tainted = {
      kind: 'Node',
      ...nodeManifest({ name: 'b', gpus: gpusOf(1, 16) }),
      spec: { taints: [{ key: 'k', effect: 'NoSchedule' }] },
    };
    const picky = { ...POD, spec: { ...POD.spec, nodeSelector: { zone: 'x' } } };
    const { findings } = await replayed('kubectl', kubectlText([cordoned, tainted, picky, podItem({ name: 'q' })]));
    expect(findings.map(({ kind, examples }) => `${kind} ${examples.join()}`)).toEqual([
      'incomplete default',
      'not-replayed a',
      'not-replayed b',
      'not-replayed default/p',
    ]);
  });

  it('hints at the other profile where only its names are used', async () => {
    const { findings } = await replayed(
      'kubectl',
      kubectlText(kubectlObjects({ nodes: [], pods: [{ name: 'p' }] })),
      '--profile',
      'gpushare',
    );
    expect(findings).toMatchObject([{ kind: 'profile', count: 1 }]);
    expect(findings[0]?.text).toMatch(/add --profile gpuloom$/);
  });
});

interface EditedBooks {
  readonly residents: [{ readonly pod: object; readonly request: object }];
}

/** An extender's books: a pod of 4 slices on GPU 0 of the first of the nodes. */
function placedOn(...names: readonly string[]): {
  readonly engine: Engine;
  readonly snapshot: (pending: readonly PodRecord[]) => string;
} {
  const bench = new Bench(names.map((name) => ({ name, gpus: gpusOf(2, 16) })));
  bench.place({ name: 'placed', slices: 4 }, names[0] ?? '');
  const { engine } = bench;
  return { engine, snapshot: (pending) => JSON.stringify(takeSnapshot(engine, pending)) };
}

function request({ demand }: PodRecord): PodRequest {
  if (demand.kind !== 'request') throw new Error('the sketch asks for GPUs');
  return demand.request;
}

describe('a snapshot file', () => {
  it.each<[string, string, RegExp]>([
    ['nothing', ' \n', /doc\.json: the document is empty; take one from the ops listener of the leader/],
    ['cut short', '{"kind":"gpuloom-snapshot","version":1,"nodes":[', /cut short after 48 characters/],
    ['not JSON', '{"kind" "x"}', /not JSON/],
    ['a kubectl list', kubectlText([NODE]), /not a gpuloom snapshot/],
    ['of another version', '{"kind":"gpuloom-snapshot","version":"9"}', /version "9"; this build reads version 1/],
  ])('is refused with advice where it is %s', async (_, text, message) => {
    expect(await refusal('snapshot', text)).toMatch(message);
  });

  it('counts a pod whose Binding is in flight once, though it still waits at the API server', async () => {
    const { engine, snapshot } = placedOn('a', 'b');
    const record = pod({ name: 'flying', slices: 2 });
    engine.ledger.assume(record, request(record), 'b', [{ uuid: 'GPU-b-0', index: 0 }], 0);
    const { document, findings, today } = await replayed('snapshot', snapshot([record]));
    expect(document).toMatchObject({ gpuPods: 2, waitingPods: 0 });
    expect(today.occupancy.allocatedSlices).toBe(6);
    expect(findings.filter(({ kind }) => kind === 'in-flight')).toMatchObject([{ examples: ['default/flying'] }]);
  });

  it.each<[string, (books: EditedBooks) => void]>([
    ['another node', ({ residents: [first] }) => Object.assign(first.pod, { nodeName: 'b' })],
    [
      'other GPUs',
      ({ residents: [{ pod: own }] }) =>
        Object.assign(own, { nodeName: 'a', claim: { kind: 'gpus', gpus: [{ uuid: 'GPU-a-1', index: 1 }] } }),
    ],
    ['another request', ({ residents: [first] }) => Object.assign(first.request, { slicesPerGpu: 5 })],
  ])('is told to differ from its pods where one says %s', async (_, edit) => {
    const books = JSON.parse(placedOn('a', 'b').snapshot([])) as EditedBooks;
    expect((await replayed('snapshot', JSON.stringify(books))).findings.map(({ kind }) => kind)).not.toContain('drift');
    edit(books);
    const { findings } = await replayed('snapshot', JSON.stringify(books));
    expect(findings.filter(({ kind }) => kind === 'drift')).toMatchObject([{ count: 1, examples: ['default/placed'] }]);
  });

  it('is refused where the file is not there, and where two documents are given', async () => {
    const missing = await callSimulator('replay', '--snapshot', '/nowhere/s.json');
    expect(missing).toMatchObject({ code: 2, stdout: '' });
    expect(missing.stderr).toMatch(/\/nowhere\/s\.json: cannot be read \(ENOENT/);
    for (const argv of [[], ['--snapshot', 'a', '--kubectl', 'b']]) {
      const { code, stderr } = await callSimulator('replay', ...argv);
      expect(code).toBe(2);
      expect(stderr).toMatch(/give --snapshot FILE or --kubectl FILE/);
    }
  });
});

describe('what is to be changed', () => {
  const text = kubectlText([NODE]);

  it.each<[string, readonly string[], RegExp]>([
    [
      'a node to remove that is not there',
      ['--remove-nodes', 'z'],
      /--remove-nodes: there is no node "z"; the document has 1 nodes, such as a/,
    ],
    ['a shape that is none', ['--add-nodes', 'z=2'], /"z": neither a node nor a shape; .*A100:8x80Gi/],
    ['a shape of no GPUs', ['--add-nodes', 'A100:0x80Gi'], /0 GPUs of 80 slices; a node has 1 to 64 GPUs/],
    ['a shape of less than a slice', ['--add-nodes', 'A100:1x500Mi'], /1 GPUs of 0 slices; a node has/],
    ['a shape of absurd memory', ['--add-nodes', 'A100:8x9999Ti'], /a node has 1 to 64 GPUs of 1 to 1000000 slices/],
    ['too many nodes', ['--add-nodes', 'a=999999'], /SHAPE=COUNT/],
    ['pods without memory', ['--add-pods', 'count=3'], /gpu-mem is missing/],
    ['a word that there is not', ['--add-pods', 'gpu-mem=3,size=2'], /"size=2" is none of gpu-mem/],
    ['a word twice', ['--add-pods', 'gpu-mem=3,gpu-mem=4'], /gpu-mem comes twice/],
    [
      'a class that there is not',
      ['--add-pods', 'gpu-mem=3,class=urgent'],
      /label gpuloom\.io\/class is "urgent"; write online or batch/,
    ],
    [
      'a request that does not divide',
      ['--add-pods', 'gpu-mem=3,gpus=2'],
      /does not divide by gpuloom\.io\/gpu-count 2/,
    ],
    ['too many pods', ['--add-pods', 'gpu-mem=3,count=9999999'], /write 1 to 1000000/],
    ['a file that is not there', ['--add-pods', '/nowhere.yaml=3'], /\/nowhere\.yaml: cannot be read/],
    ['an order that there is not', ['--order', 'age'], /Write creation, size or seed:N/],
    ['a policy that there is not', ['--policy', 'fgd'], /Allowed choices are fragmentation, binpack, spread, topology/],
  ])('is refused with advice where it names %s', async (_, argv, message) => {
    expect(await refusal('kubectl', text, ...argv)).toMatch(message);
  });

  it.each<[string, string, RegExp]>([
    ['no pod', '# nothing', /there is no pod in it/],
    ['another kind', 'kind: Service', /document 1: kind: "Service" makes no pods here/],
    ['broken YAML', 'kind: [', /document 1: /],
    [
      'a bomb of aliases',
      `a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [${'*a,'.repeat(20)}]\nc: [${'*b,'.repeat(20)}]\nkind: Pod`,
      /alias/i,
    ],
    ['a pod without GPUs', 'kind: Pod\nspec: {containers: [{name: c}]}', /asks for no gpuloom\.io\/gpu-mem/],
    ['a pod of another form', 'kind: Pod\nspec: {containers: 7}', /spec\.containers must be array/],
    ['absurd replicas', 'kind: Deployment\nspec: {replicas: -1}', /spec: asks for -1 pods/],
  ])('is refused where the manifest file holds %s', async (_, manifest, message) => {
    using folder = new Folder();
    expect(await refusal('kubectl', text, '--add-pods', folder.file('pods.yaml', manifest))).toMatch(message);
  });
});
