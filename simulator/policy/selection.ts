// Every policy that a simulation can run: the published ones, and those of production by the names that pods use.
// A production policy runs as in a cluster: it learns the mix of requests from the GPU pods that have arrived so far,
// where the published FGD knows the whole pod list beforehand.

import type { Ledger } from '../../extender/core/ledger.ts';
import { POLICY_NAMES, type PolicyName } from '../../extender/core/model.ts';
import { PUBLISHED_POLICIES, publishedPolicy, type PublishedPolicy, type SimulatedPolicy } from './published.ts';

export type SimulatedPolicyName = PublishedPolicy | PolicyName;
export const SIMULATED_POLICIES: readonly SimulatedPolicyName[] = [...PUBLISHED_POLICIES, ...POLICY_NAMES];

export interface SelectedPolicy extends SimulatedPolicy {
  /** Where the typical requests come from: the whole pod list, or the pods that have arrived. */
  readonly mix: 'listed' | 'learned';
}

/** `draw` gives numbers in [0, 1) to `random`. */
export function selectPolicy(name: SimulatedPolicyName, ledger: Ledger, draw: () => number): SelectedPolicy {
  if (isPublished(name)) return { ...publishedPolicy(name, ledger, draw), mix: 'listed' };
  return { engineName: name, placements: [], nodeChoice: 'best', mix: 'learned' };
}

/** Whether the policy is one of the published experiments. */
export function isPublished(name: string): name is PublishedPolicy {
  return PUBLISHED_POLICIES.some((each) => each === name);
}
