// What a simulation costs as a whole command, start-up and reading included: on the openb trace where it is there, and
// on generated clusters of growing size, each against the requirement.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openbFolder } from '../support/openb.ts';
import { renderTable } from './table.ts';

const MAIN = resolve(import.meta.dirname, '../../simulator/main.ts');
const MOST_WALL_MILLIS = 500;
const MOST_RSS_MIB = 120;
/** What ten times the cluster and the workload may cost, as a multiple. */
const MOST_GROWTH = 13;
const ROUNDS = 5;

interface Cost {
  readonly name: string;
  readonly arrivals: number;
  readonly wallMillis: number;
  readonly rssMiB: number;
}

export async function benchSimulator(progress: (text: string) => void): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-simulator-'));
  try {
    const costs: Cost[] = [];
    for (const { name, argv, rounds } of commands()) {
      progress(`simulator: ${name}`);
      costs.push(await cheapest(name, argv, rounds, join(folder, 'out.json')));
    }
    return report(costs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function commands(): { readonly name: string; readonly argv: readonly string[]; readonly rounds: number }[] {
  const openb = openbFolder();
  const scaled = (scale: number, rounds: number) => ({
    name: `generated x ${scale}, fgd`,
    argv: ['--scale', String(scale)],
    rounds,
  });
  const generated = [scaled(1, ROUNDS), scaled(10, 2)];
  if (openb === undefined) return generated;
  const files = [
    ...['--nodes', join(openb, 'openb_node_list_gpu_node.csv')],
    ...['--pods', join(openb, 'openb_pod_list_default.csv')],
    ...['--arrivals', join(openb, 'arrivals', 'default.jsonl.gz'), '--seed', '42'],
  ];
  return [{ name: 'openb default, fgd', argv: files, rounds: ROUNDS }, ...generated];
}

/** The quickest of several runs: everything else on the machine only adds. */
async function cheapest(name: string, argv: readonly string[], rounds: number, out: string): Promise<Cost> {
  let best: Cost | undefined;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    await command(['run', '--policy', 'fgd', ...argv, '--json', out]);
    const wallMillis = performance.now() - start;
    const { decisions, peakRssMiB } = JSON.parse(readFileSync(out, 'utf8')) as {
      readonly decisions: number;
      readonly peakRssMiB: number;
    };
    if (best !== undefined && best.wallMillis <= wallMillis) continue;
    best = { name, arrivals: decisions, wallMillis, rssMiB: peakRssMiB };
  }
  if (best === undefined) throw new RangeError('at least one round');
  return best;
}

async function command(argv: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'ignore', 'inherit'] });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  if (code !== 0) throw new Error(`simulator/main.ts ${argv.join(' ')} ended with code ${code}`);
}

function report(costs: readonly Cost[]): string {
  const rows = costs.map(({ name, arrivals, wallMillis, rssMiB }) => [
    name,
    String(arrivals),
    `${wallMillis.toFixed(0)} ms`,
    `${rssMiB} MiB`,
    `${((wallMillis * 1000) / arrivals).toFixed(1)} µs`,
  ]);
  const lines = [renderTable(['run', 'arrivals', 'wall', 'peak RSS', 'per arrival'], rows), ''];
  const [first] = costs;
  if (first !== undefined && first.name.startsWith('openb')) {
    const isMet = first.wallMillis <= MOST_WALL_MILLIS && first.rssMiB <= MOST_RSS_MIB;
    lines.push(`openb default: at most ${MOST_WALL_MILLIS} ms and ${MOST_RSS_MIB} MiB: ${isMet ? 'met' : 'NOT met'}`);
  }
  const [one, ten] = costs.slice(-2);
  if (one !== undefined && ten !== undefined) {
    const growth = ten.wallMillis / one.wallMillis;
    const verdict = growth <= MOST_GROWTH ? 'met' : 'NOT met';
    lines.push(
      `ten times the cluster and workload costs ${growth.toFixed(1)} times (at most ${MOST_GROWTH}): ${verdict}`,
    );
  }
  return lines.join('\n');
}
