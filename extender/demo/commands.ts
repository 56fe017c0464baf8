// The two things `npm start` does, from flags to the last line: fill the cluster once, or run until told to stop.
// They write to the given outputs and return the exit code; they end no process and install no signal handler.

import { createLogger, type Logger } from '../logging.ts';
import { dashboard } from './dashboard.ts';
import type { DemoFlags } from './flags.ts';
import { gpuMap } from './gpu-map.ts';
import {
  headline,
  latencyLine,
  memoryLine,
  nextSteps,
  podCounts,
  progressText,
  summaryLines,
  viewLines,
} from './report.ts';
import { runLive, type LiveRun } from './run-live.ts';
import { runOnce } from './run-once.ts';
import { isRedrawable, lookOf, Screen, writeLines, type Environment, type Output } from './screen.ts';
import type { Session } from './session.ts';
import { setStage, type Stage } from './stage.ts';
import { line } from './styled-text.ts';
import { gpuTotals, summarizeRun } from './summary.ts';

export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Environment;
}

const EXIT_OVER_CAPACITY = 1;
const MOST_MAP_LINES = 40;
const PROGRESS_AFTER_MILLIS = 1000;
const PROGRESS_EVERY_MILLIS = 2000;
const PROGRESS_REDRAW_MILLIS = 100;
const FRAME_MILLIS = 250;

export async function fillOnce(flags: DemoFlags, { stdout, stderr, env }: Io, signal: AbortSignal): Promise<number> {
  const log = createLogger({ level: 'warn', component: 'extender', destination: 'stderr' });
  const stage = await setStage(flags, log);
  try {
    return await fill(stage, flags, { stdout, stderr, env }, signal);
  } finally {
    await stage.close();
  }
}

async function fill(stage: Stage, flags: DemoFlags, { stdout, stderr, env }: Io, signal: AbortSignal): Promise<number> {
  const { setting, server, extender, workload } = stage;
  // With --json, stdout is for the object alone.
  const prose = flags.json ? stderr : stdout;
  const look = lookOf(prose, env);
  const pods = flags.pods ?? stage.defaultPods;
  writeLines(prose, [headline(setting)], look);
  const progress = new Progress(stderr, env, pods);
  const session = await runOnce({
    server,
    extender,
    workload,
    pods,
    seed: flags.seed,
    signal,
    onProgress: ({ tally }) => progress.show(tally.arrived, tally.placed),
  }).finally(() => progress.end());
  const occupancy = session.occupancy();
  const { workload: title, policy, seed } = setting;
  const isPartial = signal.aborted && session.tally.arrived < pods;
  const summary = summarizeRun(session.tally, occupancy, { workload: title, seed, policy, interrupted: isPartial });
  writeLines(prose, [[], ...gpuMap(occupancy, look, MOST_MAP_LINES), [], ...summaryLines(summary, look)], look);
  writeLines(prose, [latencyLine(session.latencies), []], look);
  writeLines(prose, nextSteps(), look);
  if (flags.json) stdout.write(`${JSON.stringify(summary, null, 2)}\n`);
  await session.close();
  return summary.gpusOverCapacity + summary.allocationsAmiss > 0 ? EXIT_OVER_CAPACITY : 0;
}

/** A line on a terminal that is overwritten, or a line every two seconds; nothing for what is over at once. */
class Progress {
  readonly #output: Output;
  readonly #isLive: boolean;
  readonly #all: number;
  readonly #start = performance.now();
  #shownMillis = 0;

  constructor(output: Output, env: Environment, all: number) {
    this.#output = output;
    this.#isLive = isRedrawable(output, env);
    this.#all = all;
  }

  show(arrived: number, placed: number): void {
    const now = performance.now();
    const gap = this.#isLive ? PROGRESS_REDRAW_MILLIS : PROGRESS_EVERY_MILLIS;
    if (now - this.#start < PROGRESS_AFTER_MILLIS || now - this.#shownMillis < gap) return;
    this.#shownMillis = now;
    const text = `${arrived} of ${this.#all} pods have arrived, ${placed} placed`;
    this.#output.write(this.#isLive ? `\r${text}\u001b[K` : `${text}\n`);
  }

  end(): void {
    if (this.#isLive && this.#shownMillis > 0) this.#output.write('\r\u001b[K');
  }
}

export async function runUntilStopped(flags: DemoFlags, io: Io, signal: AbortSignal): Promise<number> {
  const { stdout, env } = io;
  const isScreen = isRedrawable(stdout, env);
  const tail = new LogTail();
  const log: Logger = createLogger({
    level: 'warn',
    component: 'extender',
    destination: isScreen ? tail : 'stderr',
  });
  const stage = await setStage(flags, log);
  try {
    return await keepRunning(stage, flags, io, isScreen ? tail : undefined, signal);
  } finally {
    await stage.close();
  }
}

async function keepRunning(
  stage: Stage,
  flags: DemoFlags,
  { stdout, env }: Io,
  tail: LogTail | undefined,
  signal: AbortSignal,
): Promise<number> {
  const { nodes, workload, server, extender } = stage;
  const run = runLive({ server, extender, workload, nodes, seed: flags.seed, pods: flags.pods, signal });
  const look = lookOf(stdout, env);
  if (tail !== undefined) await showScreen(new Screen(stdout, env), stage, run, tail);
  else await showLines(stdout, stage, run, look);
  const occupancy = run.session.occupancy();
  const totals = gpuTotals(occupancy);
  const log = (tail?.lines ?? []).map((text) => line(text));
  const last = [podCounts(run.session.tally), memoryLine(totals, look), ...log, []];
  writeLines(stdout, [...last, ...nextSteps()], look);
  await run.session.close();
  return totals.overCapacity + occupancy.allocationsAmiss.length > 0 ? EXIT_OVER_CAPACITY : 0;
}

async function showScreen(screen: Screen, stage: Stage, run: LiveRun, tail: LogTail): Promise<void> {
  const start = performance.now();
  const draw = (): void => {
    const view = {
      setting: stage.setting,
      session: run.session,
      extender: stage.extender,
      elapsedMillis: performance.now() - start,
      millisPerMinute: run.pace.millisPerMinute,
      trouble: tail.lines.at(-1) ?? '',
    };
    screen.draw(dashboard(view, screen.look, screen.rows));
  };
  const timer = setInterval(draw, FRAME_MILLIS);
  try {
    draw();
    await run.ended;
  } finally {
    clearInterval(timer);
    screen.close();
  }
}

async function showLines(
  stdout: Output,
  stage: Stage,
  run: LiveRun,
  look: Parameters<typeof writeLines>[2],
): Promise<void> {
  writeLines(stdout, [headline(stage.setting), ...viewLines(stage.extender.opsUrl, undefined)], look);
  const say = (session: Session): void => {
    stdout.write(`${progressText(session.tally, gpuTotals(session.occupancy()))}\n`);
  };
  const timer = setInterval(say, PROGRESS_EVERY_MILLIS, run.session);
  try {
    await run.ended;
  } finally {
    clearInterval(timer);
  }
}

/** The latest lines of the extender's log while the screen is in use. */
class LogTail {
  readonly #lines: string[] = [];

  get lines(): readonly string[] {
    return this.#lines;
  }

  write(text: string): void {
    this.#lines.push(text.trimEnd());
    if (this.#lines.length > 5) this.#lines.shift();
  }
}
