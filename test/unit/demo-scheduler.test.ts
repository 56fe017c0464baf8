// The model of kube-scheduler: its in-tree view, its queue, the bodies it sends, and what it makes of the answers.

import { createServer, type Server } from 'node:http';
import { once } from 'node:events';

import { afterEach, describe, expect, it } from 'vitest';

import type { PodManifest } from '../../extender/core/manifest.ts';
import { CallFailed, connectExtender, type ExtenderCalls } from '../../extender/demo/extender-calls.ts';
import { gpuPod } from '../../extender/demo/gpu-pod.ts';
import { KubeScheduler } from '../../extender/demo/kube-scheduler.ts';
import { asPod } from '../../extender/demo/manifests.ts';
import { asksFor, NodesView, podRequests } from '../../extender/demo/node-resources-fit.ts';
import { seededRandom } from '../../extender/random.ts';
import { Refusal } from '../../extender/demo/refusal.ts';
import { SchedulingQueue } from '../../extender/demo/scheduling-queue.ts';
import { Tally } from '../../extender/demo/tally.ts';
import { EmbeddedCluster } from '../../extender/embedded/cluster.ts';
import { gpusOf, nodeManifest } from '../support/builders.ts';

const MANAGED = new Set(['gpuloom.io/gpu-mem', 'gpuloom.io/gpu-core']);

interface Sketch {
  readonly cpuMilli?: number;
  readonly memoryMiB?: number;
  readonly slices?: number;
  readonly core?: number;
}

function pod(name: string, { cpuMilli = 1000, memoryMiB = 1024, slices = 0, core = 0 }: Sketch = {}): PodManifest {
  const gpus = { gpuCount: slices > 0 ? 1 : 0, slicesPerGpu: slices, corePerGpu: core, models: '' };
  const manifest = gpuPod({ name, app: 'app', class: 'online', cpuMilli, memoryMiB, ...gpus });
  return { ...manifest, metadata: { ...manifest.metadata, uid: `uid-${name}` } };
}

function node(name: string, slices = 16): ReturnType<typeof nodeManifest> {
  const manifest = nodeManifest({ name, gpus: gpusOf(1, slices), cpu: '4', memory: '8Gi' });
  const resources = { ...manifest.status?.capacity, pods: '3' };
  return { ...manifest, status: { capacity: resources, allocatable: resources } };
}

describe("kube-scheduler's own fit", () => {
  const refusals = (view: NodesView, asking: PodManifest): Record<string, readonly string[]> => {
    const reasons: Record<string, readonly string[]> = {};
    view.filter(podRequests(asking), (name, why) => (reasons[name] = why));
    return reasons;
  };

  it.each([
    ['CPU', { cpuMilli: 4001 }, ['Insufficient cpu']],
    ['memory', { memoryMiB: 8193 }, ['Insufficient memory']],
    ['the node’s total of GPU memory', { slices: 17 }, ['Insufficient gpuloom.io/gpu-mem']],
    ['the node’s total of GPU compute', { slices: 1, core: 101 }, ['Insufficient gpuloom.io/gpu-core']],
    ['several at once', { cpuMilli: 9000, slices: 99 }, ['Insufficient cpu', 'Insufficient gpuloom.io/gpu-mem']],
    ['nothing', { cpuMilli: 4000, memoryMiB: 8192, slices: 16, core: 100 }, undefined],
  ])('refuses for lack of %s', (_what, sketch, reasons) => {
    const view = new NodesView();
    view.upsertNode(node('a'));
    expect(refusals(view, pod('p', sketch))['a']).toEqual(reasons);
  });

  it('counts assumed pods until they are forgotten, and counts none of them twice', () => {
    const view = new NodesView();
    view.upsertNode(node('a'));
    const first = pod('first', { slices: 10 });
    view.assume(first, 'a');
    expect(refusals(view, pod('next', { slices: 7 }))).toEqual({ a: ['Insufficient gpuloom.io/gpu-mem'] });
    view.observe({ ...first, spec: { ...first.spec, nodeName: 'a' } });
    expect(refusals(view, pod('next', { slices: 6 }))).toEqual({});
    view.observe({ ...first, spec: { ...first.spec, nodeName: 'a' }, status: { phase: 'Succeeded' } });
    expect(refusals(view, pod('next', { slices: 16 }))).toEqual({});
    view.forget('uid-first');
    expect(refusals(view, pod('next', { slices: 16 }))).toEqual({});
  });

  it('takes no more pods than the kubelet allows', () => {
    const view = new NodesView();
    view.upsertNode(node('a'));
    for (const name of ['one', 'two', 'three']) view.assume(pod(name, { cpuMilli: 1 }), 'a');
    expect(refusals(view, pod('four', { cpuMilli: 1 }))).toEqual({ a: ['Too many pods'] });
  });

  it('calls the extender only for pods that name a managed resource', () => {
    expect(asksFor(pod('gpu', { slices: 1 }), MANAGED)).toBe(true);
    expect(asksFor(pod('cpu'), MANAGED)).toBe(false);
    const init = { initContainers: [{ resources: { limits: { 'gpuloom.io/gpu-mem': '1' } } }] };
    expect(asksFor({ spec: { ...init, containers: [{}] } }, MANAGED)).toBe(true);
  });
});

describe('the cause of a refusal', () => {
  it('is the commonest reason of the nodes that came closest, without the pod’s own figures', () => {
    const refusal = new Refusal();
    for (const name of ['a', 'b', 'c']) refusal.add(name, 'in-tree', 'Insufficient cpu');
    expect(refusal.cause).toBe('Insufficient cpu');
    for (const name of ['d', 'e']) refusal.add(name, 'unresolvable', 'no GPU is large enough for 96 slices');
    expect(refusal.cause).toBe('no GPU is large enough for N slices');
    refusal.add('f', 'resolvable', 'fewer than 2 GPUs have 8 free slices');
    expect(refusal.cause).toBe('fewer than N GPUs have N free slices');
    expect(refusal.message(6)).toBe(
      '0/6 nodes are available: 3 Insufficient cpu, 2 no GPU is large enough for 96 slices, 1 fewer than 2 GPUs have 8 free slices.',
    );
  });

  it('keeps figures that are part of a name', () => {
    const refusal = new Refusal();
    refusal.add('a', 'unresolvable', 'excludes "A100-80GB" and 7');
    expect(refusal.cause).toBe('excludes "A100-80GB" and N');
  });
});

describe('the scheduling queue', () => {
  function queueAt(clock: { millis: number }, maxRetries = 10): SchedulingQueue {
    return new SchedulingQueue({ backoffMillis: 100, maxBackoffMillis: 400, maxRetries, now: () => clock.millis });
  }

  it('tries a refused pod again only once capacity was freed and its backoff is over', () => {
    const clock = { millis: 0 };
    const queue = queueAt(clock);
    queue.add(pod('p'));
    const first = queue.take();
    if (first === undefined) throw new Error('the queue gave no pod');
    queue.putBack(first, false);
    clock.millis = 1000;
    expect(queue.take()).toBeUndefined();
    queue.capacityFreed();
    expect(queue.take()).toMatchObject({ attempts: 1 });
  });

  it('doubles the backoff up to its limit and gives up on failed calls after the last retry', () => {
    const clock = { millis: 0 };
    const queue = queueAt(clock, 3);
    queue.add(pod('p'));
    const waitThenFail = (): number | undefined => {
      for (let waited = 0; waited <= 1000; waited += 50) {
        const taken = queue.take();
        if (taken !== undefined) {
          queue.putBack(taken, true);
          return waited;
        }
        clock.millis += 50;
      }
      return undefined;
    };
    const waits = Array.from({ length: 5 }, waitThenFail);
    expect(waits).toEqual([0, 100, 200, 400, undefined]);
  });

  it('keeps the order of arrival and forgets deleted pods', () => {
    const queue = queueAt({ millis: 0 });
    for (const name of ['a', 'b', 'c']) queue.add(pod(name));
    queue.remove('uid-b');
    expect([queue.take(), queue.take(), queue.take()].map((taken) => taken?.pod.metadata?.name)).toEqual([
      'a',
      'c',
      undefined,
    ]);
  });
});

describe('the calls', () => {
  let server: Server | undefined;
  afterEach(() => server?.close());

  async function extenderThatAnswers(reply: (url: string) => { status?: number; text: string }) {
    const seen: { url: string; body: Record<string, unknown> }[] = [];
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const url = request.url ?? '';
        seen.push({ url, body: JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown> });
        const { status = 200, text } = reply(url);
        response.writeHead(status, { 'content-type': 'application/json' }).end(text);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    return { seen, calls: connectExtender({ verbsUrl: `http://127.0.0.1:${port}`, connections: 1 }) };
  }

  it('carry exactly the keys that kube-scheduler sends', async () => {
    const { seen, calls } = await extenderThatAnswers((url) => ({
      text: url.endsWith('filter')
        ? '{"NodeNames":["b"],"FailedNodes":{"a":"full"},"FailedAndUnresolvableNodes":{},"Error":""}'
        : url.endsWith('prioritize')
          ? '[{"Host":"b","Score":10}]'
          : '{"Error":""}',
    }));
    const asking = pod('p', { slices: 2 });
    expect(await calls.filter(asking, ['a', 'b'])).toMatchObject({ NodeNames: ['b'], FailedNodes: { a: 'full' } });
    expect(await calls.prioritize(asking, ['b'])).toEqual([{ Host: 'b', Score: 10 }]);
    await calls.bind(asking, 'b');
    await calls.close();
    expect(seen.map(({ url }) => url)).toEqual(['/v1/filter', '/v1/prioritize', '/v1/bind']);
    expect(seen[0]?.body).toEqual({ Pod: asking, Nodes: null, NodeNames: ['a', 'b'] });
    expect(seen[2]?.body).toEqual({ PodName: 'p', PodNamespace: 'online', PodUID: 'uid-p', Node: 'b' });
  });

  it.each([
    ['an Error', { text: '{"Error":"not synced"}' }, 'filter: not synced'],
    ['a status other than 200', { status: 503, text: 'no' }, 'answered 503'],
    ['no JSON', { text: '<html>' }, 'no JSON'],
    ['names that are no list', { text: '{"NodeNames":7}' }, 'NodeNames'],
  ])('fail on %s', async (_what, reply, message) => {
    const { calls } = await extenderThatAnswers(() => reply);
    await expect(calls.filter(pod('p'), ['a'])).rejects.toThrow(CallFailed);
    await expect(calls.filter(pod('p'), ['a'])).rejects.toThrow(message);
    await calls.close();
  });
});

describe('scheduling', () => {
  interface Setup extends Partial<ExtenderCalls> {
    readonly seed?: number;
  }

  /** An extender at the port, a cluster behind the scheduler, and everything that was bound or refused. */
  function scheduling({ seed = 1, ...overrides }: Setup) {
    const cluster = new EmbeddedCluster({ wallMillis: () => 0 });
    const tally = new Tally();
    const refused: string[] = [];
    const asked: string[][] = [];
    const bindTo = (bound: PodManifest, nodeName: string): Promise<void> => {
      const name = bound.metadata?.name ?? '';
      cluster.pods.bind('online', name, { metadata: { name }, target: { kind: 'Node', name: nodeName } });
      return Promise.resolve();
    };
    const allFit = (names: readonly string[]) => ({
      Nodes: null,
      NodeNames: names,
      FailedNodes: {},
      FailedAndUnresolvableNodes: {},
      Error: '',
    });
    const calls: ExtenderCalls = {
      filter: (_pod, names) => {
        asked.push([...names]);
        return Promise.resolve(allFit(names));
      },
      prioritize: (_pod, names) => Promise.resolve(names.map((Host) => ({ Host, Score: 0 }))),
      bind: bindTo,
      close: () => Promise.resolve(),
      ...overrides,
    };
    const scheduler = new KubeScheduler({
      calls,
      bindDirectly: bindTo,
      managedResources: MANAGED,
      weight: 1,
      bindConcurrency: 1,
      queue: new SchedulingQueue({ backoffMillis: 0, maxBackoffMillis: 0, maxRetries: 2, now: () => 0 }),
      random: seededRandom(seed, 'ties'),
      onRefused: (each, cause) => {
        refused.push(cause);
        tally.refuse(each.metadata?.uid ?? '', cause);
      },
    });
    cluster.subscribe((change) => {
      tally.observe(change);
      scheduler.observe(change);
    });
    for (const name of ['a', 'b', 'c']) cluster.create('nodes', node(name));
    const run = async (...pods: readonly PodManifest[]): Promise<(string | undefined)[]> => {
      for (const each of pods) cluster.create('pods', each);
      await scheduler.drain(new AbortController().signal);
      return pods.map((each) => {
        const object = cluster.get('pods', 'online', each.metadata?.name ?? '');
        return object === undefined ? undefined : asPod(object).spec?.nodeName;
      });
    };
    return { run, tally, refused, asked, cluster };
  }

  it('goes to the node with the highest score, whatever the ties elsewhere', async () => {
    const { run } = scheduling({
      prioritize: (_pod, names) => Promise.resolve(names.map((Host) => ({ Host, Score: Host === 'b' ? 10 : 9 }))),
    });
    expect(await run(pod('p', { slices: 1 }))).toEqual(['b']);
  });

  it('breaks ties by chance from the seed', async () => {
    const pods = Array.from({ length: 6 }, (_, at) => pod(`p${at}`, { slices: 1, cpuMilli: 1 }));
    const first = await scheduling({ seed: 1 }).run(...pods);
    expect(await scheduling({ seed: 1 }).run(...pods)).toEqual(first);
    expect(new Set(first).size).toBeGreaterThan(1);
  });

  it('asks the extender only about nodes with room, and nothing at all where none has', async () => {
    const { run, asked, refused, tally } = scheduling({});
    expect(await run(pod('big', { slices: 16 }), pod('small', { slices: 1 }), pod('huge', { slices: 99 }))).toEqual([
      expect.any(String),
      expect.any(String),
      undefined,
    ]);
    expect(asked.map((names) => names.length)).toEqual([3, 2]);
    expect(refused).toEqual(['Insufficient gpuloom.io/gpu-mem']);
    expect(tally).toMatchObject({ arrived: 3, placed: 2, pending: 1, refusedOnce: 1 });
  });

  it('leaves the extender out for pods without GPUs', async () => {
    const { run, asked } = scheduling({ bind: () => Promise.reject(new CallFailed('not yours')) });
    expect(await run(pod('plain'))).toEqual([expect.any(String)]);
    expect(asked).toEqual([]);
  });

  it('treats a failed prioritize as equal scores', async () => {
    const { run } = scheduling({ prioritize: () => Promise.reject(new CallFailed('busy')) });
    expect(await run(pod('p', { slices: 1 }))).toEqual([expect.any(String)]);
  });

  it('tries a pod again after a failed bind and gives its room back meanwhile', async () => {
    let failures = 0;
    const setup = scheduling({});
    const failing = scheduling({
      bind: () => {
        failures++;
        return Promise.reject(new CallFailed('bind: no'));
      },
    });
    expect(await failing.run(pod('p', { slices: 16 }))).toEqual([undefined]);
    expect(failures).toBe(3);
    expect(failing.asked.every((names) => names.length === 3)).toBe(true);
    expect(await setup.run(pod('p', { slices: 16 }))).toEqual([expect.any(String)]);
  });

  it('refuses an answer with a node that was not asked about', async () => {
    const { run, refused } = scheduling({
      filter: () =>
        Promise.resolve({ Nodes: null, NodeNames: ['z'], FailedNodes: {}, FailedAndUnresolvableNodes: {}, Error: '' }),
    });
    expect(await run(pod('p', { slices: 1 }))).toEqual([undefined]);
    expect(refused[0]).toContain('node z, which was not asked');
  });

  it('retries a refused pod when another ends', async () => {
    const { run, cluster, tally } = scheduling({});
    const giants = ['x', 'y', 'z'].map((name) => pod(name, { slices: 16 }));
    await run(...giants, pod('waits', { slices: 4 }));
    expect(tally).toMatchObject({ placed: 3, refusedNow: 1 });
    cluster.setPodPhase('online', 'y', 'Succeeded');
    await run();
    expect(tally).toMatchObject({ placed: 4, finished: 1, running: 3, refusedNow: 0, refusedOnce: 1 });
  });
});
