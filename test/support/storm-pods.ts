// The pods of an admission storm: what they ask, what is wrong with some of them, and where the extender would put them.
// Everything about a pod follows from its number and the seed.

import type { StandPod } from './agent-stand.ts';
import { seeded } from './plugin-bench.ts';

export const STORM_GPUS = 4;
export const STORM_SLICES = 16;

/** What is done to a pod that no honest cluster does. */
export type Mischief =
  | 'none'
  /** It came past the extender. */
  | 'bypass'
  /** Its allocation names a GPU without room. */
  | 'overfull'
  /** Its allocation names a GPU of another node, or fewer GPUs than it asks for, or is no allocation. */
  | 'foreign'
  | 'short'
  | 'garbage'
  /** Its allocation is changed once it is admitted. */
  | 'tampered';

export interface StormPod {
  readonly random: () => number;
  readonly sketch: StandPod;
  readonly mischief: Mischief;
  readonly count: number;
  /** Slices that the whole pod holds on each of its GPUs. */
  readonly slicesPerGpu: number;
  readonly core: number;
}

const MISCHIEF: readonly (readonly [Mischief, number])[] = [
  ['bypass', 0.03],
  ['overfull', 0.03],
  ['foreign', 0.01],
  ['short', 0.01],
  ['garbage', 0.01],
  ['tampered', 0.03],
];

export function stormPod(seed: number, number: number, name: string): StormPod {
  const random = seeded(seed * 1_000_003 + number);
  // The first draws of neighbouring seeds are alike.
  for (let draw = 0; draw < 4; draw++) random();
  const count = pick(random, [1, 1, 1, 1, 2, 4]);
  const main = 1 + Math.floor(random() * 3);
  const init = random() < 0.25 ? 1 : 0;
  // Mostly equal sizes: those are the ones that can be taken for each other.
  const perGpu = Array.from({ length: init + main }, () => (random() < 0.8 ? 2 : 1 + Math.floor(random() * 3)));
  const sum = perGpu.slice(init).reduce((total, each) => total + each, 0);
  const core = random() < 0.2 ? pick(random, [10, 20]) : 0;
  const sketch = { name, uid: `${name}-${number}`, slices: perGpu.map((each) => each * count), init, count };
  return {
    random,
    sketch: core > 0 ? { ...sketch, core: core * count } : sketch,
    mischief: drawMischief(random()),
    count,
    slicesPerGpu: Math.max(sum, ...perGpu.slice(0, init)),
    core: core * main,
  };
}

function drawMischief(draw: number): Mischief {
  let left = draw;
  for (const [mischief, share] of MISCHIEF) {
    if (left < share) return mischief;
    left -= share;
  }
  return 'none';
}

function pick<T>(random: () => number, choices: readonly [T, ...T[]]): T {
  return choices[Math.floor(random() * choices.length)] ?? choices[0];
}

/** Slices and compute per GPU, and who holds them: the extender's ledger, or what containers really hold. */
export class GpuBooks {
  readonly #holders = new Map<
    string,
    { readonly gpus: readonly number[]; readonly slices: number; readonly core: number }
  >();

  /** The emptiest GPUs with room, or undefined. */
  choose({ count, slicesPerGpu, core, random }: StormPod): readonly number[] | undefined {
    const used = this.#used();
    const fits = used
      .map((each, gpu) => ({ ...each, gpu, rank: each.slices + random() }))
      .filter((gpu) => gpu.slices + slicesPerGpu <= STORM_SLICES && gpu.core + core <= 100)
      .sort((a, b) => a.rank - b.rank);
    return fits.length < count ? undefined : fits.slice(0, count).map(({ gpu }) => gpu);
  }

  /** The fullest GPUs. */
  fullest(count: number): readonly number[] {
    const ranked = this.#used().map(({ slices }, gpu) => ({ slices, gpu }));
    return ranked
      .sort((a, b) => b.slices - a.slices)
      .slice(0, count)
      .map(({ gpu }) => gpu);
  }

  hold(uid: string, gpus: readonly number[], { slicesPerGpu: slices, core }: StormPod): void {
    this.#holders.set(uid, { gpus, slices, core });
  }

  release(uid: string): void {
    this.#holders.delete(uid);
  }

  /** The GPUs above their capacity. */
  overfull(): readonly string[] {
    return this.#used().flatMap(({ slices, core }, gpu) =>
      slices > STORM_SLICES || core > 100 ? [`GPU ${gpu} holds ${slices} slices and ${core} percent`] : [],
    );
  }

  #used(): { slices: number; core: number }[] {
    const used = Array.from({ length: STORM_GPUS }, () => ({ slices: 0, core: 0 }));
    for (const { gpus, slices, core } of this.#holders.values()) {
      for (const gpu of gpus) {
        const at = used[gpu];
        if (at === undefined) continue;
        at.slices += slices;
        at.core += core;
      }
    }
    return used;
  }
}
