// `run`: one workload, one policy; a summary for people and the result as files.

import { driverOf } from './driver-flags.ts';
import type { RunFlags } from './flags.ts';
import type { CurvePoint } from '../run/curve.ts';
import { runInOrder, type Outcome } from '../run/in-order.ts';
import { writeOutput } from './output-file.ts';
import { ProgressLine, type Terminal } from './terminal.ts';
import { chosenWeights } from './weight-flags.ts';
import { workloadOf } from './workload-source.ts';

export async function run(flags: RunFlags, terminal: Terminal): Promise<number> {
  const driver = driverOf(flags, [flags.policy]);
  const { weights } = chosenWeights(flags, [flags.policy]);
  const workload = await workloadOf(flags);
  const line = new ProgressLine(terminal, 'arrivals');
  const tell = (done: number, total: number): void => line.tell(done, total);
  const { outcome, placements } = runInOrder(workload, flags.policy, driver, tell, weights);
  line.end();
  if (flags.placements !== undefined) {
    const names = Array.from(workload.order.nodes, (node) => workload.nodes[node]?.name ?? '');
    writeOutput(flags.placements, placements.pieces(names), terminal);
  }
  if (flags.csv !== undefined) writeOutput(flags.csv, [curveCsv(outcome.curve)], terminal);
  const isQuiet = [flags.placements, flags.csv, flags.json].includes('-');
  if (!isQuiet) terminal.stdout.write(summary(outcome));
  if (flags.json !== undefined)
    writeOutput(flags.json, [`${JSON.stringify(withCost(outcome), undefined, 1)}\n`], terminal);
  return 0;
}

/** The result with what it cost, from the start of the process until now. */
function withCost({ curve, occupancy, ...outcome }: Outcome): object {
  return {
    ...outcome,
    wallMillis: Math.round(performance.now()),
    peakRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
    curve,
    occupancy,
  };
}

function curveCsv(curve: readonly CurvePoint[]): string {
  const head = 'arrivedPercent,allocationPercent,fragmentationPercent,fragmentationRatioPercent';
  const lines = curve.map((point) =>
    [point.arrivedPercent, point.allocationPercent, point.fragmentationPercent, point.fragmentationRatioPercent].join(
      ',',
    ),
  );
  return `${[head, ...lines].join('\n')}\n`;
}

function summary(outcome: Outcome): string {
  const { policy, trace, seed, nodes, gpus, pods, refused } = outcome;
  const gpusOf = (milli: number): string => (milli / 1000).toFixed(2);
  return [
    `${policy} on ${trace}, seed ${seed}: ${pods} arrivals on ${nodes} nodes with ${gpus} GPUs`,
    `allocated   ${outcome.allocationPercent.toFixed(2)} % (${gpusOf(outcome.allocatedMilli)} GPUs)`,
    `fragmented  ${outcome.fragmentationPercent.toFixed(2)} % (${gpusOf(outcome.fragmentationMilli)} GPUs)`,
    `refused     ${refused} pods`,
    '',
  ].join('\n');
}
