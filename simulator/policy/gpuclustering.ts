// GpuClustering of the FGD experiments: pods of the same kind together, where a pod's kind is "shares a GPU" or its
// number of GPUs. The kinds on a node are read from the pods that the ledger holds there.

import type { Ledger } from '../../extender/core/ledger.ts';
import type { PodRequest } from '../../extender/core/model.ts';
import type { PlacementPolicy } from '../../extender/core/policy/policy.ts';
import { MILLI_PER_GPU } from '../workload.ts';
import { FreeGpus, MOST_GPU_MILLI } from './free-gpus.ts';

const ALONE = 75;
const AMONG_OTHERS = 50;
const NO_GPU_PODS = 25;
const SHARING = 0;

export function gpuClustering(ledger: Ledger): PlacementPolicy {
  const free = new FreeGpus();
  return {
    name: 'gpuclustering',
    termNames: [],
    version: () => 0,
    place(state, node, { request }, fitted, choice) {
      free.read(state, node).chooseTightest(fitted, request.gpuCount, choice);
      if (request.gpuCount === 0) return 0;
      const used = Math.trunc((25 * (MOST_GPU_MILLI - free.total)) / MOST_GPU_MILLI);
      return used + company(ledger, state.nodeNames[node] ?? '', kindOf(request));
    },
  };
}

/** What the kinds of GPU pods on the node are worth to a pod of this kind. */
function company(ledger: Ledger, nodeName: string, kind: number): number {
  let hasSame = false;
  let hasOther = false;
  for (const { request } of ledger.residentsOf(nodeName)) {
    if (request === undefined || request.gpuCount === 0) continue;
    if (kindOf(request) === kind) hasSame = true;
    else hasOther = true;
  }
  if (hasSame) return hasOther ? AMONG_OTHERS : ALONE;
  return hasOther ? 0 : NO_GPU_PODS;
}

function kindOf({ gpuCount, slicesPerGpu }: PodRequest): number {
  return slicesPerGpu < MILLI_PER_GPU ? SHARING : gpuCount;
}
