import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { parseOverrides, overrideFor } from '../../device-plugin/health/override.ts';
import type { GpuOverride } from '../../device-plugin/health/override.ts';
import {
  afterCleanProbe,
  afterFault,
  afterRelease,
  DEFAULT_HEALTH_POLICY,
  HEALTHY,
  verdictOf,
} from '../../device-plugin/health/state.ts';
import type { GpuHealthState, HealthPolicy } from '../../device-plugin/health/state.ts';
import { describeXid, ignoredXids } from '../../device-plugin/health/xids.ts';

const POLICY: HealthPolicy = {
  cleanProbes: 3,
  leastUnhealthyMillis: 60_000,
  quarantineFailures: 3,
  quarantineWindowMillis: 24 * 3_600_000,
  quarantineMillis: 24 * 3_600_000,
};
const PROBE_MILLIS = 5_000;

type Step = { readonly kind: 'fault' | 'probe'; readonly waitMillis: number };

const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom('fault', 'probe', 'probe', 'probe'),
    waitMillis: fc.integer({ min: 0, max: 40_000 }),
  }),
  { maxLength: 60 },
);

interface Run {
  readonly state: GpuHealthState;
  readonly nowMillis: number;
  readonly lastFaultMillis: number;
}

function play(history: readonly Step[], watch: (run: Run) => void = () => undefined): Run {
  let run: Run = { state: HEALTHY, nowMillis: 0, lastFaultMillis: Number.NEGATIVE_INFINITY };
  for (const { kind, waitMillis } of history) {
    const nowMillis = run.nowMillis + waitMillis;
    run =
      kind === 'fault'
        ? { state: afterFault(run.state, nowMillis, 'XID 79', POLICY), nowMillis, lastFaultMillis: nowMillis }
        : { ...run, state: afterCleanProbe(run.state, nowMillis, POLICY), nowMillis };
    watch(run);
  }
  return run;
}

const isHealthy = ({ state }: Run): boolean => verdictOf(state, undefined).health === 'healthy';

describe('the health of a GPU', () => {
  it('is never good within the least time after a fault', () => {
    fc.assert(
      fc.property(steps, (history) => {
        play(history, (run) => {
          if (run.nowMillis - run.lastFaultMillis < POLICY.leastUnhealthyMillis) expect(isHealthy(run)).toBe(false);
        });
      }),
      { seed: 11 },
    );
  });

  it('always comes back after enough clean probes, whatever happened before', () => {
    fc.assert(
      fc.property(steps, (history) => {
        let { state, nowMillis } = play(history);
        const endMillis = nowMillis + POLICY.quarantineMillis + POLICY.leastUnhealthyMillis;
        for (; nowMillis <= endMillis; nowMillis += 600_000) state = afterCleanProbe(state, nowMillis, POLICY);
        for (let probe = 0; probe < POLICY.cleanProbes; probe++)
          state = afterCleanProbe(state, endMillis + probe, POLICY);
        expect(verdictOf(state, undefined)).toEqual({ health: 'healthy', reason: '', overridden: false });
      }),
      { seed: 12 },
    );
  });

  it('is what the operator says, whatever happened', () => {
    fc.assert(
      fc.property(steps, fc.constantFrom<GpuOverride>('healthy', 'unhealthy'), (history, override) => {
        expect(verdictOf(play(history).state, override)).toMatchObject({ health: override, overridden: true });
      }),
      { seed: 13 },
    );
  });

  it('comes back after three clean probes and a minute, not sooner', () => {
    let state = afterFault(HEALTHY, 0, 'XID 79', POLICY);
    const healthyAt: number[] = [];
    for (let nowMillis = PROBE_MILLIS; nowMillis <= 70_000; nowMillis += PROBE_MILLIS) {
      state = afterCleanProbe(state, nowMillis, POLICY);
      if (state.ailment === undefined) healthyAt.push(nowMillis);
    }
    expect(healthyAt[0]).toBe(60_000);
  });

  it('starts counting clean probes anew at every fault', () => {
    let state = afterFault(HEALTHY, 0, 'XID 79', POLICY);
    state = afterCleanProbe(afterCleanProbe(state, 100_000, POLICY), 200_000, POLICY);
    state = afterFault(state, 200_001, 'lost', POLICY);
    state = afterCleanProbe(afterCleanProbe(state, 300_000, POLICY), 400_000, POLICY);
    expect(state.ailment).toMatchObject({ reason: 'lost', cleanProbes: 2 });
  });
});

describe('quarantine', () => {
  const failAt = (state: GpuHealthState, nowMillis: number): GpuHealthState => {
    const failed = afterFault(state, nowMillis, 'XID 79', POLICY);
    return [60_000, 65_000, 70_000].reduce((next, after) => afterCleanProbe(next, nowMillis + after, POLICY), failed);
  };

  it('holds a GPU that failed three times within a day, for a day, and says so', () => {
    const state = failAt(failAt(failAt(HEALTHY, 0), 100_000), 200_000);
    expect(verdictOf(state, undefined).reason).toBe('XID 79; in quarantine after 3 failures');
    expect(afterCleanProbe(state, 200_000 + POLICY.quarantineMillis - 1, POLICY).ailment).toBeDefined();
    expect(afterCleanProbe(state, 200_000 + POLICY.quarantineMillis, POLICY)).toEqual(HEALTHY);
  });

  it('does not count failures of days ago, nor repeated faults of one failure', () => {
    const day = POLICY.quarantineWindowMillis;
    expect(failAt(failAt(failAt(HEALTHY, 0), 100_000), day + 100_001).ailment).toBeUndefined();
    let state = HEALTHY;
    for (let at = 0; at < 10; at++) state = afterFault(state, at, 'lost', POLICY);
    expect(state.failures).toHaveLength(1);
  });

  it('ends when an operator clears it, once the GPU has proved itself again', () => {
    const state = afterRelease(failAt(failAt(failAt(HEALTHY, 0), 100_000), 200_000));
    expect(verdictOf(state, 'clear')).toMatchObject({ health: 'unhealthy', overridden: false });
    expect(afterCleanProbe(state, 300_000, POLICY).ailment).toBeUndefined();
    expect(afterRelease(HEALTHY)).toEqual(HEALTHY);
  });

  it('is on by default after three failures in a day', () => {
    expect(DEFAULT_HEALTH_POLICY).toMatchObject({
      quarantineFailures: 3,
      quarantineMillis: 86_400_000,
      cleanProbes: 3,
    });
  });
});

describe('XIDs', () => {
  it('of applications leave a GPU alone, all others do not', () => {
    const ignored = ignoredXids({ ignore: [], heed: [] });
    expect([13, 31, 43, 45, 68, 109].every((xid) => ignored.has(xid))).toBe(true);
    expect([48, 63, 74, 79, 94, 95, 119].some((xid) => ignored.has(xid))).toBe(false);
  });

  it('can be added to the ignored ones and taken from them; taking wins', () => {
    const ignored = ignoredXids({ ignore: [74, 94], heed: [43, 94] });
    expect([ignored.has(74), ignored.has(94), ignored.has(43)]).toEqual([true, false, false]);
  });

  it('are told with their meaning where it is known', () => {
    expect([describeXid(79), describeXid(999)]).toEqual(['XID 79 (GPU has fallen off the bus)', 'XID 999']);
  });
});

describe('the override annotation', () => {
  it.each([
    ['a list', 'GPU-a=unhealthy, GPU-b = healthy'],
    ['JSON', '{"GPU-a": "unhealthy", "GPU-b": "healthy"}'],
  ])('is read as %s', (_, text) => {
    expect(parseOverrides(text)).toEqual({
      kind: 'overrides',
      of: new Map([
        ['GPU-a', 'unhealthy'],
        ['GPU-b', 'healthy'],
      ]),
    });
  });

  it.each([undefined, '', ' ', '{}'])('overrides nothing when it is %j', (text) => {
    expect(parseOverrides(text)).toEqual({ kind: 'overrides', of: new Map() });
  });

  it.each([
    'GPU-a',
    'GPU-a=broken',
    '{"GPU-a": 1}',
    '{"GPU-a"',
    '=healthy',
    'GPU-a=healthy,GPU-a=unhealthy',
    'x'.repeat(9000),
  ])('is refused as a whole with advice when it is %j', (text) => {
    const parsed = parseOverrides(text);
    expect(parsed.kind === 'invalid' ? parsed.why : '').toMatch(/gpuloom.io\/gpu-override .*; write UUID=healthy/s);
  });

  it('speaks for every GPU with a star, and a name stands above the star', () => {
    const parsed = parseOverrides('*=unhealthy,GPU-a=clear');
    const of = parsed.kind === 'overrides' ? parsed.of : new Map<string, GpuOverride>();
    expect([overrideFor('GPU-a', of), overrideFor('GPU-z', of)]).toEqual(['clear', 'unhealthy']);
  });
});
