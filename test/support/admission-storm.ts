// Thousands of pods through a whole agent on the fake kubelet, with everything going on at once that a node can do to a
// binding: equal pods admitted in other orders than they were bound, pods that vanish between admission and start, names
// used again, restarts of containers, agent and kubelet, a watch that stands still, a lost checkpoint, allocations that are
// missing, forged, garbled or changed. What is counted is what must never happen, and why containers were turned away.

import { AgentStand, MEMORY } from './agent-stand.ts';
import type { FakeKubelet, FakeKubeletSettings, FakePod } from './fake-kubelet.ts';
import { ProcessStand } from './process-stand.ts';
import { seeded } from './plugin-bench.ts';
import { classOf } from './storm-reasons.ts';
import { GpuBooks, STORM_GPUS, STORM_SLICES, stormPod, type StormPod } from './storm-pods.ts';

/** A node with an agent on it, as a storm needs it. */
export interface StormNode extends Pick<
  AgentStand,
  'bind' | 'forge' | 'allocation' | 'environmentOf' | 'deletePod' | 'completePod' | 'holdWatch'
> {
  /** Where agents do not notice a new kubelet by themselves. */
  kubeletIsBack(): Promise<void>;
  readonly kubelet: FakeKubelet;
  startAgent(): Promise<void>;
  stopAgent(): Promise<void>;
  stop(): Promise<void>;
  /** What a kubelet waits between attempts. */
  pause(millis: number): Promise<void>;
}

export interface StormPlan {
  /** `sockets`: the whole agent with real gRPC and HTTP. `process`: its binding alone, a hundred times as fast. */
  readonly over: 'sockets' | 'process';
  readonly binding: 'cdi' | 'env';
  readonly generation: FakeKubeletSettings['generation'];
  readonly seed: number;
  /** Pods handed to the kubelet. */
  readonly admissions: number;
  /** Admissions between two disturbances of the whole node. */
  readonly disturbEvery: number;
  readonly progress?: (admissions: number) => void;
}

export interface StormResult {
  admissions: number;
  admitted: number;
  starts: number;
  restarts: number;
  vanished: number;
  readonly disturbances: Map<string, number>;
  /** Containers with other GPUs or amounts than their own. Must stay empty. */
  readonly wrong: string[];
  /** GPUs above their capacity. Must stay empty. */
  readonly overfull: string[];
  /** Admissions and starts refused, by reason. */
  readonly rejected: Map<string, number>;
  readonly refused: Map<string, number>;
  /** Honest pods that never started although nothing happened to them. */
  readonly stranded: Map<string, number>;
}

const WORKERS = 10;
const START_ATTEMPTS = 6;
const SLICES = STORM_GPUS * STORM_SLICES;

export async function runStorm(plan: StormPlan): Promise<StormResult> {
  const memories = Array.from({ length: STORM_GPUS }, () => STORM_SLICES * 1024);
  const { binding, generation } = plan;
  const stand: StormNode =
    plan.over === 'process'
      ? await ProcessStand.start({ memories, random: seeded(plan.seed), binding, generation })
      : await AgentStand.start(memories, seeded(plan.seed), { binding }, generation);
  const storm = new Storm(plan, stand);
  try {
    await storm.registered();
    await Promise.all(Array.from({ length: WORKERS }, (_, worker) => storm.work(worker)));
    return storm.result;
  } finally {
    await stand.stop();
  }
}

class Storm {
  readonly result: StormResult = {
    admissions: 0,
    admitted: 0,
    starts: 0,
    restarts: 0,
    vanished: 0,
    disturbances: new Map(),
    wrong: [],
    overfull: [],
    rejected: new Map(),
    refused: new Map(),
    stranded: new Map(),
  };
  readonly #plan: StormPlan;
  readonly #stand: StormNode;
  readonly #random: () => number;
  /** What the extender has bound, and what started containers hold. */
  readonly #bound = new GpuBooks();
  readonly #held = new GpuBooks();
  #next = 0;
  #calm: Promise<void> = Promise.resolve();
  #disturbances = 0;

  constructor(plan: StormPlan, stand: StormNode) {
    this.#plan = plan;
    this.#stand = stand;
    this.#random = seeded(plan.seed + 77);
  }

  registered(): Promise<void> {
    const { kubelet } = this.#stand;
    return kubelet.waitFor(() => kubelet.allocatable(MEMORY) === SLICES, 'the plugin to register');
  }

  /** One pod after another until the storm is over. */
  async work(worker: number): Promise<void> {
    while (this.#next < this.#plan.admissions) {
      const number = this.#next++;
      await this.#maybeDisturb(number);
      await this.#calm;
      // Every second worker uses its name again and again, as a StatefulSet does.
      this.#stand.kubelet.calls.length = 0;
      const name = worker % 2 === 0 ? `web-${worker}` : `p-${number}`;
      await this.#live(stormPod(this.#plan.seed, number, name));
      if (number % 1000 === 999) this.#plan.progress?.(number + 1);
    }
  }

  async #live(pod: StormPod): Promise<void> {
    const gpus = await this.#place(pod);
    const bound = this.#stand.bind({ ...pod.sketch, ...this.#allocationOf(pod, gpus) });
    const life = new PodLife(pod, bound, gpus);
    try {
      await turns(pod.random() * 30);
      this.result.admissions++;
      const admission = await this.#stand.kubelet.admit(bound);
      if (admission.kind === 'rejected') {
        count(this.result.rejected, classOf(admission.message));
        this.#strand(life, classOf(admission.message));
        return;
      }
      this.result.admitted++;
      await this.#run(life);
    } finally {
      await this.#end(life);
    }
  }

  async #run(life: PodLife): Promise<void> {
    const { pod, bound } = life;
    if (pod.mischief === 'tampered') this.#stand.forge(bound, this.#stand.allocation(this.#bound.fullest(pod.count)));
    if (pod.random() < 0.05) {
      this.result.vanished++;
      await this.#vanish(life);
    }
    const containers = [...(bound.initContainers ?? []), ...bound.containers].map(({ name }) => name);
    for (const container of containers) if (!(await this.#start(life, container))) return;
    while (pod.random() < 0.15 && !life.isGone) {
      this.result.restarts++;
      if (pod.mischief === 'tampered') this.#stand.forge(bound, this.#stand.allocation(this.#bound.fullest(pod.count)));
      await this.#start(life, containers.at(-1) ?? '');
    }
    await turns(pod.random() * 60);
  }

  /** Tries as a kubelet does, again and again, though not for ever. */
  async #start(life: PodLife, container: string): Promise<boolean> {
    let why = '';
    for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
      if (attempt > 0) await this.#stand.pause(4 * 2 ** attempt);
      if (this.#isUnasked(life)) await this.registered();
      const refusal = await this.#tryStart(life, container);
      if (refusal === undefined) return true;
      why = classOf(refusal);
      count(this.result.refused, why);
      // Nothing will make these right.
      if (attempt > 0 && ['bypass', 'foreign', 'short', 'garbage'].includes(life.pod.mischief)) return false;
      if (life.isGone || this.#stand.kubelet.isRejected(life.bound.uid)) return false;
    }
    this.#strand(life, why);
    return false;
  }

  async #tryStart(life: PodLife, container: string): Promise<string | undefined> {
    const { kubelet } = this.#stand;
    const { uid } = life.bound;
    try {
      await kubelet.startContainer(uid, container);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    const environment = this.#stand.environmentOf(life.bound, container);
    if (environment === undefined) return 'the runtime finds no such CDI device';
    this.result.starts++;
    const contradiction = life.contradictionOf(container, environment);
    if (contradiction !== undefined) this.result.wrong.push(contradiction);
    if (!life.isGone) this.#held.hold(uid, life.seen, life.pod);
    this.result.overfull.push(...this.#held.overfull());
    return undefined;
  }

  /** An old kubelet without a plugin starts containers unasked; what `env` answered would then go unverified. */
  #isUnasked({ bound }: PodLife): boolean {
    const { binding, generation } = this.#plan;
    const { kubelet } = this.#stand;
    return (
      binding === 'env' && generation === 'old' && !kubelet.isRejected(bound.uid) && kubelet.allocatable(MEMORY) === 0
    );
  }

  async #place(pod: StormPod): Promise<readonly number[]> {
    if (pod.mischief === 'overfull') return this.#bound.fullest(pod.count);
    for (;;) {
      const gpus = this.#bound.choose(pod);
      if (gpus !== undefined) {
        this.#bound.hold(pod.sketch.uid ?? '', gpus, pod);
        return gpus;
      }
      await turns(5);
    }
  }

  #allocationOf(
    { mischief, count: wanted }: StormPod,
    gpus: readonly number[],
  ): { gpus?: readonly number[]; annotation?: string } {
    if (mischief === 'bypass') return {};
    if (mischief === 'foreign') return { gpus: gpus.map((gpu) => gpu + STORM_GPUS) };
    if (mischief === 'short') return { gpus: wanted === 1 ? [0, 1] : gpus.slice(1) };
    if (mischief === 'garbage') return { annotation: '{"v":1,"containers":[{"gpus":' };
    return { gpus };
  }

  /** Gone from the API server and from the kubelet, in either order, while the container may still be started. */
  async #vanish(life: PodLife): Promise<void> {
    const { uid, name } = life.bound;
    const steps = [() => this.#stand.deletePod(name), () => this.#stand.kubelet.remove(uid)];
    this.#release(life);
    for (const step of life.pod.random() < 0.5 ? steps : steps.reverse()) {
      step();
      await turns(life.pod.random() * 5);
    }
    this.#bound.release(uid);
  }

  async #end(life: PodLife): Promise<void> {
    if (life.isGone) return;
    if (life.pod.random() < 0.3) {
      this.#release(life);
      this.#stand.completePod(life.bound.name);
      await turns(life.pod.random() * 10);
    }
    await this.#vanish(life);
  }

  #release(life: PodLife): void {
    life.isGone = true;
    this.#held.release(life.bound.uid);
  }

  #strand({ pod, isGone }: PodLife, why: string): void {
    if (pod.mischief === 'none' && !isGone) count(this.result.stranded, why);
  }

  async #maybeDisturb(number: number): Promise<void> {
    const due = Math.floor(number / this.#plan.disturbEvery);
    if (due <= this.#disturbances) return;
    this.#disturbances = due;
    await this.#calm;
    this.#calm = this.#disturb();
  }

  async #disturb(): Promise<void> {
    const { kubelet } = this.#stand;
    const kinds: Readonly<Record<string, () => Promise<void>>> = {
      'agent restarted': async () => {
        await this.#stand.stopAgent();
        await this.#stand.startAgent();
      },
      'kubelet restarted': async () => {
        await kubelet.restart();
        await this.#stand.kubeletIsBack();
      },
      'both restarted': async () => {
        await Promise.all([this.#stand.stopAgent(), kubelet.restart()]);
        await this.#stand.startAgent();
      },
      'checkpoint lost': async () => {
        kubelet.loseCheckpoint();
        await turns(1);
      },
      'watch stalled': async () => {
        const release = this.#stand.holdWatch();
        const until = this.result.admissions + 8;
        void (async () => {
          while (this.result.admissions < until && this.#next < this.#plan.admissions) await turns(20);
          release();
        })();
        await turns(1);
      },
    };
    const names = Object.keys(kinds);
    const name = names[Math.floor(this.#random() * names.length)] ?? '';
    count(this.result.disturbances, name);
    await turns(this.#random() * 200);
    await kinds[name]?.();
    await this.registered();
  }
}

/** One pod of the storm and what its containers have seen so far. */
class PodLife {
  readonly pod: StormPod;
  readonly bound: FakePod;
  readonly #gpus: readonly number[];
  isGone = false;
  /** GPUs that its containers were given; the same for all, for ever. */
  seen: readonly number[] = [];

  constructor(pod: StormPod, bound: FakePod, gpus: readonly number[]) {
    this.pod = pod;
    this.bound = bound;
    this.#gpus = gpus;
  }

  /** How what a started container got differs from what it should have got. */
  contradictionOf(container: string, environment: Readonly<Record<string, string>>): string | undefined {
    const { pod, bound } = this;
    const given = (environment['NVIDIA_VISIBLE_DEVICES'] ?? '')
      .split(',')
      .map((uuid) => Number(uuid.replace('GPU-', '')));
    const who = `${bound.uid} (${pod.mischief}) container ${container} got ${given.join()}`;
    const isAgain = this.seen.length === 0 || given.join() === this.seen.join();
    this.seen = given;
    if (!isAgain) return `${who}, and another GPU before`;
    if (pod.mischief !== 'none' && pod.mischief !== 'overfull' && pod.mischief !== 'tampered')
      return `${who} without a right to any`;
    const own = this.#gpus.toSorted((a, b) => a - b);
    if (pod.mischief !== 'tampered' && given.join() !== own.join()) return `${who} instead of ${own.join()}`;
    const at = Number(container.slice(1));
    const slices = String((pod.sketch.slices[at] ?? 0) / pod.count);
    if (environment['GPULOOM_GPU_MEM_SLICES'] !== slices)
      return `${who} with ${environment['GPULOOM_GPU_MEM_SLICES'] ?? 'no'} slices instead of ${slices}`;
    const core = pod.sketch.core === undefined ? undefined : String(pod.sketch.core / pod.count);
    return environment['GPULOOM_GPU_CORE_PERCENT'] === core ? undefined : `${who} with another share of compute`;
  }
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}

/** Lets the rest of the node go on for a number of turns of the event loop. */
async function turns(number: number): Promise<void> {
  for (let turn = 0; turn < number; turn++) await new Promise(setImmediate);
}
