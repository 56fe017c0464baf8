// Pods per second through filter, prioritize and bind against the embedded cluster, and the extender's memory: the real
// extender process with leader election off, a loaded API server in a process of its own, one pod after another.

import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { benchManifest, nodeName, seeded } from './bench-cluster.ts';
import { post } from './post.ts';
import { shippedNodeFlags } from './shipped-flags.ts';
import { renderTable } from './table.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const ARRIVALS = 1000;
const READY_WITHIN_MILLIS = 60_000;

interface Figures {
  readonly podsPerSecond: number;
  readonly rssMiB: number;
  readonly readyMillis: number;
  readonly bound: number;
}

async function untilReady(opsUrl: string, child: ChildProcess): Promise<number> {
  const started = performance.now();
  while (performance.now() - started < READY_WITHIN_MILLIS) {
    if (child.exitCode !== null) throw new Error(`the extender ended with ${child.exitCode}`);
    const ready = await fetch(`${opsUrl}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return performance.now() - started;
    await new Promise((wake) => setTimeout(wake, 20));
  }
  throw new Error('the extender did not get ready');
}

async function measure(nodes: number, placed: number): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'gpuloom-bench-'));
  const api = fork(join(import.meta.dirname, 'api-process.ts'), [String(nodes), String(placed)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  try {
    const [{ kubeconfig }] = (await once(api, 'message')) as [{ kubeconfig: string }];
    const file = join(folder, 'kubeconfig');
    writeFileSync(file, kubeconfig);
    return await measureExtender(file, api, nodes);
  } finally {
    api.disconnect();
    rmSync(folder, { recursive: true });
  }
}

async function measureExtender(kubeconfig: string, api: ChildProcess, nodes: number): Promise<Figures> {
  const [verbs, ops] = [18_345, 18_346];
  const args = [
    '--kubeconfig',
    kubeconfig,
    '--listen',
    `127.0.0.1:${verbs}`,
    '--ops',
    `127.0.0.1:${ops}`,
    '--no-leader-election',
    '--log-level',
    'error',
  ];
  const extender = spawn(process.execPath, [...shippedNodeFlags(), join(ROOT, 'extender/main.ts'), ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    const readyMillis = await untilReady(`http://127.0.0.1:${ops}`, extender);
    const random = seeded(23);
    const pods = Array.from({ length: ARRIVALS }, (_, at) => benchManifest(`arrival-${at}`, random));
    api.send(pods);
    await once(api, 'message');
    const names = Array.from({ length: nodes }, (_, at) => nodeName(at));
    let bound = 0;
    const started = performance.now();
    for (const Pod of pods) {
      const filtered = await post(agent, verbs, '/v1/filter', JSON.stringify({ Pod, Nodes: null, NodeNames: names }));
      const { NodeNames } = JSON.parse(filtered.text) as { NodeNames: string[] };
      if (NodeNames.length === 0) continue;
      const scored = await post(agent, verbs, '/v1/prioritize', JSON.stringify({ Pod, Nodes: null, NodeNames }));
      const best = (JSON.parse(scored.text) as { Host: string; Score: number }[]).find(({ Score }) => Score === 10);
      const { name, namespace, uid } = Pod.metadata ?? {};
      const answer = await post(
        agent,
        verbs,
        '/v1/bind',
        JSON.stringify({ PodName: name, PodNamespace: namespace, PodUID: uid, Node: best?.Host }),
      );
      if ((JSON.parse(answer.text) as { Error: string }).Error === '') bound++;
    }
    const seconds = (performance.now() - started) / 1000;
    const metrics = await fetch(`http://127.0.0.1:${ops}/metrics`).then((response) => response.text());
    const rss = Number(/^process_resident_memory_bytes (\S+)/m.exec(metrics)?.[1] ?? Number.NaN);
    return { podsPerSecond: ARRIVALS / seconds, rssMiB: rss / 2 ** 20, readyMillis, bound };
  } finally {
    agent.destroy();
    extender.kill('SIGTERM');
    await once(extender, 'exit');
  }
}

export async function benchThroughput(progress: (text: string) => void): Promise<string> {
  const rows: string[][] = [];
  for (const [nodes, placed] of [
    [500, 4000],
    [5000, 40_000],
  ] as const) {
    progress(`throughput: ${nodes} nodes, ${placed} pods placed before`);
    const { podsPerSecond, rssMiB, readyMillis, bound } = await measure(nodes, placed);
    rows.push(
      [
        nodes,
        placed,
        ARRIVALS,
        bound,
        podsPerSecond.toFixed(0),
        (readyMillis / 1000).toFixed(2),
        rssMiB.toFixed(0),
      ].map(String),
    );
  }
  return renderTable(['nodes', 'placed before', 'arrivals', 'bound', 'pods/s', 'ready after s', 'RSS MiB'], rows);
}
