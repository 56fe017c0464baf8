// What the agent does by the clock: operator overrides from its Node, files of gone pods, and pods over their grant.

import type { EventSink } from '../extender/app/ports.ts';
import { GPU_OVERRIDE_ANNOTATION, GPUSHARE_NO_ISOLATION_LABEL } from '../extender/core/resources.ts';
import { apiPath, isRecord, messageOf, stringAt, type KubeApi } from '../extender/kube/kube-api.ts';
import type { EnvBinding } from './binding/env-binding.ts';
import type { NodeJudge } from './binding/judge.ts';
import type { LateBinding } from './binding/late-binding.ts';
import type { HealthMonitor } from './health/monitor.ts';
import { parseOverrides } from './health/override.ts';
import type { WatchedNodePods } from './kube/node-pods.ts';
import { findOveruse } from './load/overuse.ts';
import { podUses, type LoadReporter } from './load/report.ts';
import type { AgentCounters } from './metrics.ts';

export interface DutyDeps {
  readonly api: KubeApi;
  readonly nodeName: string;
  readonly monitor: HealthMonitor;
  readonly judge: NodeJudge;
  readonly pods: WatchedNodePods;
  readonly late: LateBinding;
  readonly env: EnvBinding;
  readonly events: EventSink;
  readonly report: LoadReporter;
  readonly counters: AgentCounters;
  readonly unitMiB: number;
  readonly log: { warn(message: string): void };
}

export interface AgentDuties {
  /** gpushare's node label that switches isolation off. */
  disablesIsolation(): boolean;
  stop(): void;
}

const OVERRIDES_EVERY_MILLIS = 10_000;
const COLLECT_EVERY_MILLIS = 30_000;
const OVERUSE_EVERY_MILLIS = 30_000;
const NODE_READ_MILLIS = 5000;

export function startAgentDuties(deps: DutyDeps): AgentDuties {
  let disablesIsolation = false;
  let missing = new Set<string>();
  const guarded = (what: string, duty: () => Promise<void>): (() => void) => {
    let isRunning = false;
    return () => {
      if (isRunning) return;
      isRunning = true;
      duty()
        .catch((error: unknown) => deps.log.warn(`${what}: ${messageOf(error)}`))
        .finally(() => {
          isRunning = false;
        });
    };
  };
  const readNode = guarded('reading this node', async () => {
    const node = await ownNode(deps);
    disablesIsolation = node.disablesIsolation;
    const overrides = parseOverrides(node.overrides);
    if (overrides.kind === 'overrides') deps.monitor.setOverrides(overrides.of);
    else deps.log.warn(overrides.why);
  });
  const collect = guarded('removing files of gone pods', async () => {
    if (!deps.pods.reflector.status().synced) return;
    missing = releaseMissing(deps, missing);
    deps.env.collect();
    await deps.late.collect();
  });
  const overuse = guarded('looking for pods over their grant', () => reportOveruse(deps));
  readNode();
  const timers = [
    setInterval(readNode, OVERRIDES_EVERY_MILLIS),
    setInterval(collect, COLLECT_EVERY_MILLIS),
    setInterval(overuse, OVERUSE_EVERY_MILLIS),
  ];
  return { disablesIsolation: () => disablesIsolation, stop: () => timers.forEach((timer) => clearInterval(timer)) };
}

async function ownNode({
  api,
  nodeName,
}: DutyDeps): Promise<{ readonly overrides: string | undefined; readonly disablesIsolation: boolean }> {
  const answer = await api.request('GET', apiPath('v1', 'nodes', nodeName), { timeoutMillis: NODE_READ_MILLIS });
  if (answer.status !== 200 || !isRecord(answer.body)) throw new Error(`the API server answered ${answer.status}`);
  return {
    overrides: stringAt(answer.body, 'metadata', 'annotations', GPU_OVERRIDE_ANNOTATION),
    disablesIsolation: stringAt(answer.body, 'metadata', 'labels', GPUSHARE_NO_ISOLATION_LABEL) === 'true',
  };
}

/** A pod known from a live read only is never reported gone by the watch: twice unseen means gone. */
function releaseMissing({ judge, pods }: DutyDeps, before: ReadonlySet<string>): Set<string> {
  const missing = new Set(judge.grantedPodUids().filter((uid) => pods.byUid(uid) === undefined));
  for (const uid of missing) if (before.has(uid)) judge.release(uid);
  return missing;
}

async function reportOveruse({ report, judge, pods, events, counters, unitMiB }: DutyDeps): Promise<void> {
  const uses = podUses(await report());
  if (uses === undefined) return;
  const grants = judge
    .grants()
    .map(({ podUid, gpuUuid, slices }) => ({ podUid, gpuUuid, memoryMiB: slices * unitMiB }));
  const overuses = findOveruse(grants, uses);
  counters.overusing = new Set(overuses.map(({ podUid }) => podUid)).size;
  for (const { podUid, gpuUuid, usedMiB, grantedMiB } of overuses) {
    const pod = pods.byUid(podUid);
    if (pod === undefined) continue;
    const message = `uses ${usedMiB} MiB of GPU ${gpuUuid} but was granted ${grantedMiB} MiB; ask for more slices or limit the process`;
    events.publish({ pod, type: 'Warning', reason: 'GpuMemoryOveruse', message });
  }
}
