// The way from a running extender to `simulator replay`: its own snapshot over HTTP, and the lists of its API server.

import { describe, expect, it } from 'vitest';
import { runOnce } from '../../extender/demo/run-once.ts';
import { setStage } from '../../extender/demo/stage.ts';
import { summarizeRun, type Summary } from '../../extender/demo/summary.ts';
import { reportText } from '../../simulator/replay/report-text.ts';
import { recordingLog } from '../support/http-shell.ts';
import { kubectlText, replayed } from '../support/replayed.ts';
import { callSimulator } from '../support/simulated.ts';

const SETTLE_LIMIT_MILLIS = 10_000;

interface Filled {
  readonly summary: Summary;
  readonly snapshot: string;
  readonly listed: string;
}

/** A small cluster in this process, filled as `npm start -- --once` does it. */
async function fillOnce(): Promise<Filled> {
  const seed = 3;
  const policy = 'fragmentation';
  const flags = { once: true, json: true, seed, nodes: 3, pods: 90, policy, trace: undefined } as const;
  const stage = await setStage(flags, recordingLog().log);
  try {
    const { server, extender, workload } = stage;
    const signal = new AbortController().signal;
    const session = await runOnce({
      server,
      extender,
      workload,
      pods: flags.pods,
      seed,
      signal,
      onProgress: () => undefined,
    });
    const summary = summarizeRun(session.tally, session.occupancy(), {
      workload: 'test',
      seed,
      policy,
      interrupted: false,
    });
    const objects = [
      ...server.cluster.list('nodes').map((node) => ({ ...node, kind: 'Node' })),
      ...server.cluster.list('pods').map((pod) => ({ ...pod, kind: 'Pod' })),
    ];
    await session.close();
    return { summary, snapshot: await settledSnapshot(extender.opsUrl), listed: kubectlText(objects) };
  } finally {
    await stage.close();
  }
}

/** Taken once the watch has shown the last bind. */
async function settledSnapshot(opsUrl: string): Promise<string> {
  const deadline = performance.now() + SETTLE_LIMIT_MILLIS;
  for (;;) {
    const text = await (await fetch(`${opsUrl}/snapshot`)).text();
    if (!text.includes('"state":"assumed"')) return text;
    if (performance.now() > deadline) throw new Error('the watch has not shown every bind');
  }
}

describe('the snapshot of a running extender', () => {
  it('replays to the figures of its own summary, as the lists of its API server do, and to the same bytes each time', async () => {
    const { summary, snapshot, listed } = await fillOnce();
    expect(summary).toMatchObject({ nodes: 3, gpusOverCapacity: 0, allocationsAmiss: 0 });
    expect(summary.refused).toBeGreaterThan(0);
    const report = await replayed('snapshot', snapshot);
    const { occupancy, waiting } = report.today;
    expect(occupancy).toMatchObject({
      gpus: summary.gpus,
      slices: summary.slices,
      allocatedSlices: summary.onlineSlices + summary.batchSlices,
      allocationPercent: summary.allocationPercent,
      idleGpus: summary.gpus - summary.gpusInUse,
      closedNodes: 0,
    });
    expect(report.document.pods).toBe(summary.placed);
    // Nothing has finished since, so what was refused still fits nowhere.
    expect(waiting).toMatchObject({ pods: report.document.waitingPods, fit: 0 });
    expect(report.settings.mix).toBe('learned');
    expect(report.findings.map(({ kind }) => kind).filter((kind) => kind !== 'invalid-request')).toEqual([]);

    const fromList = await replayed('kubectl', listed);
    expect(fromList.document).toEqual({ ...report.document, kind: 'kubectl' });
    expect({ ...fromList.today.occupancy, strandedSlices: 0, fragmentationGpus: 0, fragmentationPercent: 0 }).toEqual({
      ...occupancy,
      ...{ strandedSlices: 0, fragmentationGpus: 0, fragmentationPercent: 0 },
    });
    expect(fromList.today.waiting).toEqual(waiting);
    expect(await replayed('snapshot', snapshot)).toEqual(report);

    const anew = await replayed('snapshot', snapshot, '--order', 'creation');
    const usual = await replayed('snapshot', snapshot, '--order', 'creation', '--weights', 'stepPods=0.04');
    expect(usual.anew).toEqual(anew.anew);
    expect(usual.settings.weights).toEqual({ gpuCountExponent: 0.8, cpuWeight: 0.1, stepPods: 0.04 });
    expect(reportText('s.json', usual)).toContain('fragmentation (gpuCountExponent 0.8, cpuWeight 0.1, stepPods 0.04)');
    const coarse = await replayed('snapshot', snapshot, '--order', 'creation', '--weights', 'stepPods=1');
    expect(coarse.anew).not.toEqual(anew.anew);
  });
});

describe('replay --help', () => {
  it('shows examples of every question', async () => {
    const { code, stdout } = await callSimulator('replay', '--help');
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:\n  node simulator/main.ts replay');
    for (const flag of [
      '--kubectl',
      '--snapshot',
      '--policy',
      '--remove-nodes',
      '--add-nodes',
      '--add-pods',
      '--repack',
    ]) {
      expect(stdout.slice(stdout.indexOf('Examples:'))).toContain(flag);
    }
  });
});
