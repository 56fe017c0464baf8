// What happens to pods beyond plain writes: binding, eviction, graceful deletion and, standing in for a kubelet,
// phases and the end of termination. Rules and messages follow kube-apiserver's pod registry.
// Synchronous; each call is one transaction and at most one watch event.

import type { StatusCause } from './api-error.ts';
import { ApiError, badRequest, conflict, invalid } from './api-error.ts';
import type { JsonRecord, KubeObject } from './objects.ts';
import { isRecord, recordAt, stringMap, textAt } from './objects.ts';
import type { ObjectRef, Preconditions, Registry } from './registry.ts';
import { checkDeletion, keyOf, timestamp } from './registry.ts';
import { definitionOf } from './resources.ts';
import type { StoredObject } from './store.ts';
import type { Timers } from './timers.ts';

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: Preconditions;
}

/** Says whether a disruption budget forbids the eviction of a running pod; the text becomes the cause. */
export type DisruptionBudget = (pod: KubeObject) => string | undefined;

export interface PodRegistryOptions {
  readonly timers: Timers;
  /** `after-grace`: a terminating pod goes when its grace period ends. `by-owner`: only by finishTermination(). */
  readonly termination: 'after-grace' | 'by-owner';
  /** Servers before 1.21 ignore uid and resourceVersion in a Binding; false imitates them. */
  readonly bindingPreconditions: boolean;
}

const POD = definitionOf('pods');

export class PodRegistry {
  /** Set by a test or a demo to refuse evictions with 429. */
  disruptionBudget: DisruptionBudget | undefined;
  readonly #registry: Registry;
  readonly #options: PodRegistryOptions;
  readonly #terminations = new Map<string, () => void>();

  constructor(registry: Registry, options: PodRegistryOptions) {
    this.#registry = registry;
    this.#options = options;
  }

  /** Merges annotations and sets nodeName and PodScheduled, or refuses and changes nothing. */
  bind(namespace: string, name: string, binding: unknown): StoredObject {
    const order = parseBinding(name, binding);
    const ref = podRef(namespace, name);
    const old = this.#registry.get(ref);
    if (this.#options.bindingPreconditions) checkBindingPreconditions(old, order.preconditions);
    const { metadata, spec } = old.object;
    if (metadata.deletionTimestamp !== undefined) {
      throw conflict(POD, name, `pod ${name} is being deleted, cannot be assigned to a host`, 'binding');
    }
    const nodeName = textAt(spec, 'nodeName');
    if (nodeName !== undefined) {
      throw conflict(POD, name, `pod ${name} is already assigned to node "${nodeName}"`, 'binding');
    }
    return this.#registry.commit(ref, old, {
      ...old.object,
      metadata: { ...metadata, annotations: { ...metadata.annotations, ...order.annotations } },
      spec: { ...spec, nodeName: order.nodeName },
      status: withCondition(old.object.status ?? {}, 'PodScheduled', this.#registry.now()),
    });
  }

  /** Deletes the pod unless a disruption budget forbids it. */
  evict(namespace: string, name: string, eviction: unknown): void {
    const evictedName = textAt(recordAt(eviction, 'metadata'), 'name');
    if (evictedName !== name) throw badRequest('name in URL does not match name in Eviction object');
    const options = parseDeleteOptions(recordAt(eviction, 'deleteOptions'));
    const pod = this.#registry.get(podRef(namespace, name)).object;
    const refusal = disruptive(pod) ? this.disruptionBudget?.(pod) : undefined;
    if (refusal !== undefined) throw budgetExceeded(refusal);
    this.delete(namespace, name, options);
  }

  /** Marks the pod as terminating, or removes it when nothing has to terminate. */
  delete(namespace: string, name: string, options: DeleteOptions = {}): StoredObject {
    const ref = podRef(namespace, name);
    const old = this.#registry.get(ref);
    checkDeletion(POD, old, options.preconditions ?? {});
    const graceSeconds = effectiveGrace(old.object, options.gracePeriodSeconds);
    if (graceSeconds === 0) return this.#remove(ref);
    const { deletionTimestamp, deletionGracePeriodSeconds: pendingSeconds } = old.object.metadata;
    if (pendingSeconds !== undefined && graceSeconds >= pendingSeconds) return old;
    const startMillis =
      deletionTimestamp === undefined || pendingSeconds === undefined
        ? this.#registry.wallMillis()
        : Date.parse(deletionTimestamp) - pendingSeconds * 1000;
    const deadlineMillis = startMillis + graceSeconds * 1000;
    const metadata = {
      ...old.object.metadata,
      deletionTimestamp: timestamp(deadlineMillis),
      deletionGracePeriodSeconds: graceSeconds,
    };
    this.#terminateLater(ref, Math.max(0, deadlineMillis - this.#registry.wallMillis()));
    return this.#registry.commit(ref, old, { ...old.object, metadata });
  }

  /** The containers have stopped: removes a terminating pod. False when there is none of that name. */
  finishTermination(namespace: string, name: string): boolean {
    const ref = podRef(namespace, name);
    const pod = this.#registry.find(ref);
    if (pod?.object.metadata.deletionTimestamp === undefined) return false;
    this.#remove(ref);
    return true;
  }

  /** Reports a phase as a kubelet would. */
  setPhase(namespace: string, name: string, phase: PodPhase): StoredObject {
    const ref = podRef(namespace, name);
    const old = this.#registry.get(ref);
    const status = old.object.status ?? {};
    const now = this.#registry.now();
    const running = phase === 'Running' ? withCondition({ startTime: now, ...status }, 'Ready', now) : status;
    return this.#registry.commit(ref, old, { ...old.object, status: { ...running, phase } });
  }

  /** Cancels pending terminations. */
  close(): void {
    for (const cancel of this.#terminations.values()) cancel();
    this.#terminations.clear();
  }

  #remove(ref: ObjectRef): StoredObject {
    const key = keyOf(ref);
    this.#terminations.get(key)?.();
    this.#terminations.delete(key);
    return this.#registry.remove(ref);
  }

  #terminateLater(ref: ObjectRef, delayMillis: number): void {
    if (this.#options.termination === 'by-owner') return;
    const key = keyOf(ref);
    this.#terminations.get(key)?.();
    const end = (): void => {
      this.#terminations.delete(key);
      this.finishTermination(ref.namespace ?? 'default', ref.name);
    };
    this.#terminations.set(key, this.#options.timers.after(delayMillis, end));
  }
}

interface ParsedBinding {
  readonly nodeName: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly preconditions: Preconditions;
}

export function podRef(namespace: string, name: string): ObjectRef {
  return { resource: 'pods', namespace, name };
}

function parseBinding(name: string, value: unknown): ParsedBinding {
  if (!isRecord(value)) throw badRequest('the body must be a Binding object');
  const metadata = recordAt(value, 'metadata');
  if (textAt(metadata, 'name') !== name) throw badRequest('name in URL does not match name in Binding object');
  const target = recordAt(value, 'target');
  const kind = textAt(target, 'kind') ?? 'Node';
  if (kind !== 'Node') {
    throw invalid(POD, name, 'target.kind', `Unsupported value: "${kind}": supported values: "Node", "<empty>"`);
  }
  const nodeName = textAt(target, 'name');
  if (nodeName === undefined) throw invalid(POD, name, 'target.name', 'Required value');
  return {
    nodeName,
    annotations: stringMap(metadata?.['annotations'], 'metadata.annotations') ?? {},
    preconditions: parsePreconditions(metadata),
  };
}

function parsePreconditions(value: unknown): Preconditions {
  const uid = textAt(value, 'uid');
  const resourceVersion = textAt(value, 'resourceVersion');
  return { ...(uid === undefined ? {} : { uid }), ...(resourceVersion === undefined ? {} : { resourceVersion }) };
}

/** DeleteOptions from a request body or an Eviction; a missing body means none. */
export function parseDeleteOptions(value: unknown): DeleteOptions {
  if (value === undefined || value === null) return {};
  if (!isRecord(value)) throw badRequest('the body must be a DeleteOptions object');
  const seconds = value['gracePeriodSeconds'];
  if (seconds !== undefined && seconds !== null && !(Number.isInteger(seconds) && Number(seconds) >= 0)) {
    throw badRequest('gracePeriodSeconds must be an integer of at least 0');
  }
  const preconditions = parsePreconditions(value['preconditions']);
  return typeof seconds === 'number' ? { preconditions, gracePeriodSeconds: seconds } : { preconditions };
}

function checkBindingPreconditions(old: StoredObject, asked: Preconditions): void {
  const { name, namespace, uid } = old.object.metadata;
  const version = String(old.resourceVersion);
  let problem: string | undefined;
  if (asked.uid !== undefined && asked.uid !== uid) {
    problem = `UID in precondition: ${asked.uid}, UID in object meta: ${uid ?? ''}`;
  } else if (asked.resourceVersion !== undefined && asked.resourceVersion !== version) {
    problem = `ResourceVersion in precondition: ${asked.resourceVersion}, ResourceVersion in object meta: ${version}`;
  }
  if (problem === undefined) return;
  const key = `/registry/pods/${namespace ?? ''}/${name}`;
  throw conflict(
    POD,
    name,
    `StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, ` +
      `AdditionalErrorMsg: Precondition failed: ${problem}`,
  );
}

/** Sets a condition to True; the transition time stays when it already was. */
function withCondition(status: JsonRecord, type: string, now: string): JsonRecord {
  const list: unknown = status['conditions'];
  const conditions: readonly unknown[] = Array.isArray(list) ? list : [];
  const held = conditions.find((condition) => textAt(condition, 'type') === type);
  if (textAt(held, 'status') === 'True') return status;
  const condition = { type, status: 'True', lastProbeTime: null, lastTransitionTime: now };
  return { ...status, conditions: [...conditions.filter((other) => other !== held), condition] };
}

function effectiveGrace(pod: KubeObject, askedSeconds: number | undefined): number {
  const phase = textAt(pod.status, 'phase');
  const terminal = phase === 'Succeeded' || phase === 'Failed';
  if (textAt(pod.spec, 'nodeName') === undefined || terminal) return 0;
  const specified = pod.spec?.['terminationGracePeriodSeconds'];
  return askedSeconds ?? (typeof specified === 'number' && specified >= 0 ? specified : 30);
}

/** Only a running pod that is not on its way out counts against a disruption budget. */
function disruptive(pod: KubeObject): boolean {
  const phase = textAt(pod.status, 'phase');
  return (
    phase !== 'Succeeded' && phase !== 'Failed' && phase !== 'Pending' && pod.metadata.deletionTimestamp === undefined
  );
}

function budgetExceeded(refusal: string): ApiError {
  const causes: readonly StatusCause[] = [{ reason: 'DisruptionBudget', message: refusal }];
  return new ApiError(429, "Cannot evict pod as it would violate the pod's disruption budget.", {
    details: { causes },
  });
}
