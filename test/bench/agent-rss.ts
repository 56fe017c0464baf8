// Resident memory of the agent as it is shipped: at rest, and after many pods have come and gone. Reports beside the goal
// and asserts nothing; the same without the image's flags and with the driver's library stand beside it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MEMORY, standUuid } from '../support/agent-stand.ts';
import { FakeNvmlBuilder, missingCompiler } from '../support/fake-nvml/fake-nvml.ts';
import { nvmlState, scene, sceneGpu } from '../support/gpu-scene.ts';
import { shippedStart } from '../support/shipped-agent.ts';
import { AgentProcess, buildAgent, GPUS, SLICES, type AgentStart } from './agent-process.ts';
import { renderTable } from './table.ts';

const MOST_RSS_MIB = 90;
const MOST_ALLOCATE_MILLIS = 50;
const RUNS = 5;
const RESIDENTS = 20;
/** Pods that have come by then; all but the last few are gone. */
const STAGES = [0, 100, 1000] as const;
const LONG_STAGES = [...STAGES, 5000] as const;
/** Long enough for what a burst of work leaves behind to be cleared away. */
const REST_MILLIS = 3000;

interface Case {
  readonly name: string;
  readonly start: AgentStart;
  readonly stages: readonly number[];
}

interface Figures {
  /** At each stage. */
  readonly rssMiB: readonly number[];
  /** At any time since the start. */
  readonly highestMiB: number;
  readonly allocateMillis: readonly number[];
}

export async function benchAgentMemory(progress: (text: string) => void): Promise<string> {
  const built = buildAgent();
  const cache = mkdtempSync(join(tmpdir(), 'gpuloom-cache-'));
  const driver = missingCompiler === '' ? new FakeNvmlBuilder() : undefined;
  try {
    const results: { readonly name: string; readonly isShipped: boolean; readonly figures: Figures }[] = [];
    for (const each of casesOf(built.folder, cache, driver)) {
      progress(`agent-memory: ${each.name}`);
      const isShipped = each.start.flags.length > 0;
      results.push({ name: each.name, isShipped, figures: await measure(each) });
    }
    const shipped = results.flatMap(({ isShipped, figures }) => (isShipped ? [figures] : []));
    return [
      table(results),
      ...verdicts(shipped),
      ...(driver === undefined ? [`no NVML: ${missingCompiler}`] : []),
    ].join('\n');
  } finally {
    driver?.remove();
    rmSync(cache, { recursive: true });
    built.remove();
  }
}

function casesOf(dist: string, cache: string, driver: FakeNvmlBuilder | undefined): readonly Case[] {
  const shipped = shippedStart();
  const env = { ...shipped.env, NODE_COMPILE_CACHE: cache };
  const start: AgentStart = { ...shipped, env, dist, inventory: 'file' };
  const gpus = Array.from({ length: GPUS }, (_, at) => sceneGpu(at, { uuid: standUuid(at), memoryMiB: SLICES * 1024 }));
  const library = driver?.create(nvmlState(scene(gpus))).library;
  return [
    ...Array.from({ length: RUNS }, (_, at) => ({
      name: `shipped, run ${at + 1}`,
      start,
      stages: at === 0 ? LONG_STAGES : STAGES,
    })),
    ...(library === undefined
      ? []
      : [{ name: 'shipped, with NVML', start: withLibrary(start, library), stages: STAGES }]),
    { name: 'without its flags', start: { ...start, flags: [] }, stages: STAGES },
  ];
}

function withLibrary(start: AgentStart, library: string): AgentStart {
  return { ...start, inventory: 'nvml', env: { ...start.env, LD_LIBRARY_PATH: dirname(library) } };
}

async function measure({ start, stages }: Case): Promise<Figures> {
  const agent = await AgentProcess.start(start);
  try {
    const endpoint = agent.kubelet.endpoint(MEMORY);
    if (endpoint === undefined) throw new Error('the plugin is not registered');
    const allocateMillis: number[] = [];
    endpoint.onCall = (path, tookMillis) => {
      if (path.endsWith('/Allocate')) allocateMillis.push(tookMillis);
    };
    const rssMiB: number[] = [];
    let count = 0;
    for (const stage of stages) {
      for (; count < stage; count++) {
        await agent.runPod(`p${count}`, count);
        if (count >= RESIDENTS) agent.removePod(`p${count - RESIDENTS}`);
      }
      await agent.lookAt();
      await new Promise((resolve) => setTimeout(resolve, REST_MILLIS));
      rssMiB.push(agent.memory().rssMiB);
    }
    return { rssMiB, highestMiB: agent.memory().highestMiB, allocateMillis };
  } finally {
    await agent.stop();
  }
}

function table(results: readonly { readonly name: string; readonly figures: Figures }[]): string {
  const rows = results.map(({ name, figures: { rssMiB, highestMiB, allocateMillis } }) => [
    name,
    ...LONG_STAGES.map((_, at) => rssMiB[at]?.toFixed(1) ?? ''),
    highestMiB.toFixed(1),
    part(allocateMillis, 0.5).toFixed(1),
    part(allocateMillis, 0.99).toFixed(1),
  ]);
  const heads = LONG_STAGES.map((stage) => (stage === 0 ? 'RSS MiB idle' : `after ${stage} pods`));
  return renderTable(['agent', ...heads, 'highest', 'Allocate ms p50', 'p99'], rows);
}

function verdicts(shipped: readonly Figures[]): readonly string[] {
  const spreads = STAGES.map((stage, at) => {
    const sorted = shipped.flatMap(({ rssMiB }) => rssMiB[at] ?? []).sort((a, b) => a - b);
    const range = `${sorted[0]?.toFixed(1) ?? '?'} to ${sorted.at(-1)?.toFixed(1) ?? '?'}`;
    return stage === 0 ? `idle ${range}` : `after ${stage} pods ${range}`;
  });
  const highest = Math.max(...shipped.map(({ highestMiB }) => highestMiB));
  const slowest = Math.max(...shipped.map(({ allocateMillis }) => part(allocateMillis, 0.99)));
  const said = (isMet: boolean): string => (isMet ? 'met' : 'NOT met');
  return [
    `RSS as shipped, ${shipped.length} runs: ${spreads.join(', ')}, highest ${highest.toFixed(1)}; at most ${MOST_RSS_MIB} MiB at all times: ${said(highest <= MOST_RSS_MIB)}`,
    `Allocate as shipped: p99 at most ${MOST_ALLOCATE_MILLIS} ms: ${said(slowest <= MOST_ALLOCATE_MILLIS)}`,
  ];
}

function part(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
