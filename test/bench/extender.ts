// Latency of filter and prioritize over loopback HTTP beside a floor in the same run: the same server, which parses the
// body and answers every node without looking. Requests to both alternate, so that both meet the same noise.

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { benchManifest, nodeName, seeded } from './bench-cluster.ts';
import { post } from './post.ts';
import { shippedNodeFlags } from './shipped-flags.ts';
import { renderTable } from './table.ts';

const PODS = 40_000;
const WARM_UP = 60;

interface Peer {
  readonly port: number;
  readonly placed: number;
  readonly child: ChildProcess;
}

interface Timing {
  readonly p50: number;
  readonly p99: number;
}

async function startPeer(mode: 'floor' | 'gpuloom', nodes: number, narrow: number): Promise<Peer> {
  const script = join(import.meta.dirname, 'extender-server.ts');
  const child = fork(script, [mode, String(nodes), String(PODS), String(narrow)], {
    execArgv: [...shippedNodeFlags()],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [ready] = (await once(child, 'message')) as [{ port: number; placed: number }];
  return { ...ready, child };
}

async function rssMiB({ child }: Peer): Promise<number> {
  child.send('rss');
  const [answer] = (await once(child, 'message')) as [{ rssMiB: number }];
  return answer.rssMiB;
}

function timing(samples: readonly number[]): Timing {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

interface CaseResult {
  readonly filter: readonly [floor: Timing, gpuloom: Timing];
  readonly prioritize: readonly [floor: Timing, gpuloom: Timing];
  readonly rss: number;
  readonly placed: number;
}

/** One pod after another through filter and prioritize, over all nodes, against both peers in turn. */
async function measure(nodes: number, narrow: number, rounds: number): Promise<CaseResult> {
  const names = Array.from({ length: nodes }, (_, at) => nodeName(at));
  const peers = [await startPeer('floor', nodes, narrow), await startPeer('gpuloom', nodes, narrow)] as const;
  const agents = peers.map(() => new Agent({ keepAlive: true, maxSockets: 1 }));
  const filter: [number[], number[]] = [[], []];
  const prioritize: [number[], number[]] = [[], []];
  const random = seeded(11);
  try {
    for (let round = -WARM_UP; round < rounds; round++) {
      const Pod = benchManifest(`asks-${round}`, random);
      const body = JSON.stringify({ Pod, Nodes: null, NodeNames: names });
      for (const which of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
        const agent = agents[which] ?? new Agent();
        const filtered = await post(agent, peers[which].port, '/v1/filter', body);
        // Both prioritize every candidate, whatever filter handed back, so that they answer the same question.
        const scored = await post(agent, peers[which].port, '/v1/prioritize', body);
        if (round < 0) continue;
        filter[which].push(filtered.millis);
        prioritize[which].push(scored.millis);
      }
    }
    return {
      filter: [timing(filter[0]), timing(filter[1])],
      prioritize: [timing(prioritize[0]), timing(prioritize[1])],
      rss: await rssMiB(peers[1]),
      placed: peers[1].placed,
    };
  } finally {
    for (const agent of agents) agent.destroy();
    for (const { child } of peers) child.disconnect();
  }
}

export async function benchExtender(progress: (text: string) => void): Promise<string> {
  const rows: string[][] = [];
  for (const [nodes, rounds] of [
    [500, 600],
    [5000, 300],
    [15_000, 120],
  ] as const) {
    for (const narrow of [32, 0]) {
      progress(`extender: ${nodes} nodes, ${narrow === 0 ? 'no narrowing' : `narrow ${narrow}`}`);
      const { filter, prioritize, rss, placed } = await measure(nodes, narrow, rounds);
      const cells = ([floor, ours]: readonly [Timing, Timing]): string[] => [
        `${ours.p50.toFixed(2)} / ${ours.p99.toFixed(2)}`,
        `${floor.p50.toFixed(2)} / ${floor.p99.toFixed(2)}`,
        (ours.p50 / floor.p50).toFixed(2),
      ];
      rows.push([
        String(nodes),
        narrow === 0 ? 'off' : String(narrow),
        String(placed),
        ...cells(filter),
        ...cells(prioritize),
        rss.toFixed(0),
      ]);
    }
  }
  const head = [
    'nodes',
    'narrow',
    'pods',
    'filter ms p50/p99',
    'floor',
    'ratio',
    'prioritize ms p50/p99',
    'floor',
    'ratio',
    'RSS MiB',
  ];
  return renderTable(head, rows);
}
