// Whatever goes on at a node, no container starts with GPUs or amounts that are not its own, and no GPU is filled beyond
// its capacity. `npm run bench -- agent` runs 100,000 admissions of the same kind.

import { describe, expect, it } from 'vitest';
import { runStorm, type StormPlan } from '../support/admission-storm.ts';

const KINDS = [
  ['cdi', 'old'],
  ['cdi', 'new'],
  ['env', 'old'],
  ['env', 'new'],
] as const;

async function expectNothingWrong(plan: StormPlan): Promise<void> {
  const { wrong, overfull, ...counts } = await runStorm(plan);
  expect({ wrong, overfull }).toEqual({ wrong: [], overfull: [] });
  expect(counts.admissions).toBe(plan.admissions);
  expect(counts.starts).toBeGreaterThan(plan.admissions / 4);
  const reasons = [...counts.rejected.keys(), ...counts.refused.keys(), ...counts.stranded.keys()];
  expect(reasons.filter((reason) => reason.startsWith('other'))).toEqual([]);
}

describe('a storm of admissions', () => {
  it.each(KINDS)(
    'starts nothing wrong by %s with a kubelet of the %s generation, 3,000 times in process',
    async (binding, generation) => {
      await expectNothingWrong({ over: 'process', binding, generation, seed: 11, admissions: 3000, disturbEvery: 100 });
    },
  );

  it.each(KINDS)(
    'starts nothing wrong by %s with a kubelet of the %s generation over sockets',
    async (binding, generation) => {
      await expectNothingWrong({ over: 'sockets', binding, generation, seed: 12, admissions: 120, disturbEvery: 40 });
    },
  );

  it.each(['cdi', 'env'] as const)('is the same for the same seed, by %s', async (binding) => {
    const plan = { over: 'process', binding, generation: 'new', seed: 13, admissions: 400, disturbEvery: 100 } as const;
    expect(await runStorm(plan)).toEqual(await runStorm(plan));
  });
});
