// The placement policies of the FGD experiments (USENIX ATC'23) by their published names, each as the engine runs it.
// Scores are integers, cut towards zero; equal scores go to the first node in name order.

import type { Ledger } from '../../extender/core/ledger.ts';
import type { PlacementPolicy } from '../../extender/core/policy/policy.ts';
import { bestFit } from './bestfit.ts';
import { dotProduct } from './dotprod.ts';
import { gpuClustering } from './gpuclustering.ts';
import { gpuPacking } from './gpupacking.ts';
import { randomGpu } from './random.ts';

export const PUBLISHED_POLICIES = ['random', 'dotprod', 'gpuclustering', 'gpupacking', 'bestfit', 'fgd'] as const;
export type PublishedPolicy = (typeof PUBLISHED_POLICIES)[number];

/** How the driver chooses among nodes that fit. */
export type NodeChoice = 'best' | 'uniform';

export interface SimulatedPolicy {
  /** The engine's name of the policy. */
  readonly engineName: string;
  /** Policies to give to the engine beside its own. */
  readonly placements: readonly PlacementPolicy[];
  readonly nodeChoice: NodeChoice;
}

/** FGD is the engine's own policy over the mix of the pod list. `draw` gives numbers in [0, 1) to `random`. */
export function publishedPolicy(name: PublishedPolicy, ledger: Ledger, draw: () => number): SimulatedPolicy {
  switch (name) {
    case 'fgd':
      return { engineName: 'fgd', placements: [], nodeChoice: 'best' };
    case 'bestfit':
      return scored(bestFit());
    case 'dotprod':
      return scored(dotProduct());
    case 'gpupacking':
      return scored(gpuPacking());
    case 'gpuclustering':
      return scored(gpuClustering(ledger));
    case 'random': {
      const placement = randomGpu(draw);
      return { engineName: placement.name, placements: [placement], nodeChoice: 'uniform' };
    }
  }
}

function scored(placement: PlacementPolicy): SimulatedPolicy {
  return { engineName: placement.name, placements: [placement], nodeChoice: 'best' };
}
