// `run --timed`: arrivals and departures in virtual time; waiting times for each class and utilisation over time.

import { GENERATED_NODES, GENERATED_PODS, generateNodes } from '../generate/openb-like.ts';
import { generateTimedPods } from '../generate/timed-pods.ts';
import { runTimed, type TimedOutcome } from '../timed/run.ts';
import type { UsagePoint } from '../timed/usage.ts';
import type { ClassWaits } from '../timed/waits.ts';
import { poissonArrivals, recordedArrivals, type TimedWorkload } from '../timed/workload.ts';
import { TraceFault } from '../trace/fault.ts';
import { readNodes, readTimedPods, traceNameOf } from '../trace/openb.ts';
import { driverOf } from './driver-flags.ts';
import type { RunFlags } from './flags.ts';
import { writeOutput } from './output-file.ts';
import { ProgressLine, type Terminal } from './terminal.ts';
import { chosenWeights } from './weight-flags.ts';

const DEFAULT_SEED = 1;
const DEFAULT_LOAD = 0.9;
const DEFAULT_HOURS = 24;

export async function timed(flags: RunFlags, terminal: Terminal): Promise<number> {
  const driver = driverOf(flags, [flags.policy]);
  const { weights } = chosenWeights(flags, [flags.policy]);
  const workload = await timedWorkload(flags);
  const line = new ProgressLine(terminal, 'arrivals');
  const tell = (done: number, total: number): void => line.tell(done, total);
  const { outcome, schedule } = runTimed(workload, flags.policy, driver, tell, weights);
  line.end();
  if (flags.placements !== undefined) {
    const names = Array.from(workload.order.nodes, (node) => workload.nodes[node]?.name ?? '');
    writeOutput(flags.placements, schedule.pieces(names), terminal);
  }
  if (flags.csv !== undefined) writeOutput(flags.csv, [usageCsv(outcome.curve)], terminal);
  const isQuiet = [flags.placements, flags.csv, flags.json].includes('-');
  if (!isQuiet) terminal.stdout.write(summary(outcome));
  if (flags.json !== undefined) {
    writeOutput(flags.json, [`${JSON.stringify(outcome, undefined, 1)}\n`], terminal);
  }
  return 0;
}

/** Files keep their own times unless a load is asked for; without files pods are made up, at a load. */
async function timedWorkload({
  nodes,
  pods,
  arrivals,
  seed = DEFAULT_SEED,
  load,
  hours,
  scale,
}: RunFlags): Promise<TimedWorkload> {
  if (arrivals !== undefined) {
    throw new TraceFault(
      '--arrivals: an order without times; leave it out, --timed makes its own from times or --load',
    );
  }
  if ((nodes === undefined) !== (pods === undefined)) {
    throw new TraceFault('--nodes and --pods go together; leave both out to generate a cluster');
  }
  const options = { load: load ?? DEFAULT_LOAD, hours: hours ?? DEFAULT_HOURS };
  if (nodes === undefined || pods === undefined) {
    const made = generateTimedPods(Math.max(1, Math.round(scale * GENERATED_PODS)), seed);
    const cluster = generateNodes(Math.max(1, Math.round(scale * GENERATED_NODES)));
    return poissonArrivals('generated', cluster, made, seed, options);
  }
  const cluster = await readNodes(nodes);
  const list = await readTimedPods(pods);
  const trace = traceNameOf(pods);
  if (load !== undefined) return poissonArrivals(trace, cluster, list, seed, options);
  if (hours === undefined) return recordedArrivals(trace, cluster, list, seed);
  throw new TraceFault('--hours: the pod list has times of its own; add --load to draw other ones');
}

function usageCsv(curve: readonly UsagePoint[]): string {
  const head = 'fromSeconds,allocationPercent,fragmentationPercent,runningPods,waitingPods';
  const lines = curve.map((point) =>
    [point.fromSeconds, point.allocationPercent, point.fragmentationPercent, point.runningPods, point.waitingPods].join(
      ',',
    ),
  );
  return `${[head, ...lines].join('\n')}\n`;
}

function summary(outcome: TimedOutcome): string {
  const { policy, trace, seed, pods, nodes, gpus, endSeconds, usage, classes } = outcome;
  return [
    `${policy} on ${trace}, seed ${seed}: ${pods} arrivals in ${(endSeconds / 3600).toFixed(1)} h on ${nodes} nodes with ${gpus} GPUs`,
    `allocated   ${usage.meanAllocationPercent.toFixed(2)} % on average, ${usage.peakAllocationPercent.toFixed(2)} % at most`,
    `at the end  ${outcome.finished} finished, ${outcome.running} running`,
    waitLine('online', classes.online),
    waitLine('batch', classes.batch),
    '',
  ].join('\n');
}

function waitLine(name: string, waits: ClassWaits): string {
  const { p50Seconds, p90Seconds, p99Seconds, maxSeconds } = waits;
  const times = [p50Seconds, p90Seconds, p99Seconds, maxSeconds].map((seconds) => seconds.toFixed(0)).join(' / ');
  const left = `${waits.stillWaiting} still waiting, ${waits.unplaceable} fit no node`;
  return `${name.padEnd(10)}  ${waits.pods} pods waited ${times} s (p50 / p90 / p99 / max); ${left}`;
}
