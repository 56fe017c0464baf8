// bind: choose GPUs, reserve them, and commit node and allocation in one write.
//
// Promises: one API write per bind; between reading the ledger and reserving there is no await; a pod holds at most one
// committed allocation; the same pod bound again to the same node gets the same answer; concurrent calls for one pod run
// one after the other, and equal ones share one answer; after an unknown outcome the reservation stays until a
// live read or the watch decides.

import type { Engine } from '../core/engine.ts';
import type { GpuKey, Resident } from '../core/resident.ts';
import type { Allocation, PodRecord, PodRequest } from '../core/model.ts';
import { reasonName, reasonText } from '../core/reasons.ts';
import { podRecord } from '../core/records.ts';
import type { Profile } from '../core/resources.ts';
import { allocationAnnotations } from './annotations.ts';
import type { ExtenderBindingArgs, ExtenderBindingResult } from './extender-api.ts';
import type { PodDirectory } from './pod-directory.ts';
import type { Binder, Clock, PodReader } from './ports.ts';

/** How a bind ended, for metrics. */
export type BindEnd = 'bound' | 'repeated' | 'rejected' | 'refused' | 'unknown';

export interface BindDeps {
  readonly engine: Engine;
  readonly pending: PodDirectory;
  readonly binder: Binder;
  readonly podReader: PodReader;
  readonly clock: Clock;
  readonly profile: Profile;
  readonly refusal: () => string | undefined;
  /** Limit of one API call. A whole bind takes at most half as long again, whatever it has to ask. */
  readonly timeoutMillis: number;
  readonly onEnd: (end: BindEnd, pod: PodRecord | undefined, nodeName: string, detail: string) => void;
}

const BUDGET_IN_TIMEOUTS = 1.5;

interface Target {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly nodeName: string;
  /** Monotonic time by which kube-scheduler must have its answer. */
  readonly deadlineMillis: number;
}

/** The call cannot succeed; the message goes to kube-scheduler and from there into the pod's events. */
class BindFailure extends Error {
  readonly end: BindEnd;

  constructor(end: BindEnd, message: string) {
    super(message);
    this.end = end;
  }
}

export function createBind(deps: BindDeps): (args: ExtenderBindingArgs) => Promise<ExtenderBindingResult> {
  const inFlight = new Map<string, { readonly nodeName: string; readonly answer: Promise<ExtenderBindingResult> }>();
  return (args) => {
    const target = targetOf(args, deps.clock.monotonicMillis() + deps.timeoutMillis * BUDGET_IN_TIMEOUTS);
    if (target === undefined) return Promise.resolve({ Error: 'the binding names no pod, uid or node' });
    const current = inFlight.get(target.uid);
    if (current?.nodeName === target.nodeName) return current.answer;
    const answer = (current?.answer ?? Promise.resolve()).then(() => bindOnce(deps, target));
    inFlight.set(target.uid, { nodeName: target.nodeName, answer });
    const clear = (): void => {
      if (inFlight.get(target.uid)?.answer === answer) inFlight.delete(target.uid);
    };
    answer.then(clear, clear);
    return answer;
  };
}

function targetOf(
  { PodNamespace, PodName, PodUID, Node }: ExtenderBindingArgs,
  deadlineMillis: number,
): Target | undefined {
  if (!PodNamespace || !PodName || !PodUID || !Node) return undefined;
  return { namespace: PodNamespace, name: PodName, uid: PodUID, nodeName: Node, deadlineMillis };
}

async function bindOnce(deps: BindDeps, target: Target): Promise<ExtenderBindingResult> {
  let pod: PodRecord | undefined;
  try {
    checkMayBind(deps);
    pod = await findPod(deps, target);
    const end = await bindPod(deps, target, pod);
    const indices = deps.engine.ledger.resident(target.uid)?.gpus.map(({ index }) => index) ?? [];
    deps.onEnd(end, pod, target.nodeName, `GPU ${indices.join(', ')}`);
    return { Error: '' };
  } catch (error) {
    if (!(error instanceof BindFailure)) throw error;
    deps.onEnd(error.end, pod, target.nodeName, error.message);
    return { Error: error.message };
  }
}

function checkMayBind({ refusal }: BindDeps): void {
  const why = refusal();
  if (why !== undefined) throw new BindFailure('rejected', why);
}

/** What one API call may take of what is left of the whole bind. */
function timeLeft({ clock, timeoutMillis }: BindDeps, { deadlineMillis }: Target): number {
  return Math.max(1, Math.min(timeoutMillis, deadlineMillis - clock.monotonicMillis()));
}

/** The pod as the watch shows it, or a live read where the watch lags. */
async function findPod(deps: BindDeps, target: Target): Promise<PodRecord> {
  const resident = deps.engine.ledger.resident(target.uid);
  const known = resident?.pod ?? deps.pending.byUid(target.uid);
  if (known !== undefined) return known;
  const reading = await deps.podReader.read(target.namespace, target.name, timeLeft(deps, target));
  if (reading.kind === 'unavailable') throw new BindFailure('rejected', `cannot read the pod: ${reading.message}`);
  const pod = reading.kind === 'found' ? podRecord(reading.pod, deps.profile) : undefined;
  if (pod?.uid !== target.uid) throw new BindFailure('rejected', 'the pod is gone or was re-created under another uid');
  if (pod.nodeName !== '') deps.engine.ledger.observe(pod, deps.clock.monotonicMillis());
  return pod;
}

async function bindPod(deps: BindDeps, target: Target, pod: PodRecord): Promise<BindEnd> {
  const { ledger } = deps.engine;
  const before = ledger.resident(target.uid);
  if (before?.state === 'unknown') await settle(deps, before, timeLeft(deps, target));
  const held = ledger.resident(target.uid);
  if (held?.state === 'confirmed') {
    if (held.nodeName !== target.nodeName)
      throw new BindFailure('refused', `the pod is already bound to node ${held.nodeName}`);
    if (held.gpus.length === 0)
      throw new BindFailure('refused', 'the pod was bound to this node without an allocation');
    return 'repeated';
  }
  // The reads before may have taken long enough for another replica to lead.
  checkMayBind(deps);
  const reserved = reserve(deps, target, pod, held);
  return commit(deps, target, reserved);
}

interface Reserved {
  readonly allocation: Allocation;
  readonly gpus: readonly GpuKey[];
  readonly request: PodRequest;
}

/** Chooses GPUs on the ledger as it is at this moment and reserves them. Synchronous from check to reservation. */
function reserve(deps: BindDeps, target: Target, pod: PodRecord, held: Resident | undefined): Reserved {
  const { engine, clock } = deps;
  const { ledger } = engine;
  if (pod.demand.kind === 'none')
    throw new BindFailure('rejected', `the pod asks for no ${deps.profile.memoryResource}`);
  if (pod.demand.kind === 'invalid') throw new BindFailure('rejected', pod.demand.why);
  if (pod.terminal || pod.deleting) throw new BindFailure('rejected', 'the pod is ending');
  const { request } = pod.demand;
  if (held !== undefined) {
    if (held.nodeName === target.nodeName) {
      // The earlier Binding may still commit: only the same GPUs may be offered again.
      return { request, gpus: held.gpus, allocation: engine.allocationOf(request, held.gpus) };
    }
    ledger.setAside(target.uid);
  }
  const node = ledger.state.indexOf(target.nodeName);
  if (node === undefined) throw new BindFailure('rejected', `node ${target.nodeName} is not known to gpuloom`);
  const placing = engine.place(engine.shapeOf(request, pod.namespace, pod.labels), node);
  if (placing.kind === 'rejected') {
    const why = reasonText(placing.reason, request);
    throw new BindFailure('rejected', `node ${target.nodeName}: ${why} (${reasonName(placing.reason)})`);
  }
  ledger.assume(pod, request, target.nodeName, placing.gpus, clock.monotonicMillis());
  return { request, gpus: placing.gpus, allocation: placing.allocation };
}

async function commit(deps: BindDeps, target: Target, reserved: Reserved): Promise<BindEnd> {
  const { ledger } = deps.engine;
  const outcome = await deps.binder.bind(
    {
      pod: { namespace: target.namespace, name: target.name, uid: target.uid },
      nodeName: target.nodeName,
      annotations: allocationAnnotations(deps, target.nodeName, reserved),
    },
    timeLeft(deps, target),
    () => deps.refusal() === undefined,
  );
  const now = deps.clock.monotonicMillis();
  if (outcome.kind === 'bound') {
    ledger.confirm(target.uid, now);
    return 'bound';
  }
  if (outcome.kind === 'refused' && outcome.status !== 409) {
    ledger.forget(target.uid);
    throw new BindFailure('refused', `the API server refused the binding (${outcome.status}): ${outcome.message}`);
  }
  // 409 may mean that this very Binding had committed earlier; an unknown outcome may mean the same.
  ledger.doubt(target.uid, now);
  const doubted = ledger.resident(target.uid);
  const settled = doubted === undefined ? 'open' : await settle(deps, doubted, timeLeft(deps, target));
  const after = ledger.resident(target.uid);
  if (after?.state === 'confirmed' && after.nodeName === target.nodeName && after.gpus.length > 0) return 'repeated';
  if (outcome.kind === 'refused') {
    if (settled === 'open') ledger.forget(target.uid);
    throw new BindFailure('refused', `the API server refused the binding (409): ${outcome.message}`);
  }
  throw new BindFailure(
    'unknown',
    `outcome of the binding is not known yet: ${outcome.message}; the reservation is kept`,
  );
}

/**
 * Asks the API server what became of a doubtful reservation. `decided`: the pod is bound, ended or gone, and the ledger
 * shows it. `open`: it is unbound as yet, or could not be read; the reservation stays.
 */
export async function settle(
  deps: Pick<BindDeps, 'engine' | 'podReader' | 'clock' | 'profile'>,
  resident: Resident,
  timeoutMillis: number,
): Promise<'decided' | 'open' | 'unreadable'> {
  const { ledger } = deps.engine;
  const { uid, namespace, name } = resident.pod;
  const reading = await deps.podReader.read(namespace, name, timeoutMillis);
  if (reading.kind === 'unavailable') return 'unreadable';
  const pod = reading.kind === 'found' ? podRecord(reading.pod, deps.profile) : undefined;
  if (pod?.uid !== uid) {
    ledger.release(uid);
    return 'decided';
  }
  if (pod.nodeName === '' && !pod.terminal) return 'open';
  ledger.observe(pod, deps.clock.monotonicMillis());
  return 'decided';
}
