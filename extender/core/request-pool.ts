// Equal requests share one object. Tens of thousands of pods come from tens of templates, and a request with its
// containers is most of what the ledger keeps of a pod.

import type { StringMap } from './manifest.ts';
import type { PodRequest } from './model.ts';

const MAX_KEPT = 4096;

export class RequestPool {
  readonly #requests = new Map<string, PodRequest>();
  readonly #labels = new Map<string, StringMap>();

  /** The shared object equal to this one. */
  request(request: PodRequest): PodRequest {
    return shared(this.#requests, request);
  }

  labels(labels: StringMap): StringMap {
    return shared(this.#labels, labels);
  }
}

function shared<T>(kept: Map<string, T>, value: T): T {
  const key = JSON.stringify(value);
  const known = kept.get(key);
  if (known !== undefined) return known;
  // Starting over costs only sharing, never correctness.
  if (kept.size >= MAX_KEPT) kept.clear();
  kept.set(key, value);
  return value;
}
