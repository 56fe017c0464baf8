import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { decodeHealth, encodeHealth } from '../../device-plugin/health/memory.ts';
import { afterCleanProbe, afterFault, DEFAULT_HEALTH_POLICY, HEALTHY } from '../../device-plugin/health/state.ts';
import type { GpuHealthState } from '../../device-plugin/health/state.ts';

const POLICY = DEFAULT_HEALTH_POLICY;
const WRITTEN = { monotonicMillis: 500_000, wallMillis: 1_900_000_000_000 };
/** Another process: its monotonic clock has just begun. */
const restarted = (afterMillis: number): { monotonicMillis: number; wallMillis: number } => ({
  monotonicMillis: 10,
  wallMillis: WRITTEN.wallMillis + afterMillis,
});

function recalled(state: GpuHealthState, afterMillis: number): GpuHealthState | undefined {
  const memory = decodeHealth(encodeHealth(new Map([['GPU-a', state]]), WRITTEN), restarted(afterMillis));
  return memory.kind === 'states' ? memory.states.get('GPU-a') : undefined;
}

function failing(times: readonly number[]): GpuHealthState {
  return times.reduce(
    (state, atMillis) => ({ ...afterFault({ ...state, ailment: undefined }, atMillis, 'XID 79', POLICY) }),
    HEALTHY,
  );
}

describe('the memory of health', () => {
  it('keeps a fault and its age over a restart, and asks for clean probes anew', () => {
    const state = afterCleanProbe(afterFault(HEALTHY, 490_000, 'XID 79', POLICY), 495_000, POLICY);
    expect(recalled(state, 5_000)).toEqual({
      ailment: { reason: 'XID 79', lastFaultMillis: 10 - 15_000, cleanProbes: 0, quarantinedUntilMillis: undefined },
      failures: [10 - 15_000],
    });
  });

  it('keeps a quarantine to its end, however long the agent was away', () => {
    const state = failing([100_000, 200_000, 300_000]);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 * POLICY.quarantineMillis }), (afterMillis) => {
        const untilMillis = recalled(state, afterMillis)?.ailment?.quarantinedUntilMillis ?? -1;
        const leftMillis = 300_000 + POLICY.quarantineMillis - WRITTEN.monotonicMillis;
        expect(untilMillis).toBe(10 + Math.max(0, leftMillis - afterMillis));
      }),
      { seed: 19 },
    );
  });

  it('neither prolongs nor shortens anything when the wall clock was set back', () => {
    expect(recalled(failing([100_000, 200_000, 300_000]), -3_600_000)?.ailment?.lastFaultMillis).toBe(10 - 200_000);
  });

  it('leaves out GPUs that nothing stands against', () => {
    expect(JSON.parse(encodeHealth(new Map([['GPU-a', HEALTHY]]), WRITTEN))).toMatchObject({ gpus: {} });
  });

  it.each(['', '{}', '[]', 'null', '{"v":2,"writtenMillis":1,"gpus":{}}', '{"v":1,"gpus":{}}', ' '.repeat(70_000)])(
    'is left out with a reason when it is %j',
    (text) => {
      const memory = decodeHealth(text, restarted(0));
      expect(memory.kind === 'invalid' ? memory.why : '').toMatch(/left out/);
    },
  );

  it.each<[string, unknown]>([
    ['no record of the GPU', null],
    ['no list of failures', {}],
    ['a failure that is no age', { failureAgesMillis: ['a day'] }],
    ['an ailment that is none', { failureAgesMillis: [], ailment: 'XID 79' }],
    ['an ailment without its age', { failureAgesMillis: [], ailment: { reason: 'XID 79' } }],
    [
      'a quarantine without an end',
      { failureAgesMillis: [], ailment: { reason: 'x', faultAgeMillis: 1, quarantineLeftMillis: 'long' } },
    ],
  ])('is never taken for health when it has %s', (_, gpu) => {
    const text = JSON.stringify({ v: 1, writtenMillis: 1, gpus: { 'GPU-a': gpu, 'GPU-b': { failureAgesMillis: [] } } });
    expect(decodeHealth(text, restarted(0)).kind).toBe('invalid');
  });

  it('reads whatever JSON stands in it without harm', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (gpus) => {
        const memory = decodeHealth(JSON.stringify({ v: 1, writtenMillis: 1, gpus }), restarted(0));
        if (memory.kind === 'invalid') expect(memory.why).not.toBe('');
        else for (const { failures } of memory.states.values()) expect(failures.every(Number.isFinite)).toBe(true);
      }),
      { seed: 20 },
    );
  });
});
