// `npm start` as a newcomer runs it: a process of its own, with the real extender service in it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { INVENTORY_ANNOTATION } from '../../extender/core/resources.ts';
import { startEmbeddedCluster } from '../../extender/demo/embedded-cluster.ts';

const DEMO = resolve(import.meta.dirname, '../../extender/demo.ts');
const SMALL = ['--once', '--json', '--nodes', '3', '--pods', '80'];

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const running = new Set<ReturnType<typeof spawn>>();
afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
});

/** Runs the demo; sends `signal` once stdout shows `until`. */
async function demo(args: readonly string[], stop?: { until: RegExp; signal: NodeJS.Signals }): Promise<Ended> {
  const child = spawn(process.execPath, [DEMO, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let stdout = '';
  let stderr = '';
  let isStopping = false;
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
    if (stop === undefined || isStopping || !stop.until.test(stdout)) return;
    isStopping = true;
    child.kill(stop.signal);
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  await once(child, 'close');
  running.delete(child);
  return { code: child.exitCode, stdout, stderr };
}

interface Summary {
  readonly arrived: number;
  readonly placed: number;
  readonly refused: number;
  readonly reasons: Readonly<Record<string, number>>;
  readonly gpus: number;
  readonly gpusOverCapacity: number;
  readonly allocationsAmiss: number;
  readonly allocationPercent: number;
}

describe('npm start', () => {
  it('fills a small cluster once and accounts for every pod, the same for the same seed', async () => {
    const [first, again, other] = await Promise.all([demo(SMALL), demo(SMALL), demo([...SMALL, '--seed', '2'])]);
    expect(first).toMatchObject({ code: 0 });
    const summary = JSON.parse(first.stdout) as Summary;
    expect(summary).toMatchObject({ arrived: 80, gpus: 20, gpusOverCapacity: 0, allocationsAmiss: 0 });
    expect(summary.placed).toBeGreaterThan(0);
    expect(summary.refused).toBeGreaterThan(0);
    expect(summary.placed + summary.refused).toBe(summary.arrived);
    expect(Object.values(summary.reasons).reduce((sum, count) => sum + count, 0)).toBe(summary.refused);
    expect(summary.allocationPercent).toBeGreaterThan(50);
    expect(again.stdout).toBe(first.stdout);
    expect(other.stdout).not.toBe(first.stdout);
    // Prose goes to stderr and ends with the way to a real cluster.
    expect(first.stderr).toContain('--kubeconfig');
    expect(first.stderr).toContain('deploy/scheduler/');
  });

  it('runs until SIGINT or SIGTERM, without colours on a pipe, and ends with 0', async () => {
    const [interrupted, terminated] = await Promise.all([
      demo(['--nodes', '2'], { until: /arrived [1-9]/, signal: 'SIGINT' }),
      demo(['--nodes', '2'], { until: /\/metrics/, signal: 'SIGTERM' }),
    ]);
    for (const ended of [interrupted, terminated]) {
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      expect(ended.stdout).toMatch(/http:\/\/127\.0\.0\.1:\d+\/metrics/);
      expect(ended.stdout).toContain('--kubeconfig');
      expect(ended.stdout).not.toContain('\u001b');
    }
  });

  it('answers wrong flags and folders with status 2 and how to mend them', async () => {
    const [flag, folder] = await Promise.all([demo(['--nodez', '3']), demo(['--once', '--trace', '/nonexistent'])]);
    expect(flag).toMatchObject({ code: 2, stdout: '' });
    expect(flag.stderr).toContain('did you mean --nodes?');
    expect(folder).toMatchObject({ code: 2, stdout: '' });
    expect(folder.stderr).toContain('/nonexistent: no openb_node_list_gpu_node.csv');
  });
});

describe('an embedded cluster for the extender alone', () => {
  it('serves the generated nodes with their inventories and closes', async () => {
    const cluster = await startEmbeddedCluster({ seed: 2, nodes: 5 });
    const nodesUrl = `${cluster.server.url}/api/v1/nodes`;
    const response = await fetch(nodesUrl);
    const list = (await response.json()) as { items: { metadata: { annotations: Record<string, string> } }[] };
    expect(list.items.map(({ metadata }) => INVENTORY_ANNOTATION in metadata.annotations)).toEqual(
      Array.from({ length: 5 }, () => true),
    );
    await cluster.close();
    await expect(fetch(nodesUrl)).rejects.toThrow();
  });
});
