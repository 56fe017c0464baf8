// What the demo says in words: headings, counts, reasons, the summary at the end, and where to go next. Pure.

import type { Line, Look } from './styled-text.ts';
import { line, span, wrapped } from './styled-text.ts';
import type { GpuTotals, Summary } from './summary.ts';
import type { PodIdentity } from './manifests.ts';
import type { Latencies } from './latencies.ts';
import { percent } from './summary.ts';
import { bar } from './gpu-map.ts';
import type { Tally } from './tally.ts';

const SHOWN_REASONS = 8;
const LINES_PER_REASON = 2;

export interface Setting {
  readonly workload: string;
  readonly nodes: number;
  readonly gpus: number;
  readonly policy: string;
  readonly seed: number;
}

export function headline({ workload, nodes, gpus, policy, seed }: Setting): Line {
  const what = `  ${nodes} nodes, ${gpus} GPUs, policy ${policy}, seed ${seed}: ${workload}`;
  return line(span('gpuloom', 'bold'), what);
}

export function podCounts(tally: Tally): Line {
  return line(
    'pods  ',
    span(`arrived ${tally.arrived}`, 'bold'),
    `  placed ${tally.placed}  running ${tally.running}  pending ${tally.pending}`,
    `  refused ${tally.refusedOnce}  withdrawn ${tally.withdrawn}`,
  );
}

export function memoryLine(totals: GpuTotals, { width, glyphs }: Look): Line {
  const { onlineSlices, batchSlices, slices, overCapacity, allocationPercent } = totals;
  const shares = `online ${percent(onlineSlices, slices).toFixed(0)} %, batch ${percent(batchSlices, slices).toFixed(0)} %`;
  return line(
    'slices ',
    ...bar(onlineSlices, batchSlices, slices, Math.min(30, Math.max(8, width - 72)), glyphs),
    span(`  ${allocationPercent.toFixed(1)} % allocated`, 'bold'),
    ` (${shares})  over capacity `,
    span(String(overCapacity), overCapacity === 0 ? 'good' : 'bad'),
  );
}

export function latencyLine(latencies: Latencies): Line {
  return line(span(`answers in ms (p50/p99)  ${latencies.text()}`, 'dim'));
}

export function reasonLines(
  reasons: readonly { readonly reason: string; readonly count: number }[],
  { width, glyphs }: Look,
): Line[] {
  const digits = String(reasons[0]?.count ?? 0).length;
  const rest = reasons.slice(SHOWN_REASONS).reduce((sum, { count }) => sum + count, 0);
  const others = rest === 0 ? [] : [{ reason: 'for other reasons', count: rest }];
  return [...reasons.slice(0, SHOWN_REASONS), ...others].flatMap(({ reason, count }) => {
    const head = `  ${String(count).padStart(digits)} `;
    return shortened(wrapped(reason, width - head.length), glyphs.ellipsis).map((text, at) =>
      line(span(at === 0 ? head : ' '.repeat(head.length), 'bold'), text),
    );
  });
}

function shortened(lines: readonly string[], ellipsis: string): readonly string[] {
  if (lines.length <= LINES_PER_REASON) return lines;
  return lines.slice(0, LINES_PER_REASON).map((text, at) => (at + 1 < LINES_PER_REASON ? text : text + ellipsis));
}

/** One line for a log: the running figures without the map. */
export function progressText(tally: Tally, totals: GpuTotals): string {
  const { arrived, running, finished, pending, withdrawn } = tally;
  const pods = `arrived ${arrived}, running ${running}, finished ${finished}, pending ${pending}, withdrawn ${withdrawn}`;
  const [first] = tally.causes();
  const why = first === undefined ? '' : `; ${first.count} pending because ${first.reason}`;
  return `${pods}; ${totals.allocationPercent.toFixed(1)} % of slices allocated, ${totals.overCapacity} GPUs over capacity${why}`;
}

export function summaryLines(summary: Summary, look: Look): Line[] {
  const { arrived, placed, refused, gpus, gpusInUse, gpusShared, gpusWoven, slices, gpusOverCapacity } = summary;
  const allocated = summary.onlineSlices + summary.batchSlices;
  const amiss =
    summary.allocationsAmiss === 0 ? '' : `; ${summary.allocationsAmiss} pods hold something else than they asked for`;
  return [
    line(span(`${placed} of ${arrived} pods placed, ${refused} refused`, 'bold')),
    ...reasonLines(
      Object.entries(summary.reasons).map(([reason, count]) => ({ reason, count })),
      look,
    ),
    line(
      span(`${summary.allocationPercent.toFixed(2)} % of GPU memory allocated`, 'bold'),
      ` (${allocated} of ${slices} slices: ${summary.onlineSlices} online, ${summary.batchSlices} batch)`,
    ),
    line(`${gpusInUse} of ${gpus} GPUs in use, ${gpusShared} shared by several pods, ${gpusWoven} by online and batch`),
    line(
      'GPUs over capacity: ',
      span(String(gpusOverCapacity), gpusOverCapacity === 0 ? 'good' : 'bad'),
      ` (counted from the pods at the API server)${amiss}`,
    ),
  ];
}

/** Where to look while the extender runs. */
export function viewLines(opsUrl: string, pod: PodIdentity | undefined): Line[] {
  const view = (label: string, path: string): Line => line(span(label.padEnd(9), 'dim'), opsUrl + path);
  return [
    ...(pod === undefined ? [] : [view('why not', `/explain?pod=${pod.namespace}/${pod.name}&format=text`)]),
    view('where', '/inspect'),
    view('figures', '/metrics'),
  ];
}

/** The way from the demo to a real cluster. */
export function nextSteps(): Line[] {
  const step = (command: string, why: string): Line => line(span(`  ${command}`, 'bold'), `  ${why}`);
  return [
    line('On a real cluster:'),
    step('node extender/main.ts --kubeconfig ~/.kube/config', 'the extender itself'),
    step('npm run extender -- --kubeconfig ~/.kube/config  ', 'the same'),
    step('deploy/scheduler/                                ', 'for kube-scheduler'),
  ];
}
