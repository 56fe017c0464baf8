// When a GPU is healthy: a state machine per GPU over faults and probes, with hysteresis and quarantine. Pure.
// A fault makes a GPU unhealthy at once; only a run of clean probes over a least time makes it healthy again, and a GPU
// that keeps failing stays out for long. Times are monotonic milliseconds that the caller brings.

import type { GpuHealth } from '../../extender/core/model.ts';
import type { GpuOverride } from './override.ts';

export interface HealthPolicy {
  /** Clean probes in a row before a GPU is healthy again. */
  readonly cleanProbes: number;
  /** Least time between the last fault and healthy. */
  readonly leastUnhealthyMillis: number;
  /** So many failures within the window put a GPU into quarantine. */
  readonly quarantineFailures: number;
  readonly quarantineWindowMillis: number;
  readonly quarantineMillis: number;
}

const DAY_MILLIS = 24 * 60 * 60 * 1000;

export const DEFAULT_HEALTH_POLICY: HealthPolicy = {
  cleanProbes: 3,
  leastUnhealthyMillis: 60_000,
  quarantineFailures: 3,
  quarantineWindowMillis: DAY_MILLIS,
  quarantineMillis: DAY_MILLIS,
};

/** What is wrong with a GPU, and since when. */
export interface Ailment {
  readonly reason: string;
  readonly lastFaultMillis: number;
  readonly cleanProbes: number;
  /** `undefined` outside quarantine. */
  readonly quarantinedUntilMillis: number | undefined;
}

export interface GpuHealthState {
  /** `undefined` while healthy. */
  readonly ailment: Ailment | undefined;
  /** Times at which the GPU went from healthy to unhealthy, within the window. */
  readonly failures: readonly number[];
}

export interface HealthVerdict {
  readonly health: GpuHealth;
  /** Empty for a GPU that is healthy on its own. */
  readonly reason: string;
  /** An operator decided, not the state machine. */
  readonly overridden: boolean;
}

export const HEALTHY: GpuHealthState = { ailment: undefined, failures: [] };

export function afterFault(
  state: GpuHealthState,
  atMillis: number,
  reason: string,
  policy: HealthPolicy,
): GpuHealthState {
  const since = atMillis - policy.quarantineWindowMillis;
  const recent = state.failures.filter((failure) => failure > since);
  const failures = state.ailment === undefined ? [...recent, atMillis] : recent;
  const quarantined = failures.length >= policy.quarantineFailures;
  return {
    ailment: {
      reason,
      lastFaultMillis: atMillis,
      cleanProbes: 0,
      quarantinedUntilMillis:
        state.ailment?.quarantinedUntilMillis ?? (quarantined ? atMillis + policy.quarantineMillis : undefined),
    },
    failures,
  };
}

/** A probe that read the GPU and found nothing wrong. */
export function afterCleanProbe(state: GpuHealthState, atMillis: number, policy: HealthPolicy): GpuHealthState {
  const { ailment } = state;
  if (ailment === undefined) return state;
  const cleanProbes = ailment.cleanProbes + 1;
  const recovered =
    cleanProbes >= policy.cleanProbes &&
    atMillis - ailment.lastFaultMillis >= policy.leastUnhealthyMillis &&
    atMillis >= (ailment.quarantinedUntilMillis ?? atMillis);
  if (!recovered) return { ...state, ailment: { ...ailment, cleanProbes } };
  // A served quarantine wipes the slate: the next failure is a first one.
  return { ailment: undefined, failures: ailment.quarantinedUntilMillis === undefined ? state.failures : [] };
}

/** An operator ends the quarantine: the GPU is judged as if it had failed once. */
export function afterRelease(state: GpuHealthState): GpuHealthState {
  if (state.ailment === undefined) return { ailment: undefined, failures: [] };
  return { ailment: { ...state.ailment, quarantinedUntilMillis: undefined }, failures: state.failures.slice(-1) };
}

/** What to tell of a GPU. An operator's word stands above everything the machine found. */
export function verdictOf(state: GpuHealthState, override: GpuOverride | undefined): HealthVerdict {
  if (override === 'healthy' || override === 'unhealthy') {
    const reason = override === 'healthy' ? '' : 'an operator marked it unhealthy';
    return { health: override, reason, overridden: true };
  }
  const { ailment } = state;
  if (ailment === undefined) return { health: 'healthy', reason: '', overridden: false };
  const quarantine =
    ailment.quarantinedUntilMillis === undefined ? '' : `; in quarantine after ${state.failures.length} failures`;
  return { health: 'unhealthy', reason: `${ailment.reason}${quarantine}`, overridden: false };
}
