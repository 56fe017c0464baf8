// Request bodies captured from a real kube-scheduler 1.20, replayed over a socket to the real listener and application, and
// the answers read as kube-scheduler 1.20 reads them: by its own field names, with explicit lists and integer scores.
// The captures are written anew by: GPULOOM_CAPTURE=1 npm run e2e -- golden

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { ExtenderArgs, ExtenderBindingArgs } from '../../extender/app/extender-api.ts';
import type { ListenAddress, Listener } from '../../extender/http/listener.ts';
import { nodeRecord } from '../../extender/core/records.ts';
import { TestCluster } from '../support/application.ts';
import { exchange, verbsUnderTest } from '../support/http-shell.ts';

interface Golden<Body> {
  readonly path: string;
  readonly body: Body;
}

const CANDIDATES = ['large', 'unequal', 'small'];
const FORMS = ['names', 'nodes'] as const;

let cluster: TestCluster;
let listener: Listener;
let address: ListenAddress;

beforeEach(async () => {
  cluster = new TestCluster([]);
  const { body } = golden<ExtenderArgs>('filter-nodes');
  const nodes = (body.Nodes?.items ?? []).map((node) => nodeRecord(node)).filter((node) => node !== undefined);
  cluster.app.feeds.nodes.replace(nodes);
  ({ listener } = verbsUnderTest({ verbs: cluster.app }));
  address = await listener.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(() => listener.close());

describe.each(FORMS)('kube-scheduler sending %s', (form) => {
  it('reads every node that fits out of the filter answer, and no reason to the contrary', async () => {
    const call = golden<ExtenderArgs>(`filter-${form}`);
    const { feasible, failed } = readFilterAnswer(call.body, await answerTo(call));
    expect(new Set(feasible)).toEqual(new Set(CANDIDATES));
    expect(failed).toEqual(new Map());
  });

  it('gets whole nodes back only when it sent whole nodes, and as it sent them', async () => {
    const call = golden<ExtenderArgs>(`filter-${form}`);
    const { Nodes } = record(await answerTo(call));
    expect(Nodes).toEqual(form === 'names' ? null : { items: call.body.Nodes?.items });
  });

  it('reads an empty list and a reason for each node when none fits', async () => {
    const call = golden<ExtenderArgs>(`filter-refused-${form}`);
    const asked = hostsOf(call.body);
    const { feasible, failed } = readFilterAnswer(call.body, await answerTo(call));
    expect(feasible).toEqual([]);
    expect(failed).toEqual(new Map(asked.map((name) => [name, 'no GPU is of an admitted model'])));
  });

  it('reads one integer score for each node it asked about, with one node alone at the top', async () => {
    const call = golden<ExtenderArgs>(`prioritize-${form}`);
    const scores = readPriorities(await answerTo(call));
    expect(scores.map(([host]) => host)).toEqual(hostsOf(call.body));
    expect(scores.filter(([, score]) => score === 10)).toHaveLength(1);
  });

  it('binds the pod it showed to the node it names, and reads success', async () => {
    const { body: shown } = golden<ExtenderArgs>(`filter-${form}`);
    if (!shown.Pod) throw new Error('the captured filter call shows no pod');
    cluster.api.put(shown.Pod);
    const call = golden<ExtenderBindingArgs>(`bind-${form}`);
    expect(await answerTo(call)).toEqual({ Error: '' });
    expect(cluster.api.committed).toMatchObject([{ uid: call.body.PodUID, nodeName: call.body.Node }]);
  });

  it('reads the reason why a pod cannot be bound', async () => {
    const call = golden<ExtenderBindingArgs>(`bind-${form}`);
    const answer = record(await answerTo(call));
    expect(Object.keys(answer)).toEqual(['Error']);
    expect(answer['Error']).toMatch(/the pod is gone/);
  });
});

it('answers names and whole nodes of one pod alike', async () => {
  const [byName, byNode] = await Promise.all(
    FORMS.map(async (form) => {
      const call = golden<ExtenderArgs>(`prioritize-${form}`);
      return new Map(readPriorities(await answerTo(call)));
    }),
  );
  expect(byName).toEqual(byNode);
});

it('tells kube-scheduler that it cannot answer, rather than that nothing fits', async () => {
  cluster.refusal = 'gpuloom is syncing: waiting for the first complete list of pods';
  const call = golden<ExtenderArgs>('filter-names');
  const answer = await answerTo(call);
  expect(() => readFilterAnswer(call.body, answer)).toThrow('waiting for the first complete list');
});

function golden<Body>(name: string): Golden<Body> {
  const file = join(import.meta.dirname, '../fixtures/extender-requests', `${name}.json`);
  return JSON.parse(readFileSync(file, 'utf8')) as Golden<Body>;
}

async function answerTo({ path, body }: Golden<unknown>): Promise<unknown> {
  const { status, body: text } = await exchange(address, { path, body: JSON.stringify(body) });
  expect(status).toBe(200);
  return JSON.parse(text) as unknown;
}

function hostsOf({ NodeNames, Nodes }: ExtenderArgs): readonly string[] {
  return NodeNames ?? (Nodes?.items ?? []).map((node) => node.metadata?.name ?? '');
}

/** As HTTPExtender.Filter of 1.20.2 does: names count only where names were sent, and each must be one of them. */
function readFilterAnswer(
  sent: ExtenderArgs,
  answer: unknown,
): { readonly feasible: readonly string[]; readonly failed: ReadonlyMap<string, string> } {
  const fields = record(answer);
  if (fields['Error'] !== '') throw new Error(String(fields['Error']));
  expect(Object.keys(fields).sort()).toEqual(
    ['Error', 'FailedAndUnresolvableNodes', 'FailedNodes', 'NodeNames', 'Nodes'].sort(),
  );
  const asked = hostsOf(sent);
  const failed = new Map(Object.entries(record(fields['FailedNodes'])).map(([name, why]) => [name, string(why)]));
  for (const [name, why] of Object.entries(record(fields['FailedAndUnresolvableNodes']))) {
    expect(failed.get(name)).toBe(why);
  }
  const isCacheCapable = sent.NodeNames !== null && sent.NodeNames !== undefined;
  const feasible = isCacheCapable ? list(fields['NodeNames']).map(string) : namesOf(fields['Nodes']);
  for (const name of [...feasible, ...failed.keys()]) expect(asked).toContain(name);
  for (const name of asked) expect(feasible.includes(name)).not.toBe(failed.has(name));
  return { feasible, failed };
}

/** HostPriorityList: a Go int64 takes no fraction, and one bad entry fails the whole list. */
function readPriorities(answer: unknown): readonly (readonly [string, number])[] {
  return list(answer).map((entry) => {
    const fields = record(entry);
    expect(Object.keys(fields)).toEqual(['Host', 'Score']);
    const score = fields['Score'];
    if (typeof score !== 'number' || !Number.isInteger(score)) throw new Error(`${String(score)} is no integer`);
    expect(score).toBeGreaterThanOrEqual(0);
    expect(score).toBeLessThanOrEqual(10);
    return [string(fields['Host']), score];
  });
}

function namesOf(nodes: unknown): readonly string[] {
  return list(record(nodes)['items']).map((node) => string(record(record(node)['metadata'])['name']));
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not an object');
  return value as Record<string, unknown>;
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Error('not a list');
  return value;
}

function string(value: unknown): string {
  if (typeof value !== 'string') throw new Error('not a string');
  return value;
}
