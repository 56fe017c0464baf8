// `tune`: searches the weights of the default policy's score on some seeds, says on held-out ones whether the gain
// holds, and prints what to put into the extender's configuration. Nothing in its output depends on time or on the
// number of workers.

import { availableParallelism } from 'node:os';

import { DEFAULT_ROOM_WEIGHTS, type RoomWeights } from '../../extender/core/room-weights.ts';
import { runTasks } from '../compare/pool.ts';
import type { CompareResult, CompareTask } from '../compare/task.ts';
import { objective, outcomeText, tuningOutcome, type TuningOutcome } from '../tune/outcome.ts';
import { planTuning, type TuningPlan } from '../tune/plan.ts';
import { searchWeights, type Judged } from '../tune/search.ts';
import { configSnippet } from '../tune/snippet.ts';
import { shownWeights } from '../tune/space.ts';
import type { TuneFlags } from './flags.ts';
import { writeOutput } from './output-file.ts';
import { ProgressLine, type Terminal } from './terminal.ts';

export async function tune(flags: TuneFlags, terminal: Terminal): Promise<number> {
  const plan = await planTuning(flags);
  const { traces, seeds, heldOut } = plan;
  const runner = new Runner(plan, flags, terminal);
  const byWeights = new Map<string, readonly CompareResult[]>();
  const { best, judged } = await searchWeights(DEFAULT_ROOM_WEIGHTS, flags.budget, async (batch) => {
    const results = await runner.run(batch, seeds);
    batch.forEach((weights, at) => byWeights.set(shownWeights(weights), results[at] ?? []));
    return results.map(objective);
  });
  const found = best.weights;
  const [usual = [], tuned = usual] = await runner.run(
    best === judged[0] ? [DEFAULT_ROOM_WEIGHTS] : [DEFAULT_ROOM_WEIGHTS, found],
    heldOut,
  );
  runner.end();
  const searchedOf = (weights: RoomWeights): readonly CompareResult[] => byWeights.get(shownWeights(weights)) ?? [];
  const outcome = tuningOutcome(
    found,
    { default: searchedOf(DEFAULT_ROOM_WEIGHTS), tuned: searchedOf(found) },
    { default: usual, tuned },
  );
  if (flags.json !== '-') {
    const head = `Searched ${judged.length} weights for the most allocation, in the mean of ${traces.join(', ')}.\n`;
    terminal.stdout.write(`${head}${outcomeText(outcome, plan)}${snippetText(outcome)}`);
  }
  if (flags.json !== undefined) writeOutput(flags.json, [documentOf(plan, judged, outcome)], terminal);
  return 0;
}

/** Runs weights over all traces and seeds on worker threads, and tells on stderr how far everything is. */
class Runner {
  readonly #plan: TuningPlan;
  readonly #workers: number;
  readonly #line: ProgressLine;
  /** At most: the search may end before its budget. */
  readonly #total: number;
  #done = 0;

  constructor(plan: TuningPlan, { workers, budget }: TuneFlags, terminal: Terminal) {
    this.#plan = plan;
    this.#workers = workers ?? availableParallelism();
    this.#line = new ProgressLine(terminal, 'runs');
    this.#total = (budget * plan.seeds.length + 2 * plan.heldOut.length) * plan.traces.length;
  }

  /** The results of each of the weights, in their order. */
  async run(batch: readonly RoomWeights[], seeds: readonly number[]): Promise<readonly (readonly CompareResult[])[]> {
    const runs = batch.map((weights) => this.#plan.runs(weights, seeds));
    // By trace, so that workers seldom read another one.
    const places = runs.flatMap((tasks, at) => tasks.map((task, run): Place => ({ task, at, run })));
    const { traces } = this.#plan;
    places.sort((a, b) => traces.indexOf(a.task.trace) - traces.indexOf(b.task.trace));
    const before = this.#done;
    const results = await runTasks(
      places.map(({ task }) => task),
      this.#workers,
      (done) => this.#line.tell(before + done, this.#total),
    );
    this.#done += places.length;
    const byBatch = runs.map((): CompareResult[] => []);
    results.forEach((result, index) => {
      const place = places[index];
      if (place !== undefined) (byBatch[place.at] ?? [])[place.run] = result;
    });
    return byBatch;
  }

  end(): void {
    this.#line.end();
  }
}

interface Place {
  readonly task: CompareTask;
  /** Which of the weights. */
  readonly at: number;
  /** Which of their runs. */
  readonly run: number;
}

function snippetText({ verdict, recommended }: TuningOutcome): string {
  const what =
    verdict === 'held' ? 'For gpuloom-extender --config FILE' : 'These are the defaults, which need not be written';
  return `\n# ${what}:\n${configSnippet(recommended)}`;
}

function documentOf(plan: TuningPlan, judged: readonly Judged[], outcome: TuningOutcome): string {
  const { driver, traces, seeds, heldOut } = plan;
  const document = {
    maximised: 'mean over traces and seeds of the allocated percent in the last percent of arrived load',
    driver,
    traces,
    seeds: { searched: seeds, heldOut },
    judged: judged.map(({ weights, value }) => ({ weights, allocationPercent: value })),
    default: DEFAULT_ROOM_WEIGHTS,
    ...outcome,
  };
  return `${JSON.stringify(document, undefined, 1)}\n`;
}
