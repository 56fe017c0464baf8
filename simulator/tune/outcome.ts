// What tuning came to: the default weights and the found ones side by side, on the seeds that were searched and on those
// held out, and whether the gain held. Only held-out seeds decide. Pure.

import { DEFAULT_ROOM_WEIGHTS, type RoomWeights } from '../../extender/core/room-weights.ts';
import type { CompareResult } from '../compare/task.ts';
import { meanCurve } from '../run/curve.ts';
import { shownStatistics, statistics, type MeanAndDeviation } from '../statistics.ts';
import { textTable } from '../text-table.ts';
import { shownWeights } from './space.ts';

/** Percent of all GPUs. Gains are of the same arrivals, seed by seed. */
export interface Compared {
  /** A trace, or `mean`: of all traces, seed by seed. */
  readonly trace: string;
  readonly default: MeanAndDeviation;
  readonly tuned: MeanAndDeviation;
  readonly gain: MeanAndDeviation;
}

export type Verdict =
  /** Nothing better than the default weights was found on the searched seeds. */
  | 'unchanged'
  /** On held-out seeds the found weights are not better than the default ones. */
  | 'lost'
  /** Better, but by less than two standard errors, or on a single held-out seed. */
  | 'doubtful'
  | 'held';

export interface Fallback {
  readonly arrivedPercent: number;
  /** How far the found weights are behind the default ones, in percent of all GPUs. */
  readonly behindPercent: number;
}

export interface TuningOutcome {
  readonly found: RoomWeights;
  readonly searched: readonly Compared[];
  readonly heldOut: readonly Compared[];
  /** On held-out seeds, along the way to the full load: where the found weights fall back most, if anywhere. */
  readonly furthestBehind: Fallback | undefined;
  readonly verdict: Verdict;
  readonly recommended: RoomWeights;
}

/** Results of the same traces and seeds in the same order. */
export interface Pair {
  readonly default: readonly CompareResult[];
  readonly tuned: readonly CompareResult[];
}

/** In percent: differences below this are no reason to speak. */
const WORTH_TELLING = 0.05;

export function tuningOutcome(found: RoomWeights, searched: Pair, heldOut: Pair): TuningOutcome {
  const compared = compare(heldOut);
  const verdict = shownWeights(found) === shownWeights(DEFAULT_ROOM_WEIGHTS) ? 'unchanged' : judge(compared, heldOut);
  return {
    found,
    searched: compare(searched),
    heldOut: compared,
    furthestBehind: furthestBehind(heldOut),
    verdict,
    recommended: verdict === 'held' ? found : DEFAULT_ROOM_WEIGHTS,
  };
}

/** What is maximised: the mean over traces of the mean over seeds. All traces have the same seeds. */
export function objective(results: readonly CompareResult[]): number {
  return statistics(results.map(allocation)).mean;
}

function allocation({ atLoad }: CompareResult): number {
  return atLoad.allocationPercent;
}

/** A row for each trace, and where there are several one for their mean. */
function compare(pair: Pair): readonly Compared[] {
  const traces = [...new Set(pair.default.map(({ trace }) => trace))];
  const rows = traces.map((name) => comparedRow(name, pair, ({ trace }) => trace === name));
  return traces.length < 2 ? rows : [...rows, comparedRow('mean', pair, () => true)];
}

function comparedRow(trace: string, pair: Pair, isMeant: (result: CompareResult) => boolean): Compared {
  const bySeed = (results: readonly CompareResult[]): readonly number[] =>
    [...Map.groupBy(results.filter(isMeant), ({ seed }) => seed).values()].map(objective);
  const usual = bySeed(pair.default);
  const tuned = bySeed(pair.tuned);
  return {
    trace,
    default: statistics(usual),
    tuned: statistics(tuned),
    gain: statistics(tuned.map((value, at) => value - (usual[at] ?? Number.NaN))),
  };
}

function judge(heldOut: readonly Compared[], pair: Pair): Verdict {
  const gain = heldOut.at(-1)?.gain ?? { mean: 0, deviation: 0 };
  // A sum of hundredths may end a little above 0.
  if (!(gain.mean > 1e-9)) return 'lost';
  const seeds = new Set(pair.default.map(({ seed }) => seed)).size;
  return seeds > 1 && gain.mean > (2 * gain.deviation) / Math.sqrt(seeds) ? 'held' : 'doubtful';
}

function furthestBehind(pair: Pair): Fallback | undefined {
  const usual = meanCurve(pair.default.map(({ curve }) => curve));
  const tuned = new Map(meanCurve(pair.tuned.map(({ curve }) => curve)).map((each) => [each.arrivedPercent, each]));
  return usual
    .map(({ arrivedPercent, allocationPercent }) => ({
      arrivedPercent,
      behindPercent: allocationPercent - (tuned.get(arrivedPercent)?.allocationPercent ?? allocationPercent),
    }))
    .filter(({ behindPercent }) => behindPercent >= WORTH_TELLING)
    .reduce<Fallback | undefined>(
      (most, each) => (most === undefined || each.behindPercent > most.behindPercent ? each : most),
      undefined,
    );
}

/** Which seeds were which, as the text shows them. */
export interface Seeds {
  readonly seeds: readonly number[];
  readonly heldOut: readonly number[];
}

/** The table and what follows from it, for people. */
export function outcomeText(outcome: TuningOutcome, { seeds, heldOut }: Seeds): string {
  const rowsOf = (what: string, rows: readonly Compared[]): string[][] =>
    rows.map((row) => [
      what,
      row.trace,
      shownStatistics(row.default),
      shownStatistics(row.tuned),
      shownStatistics(row.gain),
    ]);
  const rows = [
    ...rowsOf(`searched ${seeds.join(',')}`, outcome.searched),
    ...rowsOf(`held out ${heldOut.join(',')}`, outcome.heldOut),
  ];
  return [
    `default: ${shownWeights(DEFAULT_ROOM_WEIGHTS)}`,
    `tuned:   ${shownWeights(outcome.found)}`,
    '',
    textTable(['seeds', 'trace', 'default %', 'tuned %', 'gain'], rows, [0, 1]),
    'Allocated percent of all GPUs in the last percent of arrived load, mean ± deviation over seeds.',
    '',
    ...verdictLines(outcome, heldOut.length),
    '',
  ].join('\n');
}

function verdictLines({ verdict, heldOut, furthestBehind: fallback }: TuningOutcome, seeds: number): readonly string[] {
  const doubt = seeds === 1 ? 'rests on a single seed' : 'is within what seeds differ by';
  const gain = shownStatistics(heldOut.at(-1)?.gain);
  const lines: Readonly<Record<Verdict, string>> = {
    unchanged: 'The search found nothing better than the default weights: keep them.',
    lost: `The gain does not hold: ${gain} on held-out seeds. Keep the default weights.`,
    doubtful:
      `The gain on held-out seeds, ${gain}, ${doubt}. Keep the default weights, or name more seeds with --held-out ` +
      'to learn more.',
    held: `The gain holds on held-out seeds: ${gain}.`,
  };
  if (fallback === undefined || verdict !== 'held') return [lines[verdict]];
  const { arrivedPercent, behindPercent } = fallback;
  return [
    lines[verdict],
    `But at ${arrivedPercent} % arrived load the tuned weights allocate ${behindPercent.toFixed(2)} points less than the ` +
      'default ones: a cluster that is seldom overloaded loses by them.',
  ];
}
