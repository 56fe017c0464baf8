// Requests that every node answers alike are one shape. A shape is what verdicts and scores are cached by, so it
// holds everything that `fit` and the policies read of a pod, and nothing else.

import type { Ledger } from './ledger.ts';
import type { StringMap } from './manifest.ts';
import { isolationRank, type PodRequest } from './model.ts';
import { termMatches } from './selector.ts';

export interface Shape {
  readonly key: string;
  readonly request: PodRequest;
  readonly policy: string;
  readonly constraintId: number;
  /** Least rank of a node's isolation. */
  readonly isolationRank: number;
  /** Ids of anti-affinity terms of live pods that select this pod. */
  readonly repelledBy: readonly string[];
  /** Nothing matches the pod's own required affinity yet and the pod matches it itself: it may start the group. */
  readonly startsGroup: boolean;
  /** Whether pods on the GPU must be looked at one by one. */
  readonly readsPods: boolean;
}

/** Whether the pod itself asks for other pods near it or far from it. */
export function hasAffinity({ affinities }: PodRequest): boolean {
  const { required, forbidden, preferred, avoided } = affinities;
  return required !== undefined || forbidden !== undefined || preferred !== undefined || avoided !== undefined;
}

/** The shape of a pod's request against the ledger as it stands. */
export function shapeOf(
  ledger: Ledger,
  request: PodRequest,
  namespace: string,
  labels: StringMap,
  defaultPolicy: string,
): Shape {
  const { required, forbidden, preferred, avoided } = request.affinities;
  const repelledBy = ledger.terms.repelling(namespace, labels);
  const startsGroup =
    required !== undefined &&
    termMatches(required, namespace, labels) &&
    ledger.terms.matching(required, () => ledger.residents()) === 0;
  const constraintId = ledger.state.models.constraintId(request.models);
  const policy = request.policy ?? defaultPolicy;
  const key = [
    request.gpuCount,
    request.slicesPerGpu,
    request.corePerGpu,
    request.host.cpuMilli,
    request.host.memoryMiB,
    request.class,
    request.gang,
    constraintId,
    request.isolation,
    policy,
    startsGroup,
    request.uuids.join('|'),
    [required, forbidden, preferred, avoided].map((term) => term?.id ?? '').join('&'),
    repelledBy.join('&'),
  ].join(';');
  const readsPods = repelledBy.length > 0 || hasAffinity(request);
  return {
    key,
    request,
    policy,
    constraintId,
    isolationRank: isolationRank(request.isolation),
    repelledBy,
    startsGroup,
    readsPods,
  };
}
