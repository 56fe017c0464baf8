// The node agent: how long the kubelet waits for it over the real socket, how soon a sick GPU is seen, and 100,000 random
// admissions (see test/support/admission-storm.ts) of which not one may be wrong.

import { AgentStand, MEMORY } from '../support/agent-stand.ts';
import { runStorm, type StormResult } from '../support/admission-storm.ts';
import { seeded } from './bench-cluster.ts';
import { renderTable } from './table.ts';

const GPUS = 8;
const SLICES = 80;
const RESIDENTS = 30;
const PODS = 400;
const WARM_UP = 50;
const HEALTH_ROUNDS = 20;
const MOST_ALLOCATE_MILLIS = 50;
const MOST_HEALTH_MILLIS = 1000;
const STORM = { process: 24_800, sockets: 200 } as const;
const MODES = [
  ['cdi', 'old'],
  ['cdi', 'new'],
  ['env', 'old'],
  ['env', 'new'],
] as const;

export async function benchAgent(progress: (text: string) => void): Promise<string> {
  const sections: string[] = [];
  for (const binding of ['cdi', 'env'] as const) {
    progress(`agent: calls of the kubelet, ${binding}`);
    sections.push(await benchCalls(binding));
  }
  progress('agent: health');
  sections.push(await benchHealth());
  sections.push(await benchStorms(progress));
  return sections.join('\n\n');
}

async function startNode(binding: 'cdi' | 'env'): Promise<AgentStand> {
  const memories = Array.from({ length: GPUS }, () => SLICES * 1024);
  const stand = await AgentStand.start(memories, seeded(5), { binding });
  await stand.kubelet.waitFor(() => stand.kubelet.allocatable(MEMORY) === GPUS * SLICES, 'the plugin to register');
  return stand;
}

/** One pod after another beside residents, each started and removed. */
async function benchCalls(binding: 'cdi' | 'env'): Promise<string> {
  const stand = await startNode(binding);
  try {
    const millis = new Map<string, number[]>();
    for (let at = 0; at < RESIDENTS; at++) await runPod(stand, `resident-${at}`, at % GPUS);
    timeCalls(stand, millis);
    for (let at = -WARM_UP; at < PODS; at++) {
      if (at === 0) millis.clear();
      const uid = await runPod(stand, `p${at}`, (at + WARM_UP) % GPUS);
      stand.deletePod(`p${at}`);
      stand.kubelet.remove(uid);
    }
    const rows = [...millis].map(([name, samples]) => {
      const { p50, p99, worst } = spread(samples);
      return [name, String(samples.length), p50.toFixed(2), p99.toFixed(2), worst.toFixed(2)];
    });
    const { p99 } = spread(millis.get('Allocate') ?? []);
    const table = renderTable([`${binding}: call`, 'calls', 'ms p50', 'p99', 'worst'], rows);
    return `${table}\nAllocate: p99 at most ${MOST_ALLOCATE_MILLIS} ms: ${p99 <= MOST_ALLOCATE_MILLIS ? 'met' : 'NOT met'}`;
  } finally {
    await stand.stop();
  }
}

async function runPod(stand: AgentStand, name: string, gpu: number): Promise<string> {
  const pod = stand.bind({ name, slices: [4], gpus: [gpu] });
  await stand.kubelet.run(pod);
  return pod.uid;
}

/** At the kubelet's end of the socket. */
function timeCalls(stand: AgentStand, millis: Map<string, number[]>): void {
  const endpoint = stand.kubelet.endpoint(MEMORY);
  if (endpoint === undefined) throw new Error('the plugin is not registered');
  endpoint.onCall = (path, tookMillis) => {
    const name = path.slice(path.lastIndexOf('/') + 1);
    millis.set(name, [...(millis.get(name) ?? []), tookMillis]);
  };
}

/** From the edit of the inventory file to the list at the kubelet, with the agent's own intervals. */
async function benchHealth(): Promise<string> {
  const stand = await startNode('cdi');
  const healthy = Array.from({ length: GPUS }, () => SLICES * 1024);
  const millis: number[] = [];
  try {
    stand.pollMillis = undefined;
    for (let round = 0; round < HEALTH_ROUNDS; round++) {
      // A new agent takes the file as it is; recovery would be waited for much longer, on purpose.
      stand.writeGpus(healthy);
      await stand.stopAgent();
      await stand.startAgent();
      const { kubelet } = stand;
      await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === GPUS * SLICES, 'all GPUs');
      const start = performance.now();
      stand.writeGpus(healthy, [round % GPUS]);
      await kubelet.waitFor(() => kubelet.allocatable(MEMORY) === (GPUS - 1) * SLICES, 'the list without the GPU');
      millis.push(performance.now() - start);
    }
  } finally {
    await stand.stop();
  }
  const { p50, worst } = spread(millis);
  const verdict = worst <= MOST_HEALTH_MILLIS ? 'met' : 'NOT met';
  return `unhealthy GPU to the kubelet's list, ${millis.length} times: p50 ${p50.toFixed(0)} ms, worst ${worst.toFixed(0)} ms; at most ${MOST_HEALTH_MILLIS} ms: ${verdict}`;
}

async function benchStorms(progress: (text: string) => void): Promise<string> {
  const results: StormResult[] = [];
  for (const over of ['process', 'sockets'] as const) {
    for (const [at, [binding, generation]] of MODES.entries()) {
      progress(`agent: ${STORM[over]} admissions, ${binding}, ${generation} kubelet, over ${over}`);
      const plan = { over, binding, generation, seed: 100 + at, admissions: STORM[over], disturbEvery: 100 };
      results.push(await runStorm(plan));
    }
  }
  const total = (of: (result: StormResult) => number): string =>
    String(results.reduce((sum, each) => sum + of(each), 0));
  const heads = ['process', 'sockets'].flatMap((over) => MODES.map((mode) => `${mode.join(' ')} ${over.slice(0, 4)}`));
  const row = (name: string, of: (result: StormResult) => number): string[] => [
    name,
    total(of),
    ...results.map((each) => String(of(each))),
  ];
  const reasons = (kind: 'rejected' | 'refused' | 'stranded'): string[][] => {
    const names = new Set(results.flatMap((each) => [...each[kind].keys()]));
    return [...names].sort().map((name) => row(`${kind}: ${name}`, (each) => each[kind].get(name) ?? 0));
  };
  const rows = [
    row('admissions', ({ admissions }) => admissions),
    row('container starts', ({ starts }) => starts),
    row('restarts of agent, kubelet, watch', ({ disturbances }) =>
      [...disturbances.values()].reduce((a, b) => a + b, 0),
    ),
    row('WRONG GPU OR AMOUNT', ({ wrong }) => wrong.length),
    row('GPU ABOVE CAPACITY', ({ overfull }) => overfull.length),
    ...reasons('rejected'),
    ...reasons('refused'),
    ...reasons('stranded'),
  ];
  return renderTable(['admission storm', 'all', ...heads], rows);
}

function spread(samples: readonly number[]): { readonly p50: number; readonly p99: number; readonly worst: number } {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), worst: at(1) };
}
