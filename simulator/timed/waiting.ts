// Pods that found no place yet, by request: of equal pods the first to arrive is the first to be tried, and where it
// fits nowhere the others need not be tried before something changes.

/** What came of trying one pod. */
export type Tried =
  | 'placed'
  /** No node can host it, nor any pod with the same request. */
  | 'unfit'
  /** It found no place, but an equal pod might. */
  | 'unseen';

interface Queue {
  /** Arrivals in order. */
  pods: number[];
  /** The next to be tried in this pass. */
  at: number;
  /** Tried in this pass and still waiting. */
  kept: number[];
}

export class WaitingPods {
  readonly #queues = new Map<number, Queue>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** `arrival` must be later than those added before; pods of equal requests have the same `request`. */
  add(arrival: number, request: number): void {
    this.#size++;
    const queue = this.#queues.get(request);
    if (queue === undefined) this.#queues.set(request, { pods: [arrival], at: 0, kept: [] });
    else queue.pods.push(arrival);
  }

  /** Tries the waiting pods in order of arrival, and each at most once. */
  pass(attempt: (arrival: number) => Tried): void {
    const open = [...this.#queues.values()];
    while (open.length > 0) {
      const first = earliest(open);
      const queue = open[first];
      const arrival = queue?.pods[queue.at];
      if (queue === undefined || arrival === undefined) break;
      const tried = attempt(arrival);
      if (tried !== 'unfit') queue.at++;
      if (tried === 'unseen') queue.kept.push(arrival);
      if (tried === 'unfit' || queue.at === queue.pods.length) open.splice(first, 1);
    }
    for (const [request, queue] of this.#queues) this.#close(request, queue);
  }

  *[Symbol.iterator](): Iterator<number> {
    for (const { pods } of this.#queues.values()) yield* pods;
  }

  #close(request: number, queue: Queue): void {
    if (queue.at === 0) return;
    this.#size -= queue.at - queue.kept.length;
    queue.pods.splice(0, queue.at, ...queue.kept);
    queue.at = 0;
    queue.kept = [];
    if (queue.pods.length === 0) this.#queues.delete(request);
  }
}

/** The position of the queue whose next pod arrived first. */
function earliest(queues: readonly Queue[]): number {
  let first = 0;
  let arrival = Number.POSITIVE_INFINITY;
  queues.forEach(({ pods, at }, position) => {
    const next = pods[at] ?? Number.POSITIVE_INFINITY;
    if (next >= arrival) return;
    arrival = next;
    first = position;
  });
  return first;
}
