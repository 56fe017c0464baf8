// The API server as the verbs see it through their ports: bindings commit atomically, and replies may be lost, late or
// refused. Pods live in memory; every committed binding is recorded in order.

import type { BindingOrder, Binder, BindOutcome, PodReader, PodReading } from '../../extender/app/ports.ts';
import type { PodManifest } from '../../extender/core/manifest.ts';

/** What happens to one binding call. `late`: it commits after the reply "unknown", when `commitLate` is called. */
export type Fate = 'ok' | 'lost reply' | 'lost request' | 'late' | 'forbidden';

export interface Committed {
  readonly uid: string;
  readonly nodeName: string;
  readonly annotations: BindingOrder['annotations'];
}

export class ApiModel implements Binder, PodReader {
  readonly committed: Committed[] = [];
  /** Binding calls received, committed or not. */
  calls = 0;
  isReadable = true;
  /** Time limits that callers gave, in order. */
  readonly limits: number[] = [];
  nextFate: () => Fate = () => 'ok';
  /** Awaited before each answer, so that a test can interleave calls. */
  turn: (label: string) => Promise<unknown> = () => Promise.resolve();
  readonly #pods = new Map<string, PodManifest>();
  readonly #late: BindingOrder[] = [];

  put(pod: PodManifest): void {
    this.#pods.set(keyOf(pod.metadata?.namespace ?? '', pod.metadata?.name ?? ''), pod);
  }

  remove(namespace: string, name: string): void {
    this.#pods.delete(keyOf(namespace, name));
  }

  pod(namespace: string, name: string): PodManifest | undefined {
    return this.#pods.get(keyOf(namespace, name));
  }

  pods(): PodManifest[] {
    return [...this.#pods.values()];
  }

  /** Lets every binding that was left hanging reach the server now. */
  commitLate(): void {
    for (const order of this.#late.splice(0)) this.#commit(order);
  }

  async bind(order: BindingOrder, timeoutMillis: number): Promise<BindOutcome> {
    this.limits.push(timeoutMillis);
    this.calls++;
    const fate = this.nextFate();
    await this.turn(`binding of ${order.pod.name} to ${order.nodeName}`);
    switch (fate) {
      case 'forbidden':
        return { kind: 'refused', status: 403, message: 'forbidden' };
      case 'lost request':
        return { kind: 'unknown', message: 'connection reset' };
      case 'late':
        this.#late.push(order);
        return { kind: 'unknown', message: 'timeout' };
      case 'lost reply':
        this.#commit(order);
        return { kind: 'unknown', message: 'connection reset' };
      case 'ok':
        return this.#commit(order);
    }
  }

  async read(namespace: string, name: string, timeoutMillis: number): Promise<PodReading> {
    this.limits.push(timeoutMillis);
    await this.turn(`read of ${name}`);
    if (!this.isReadable) return { kind: 'unavailable', message: 'connection refused' };
    const pod = this.pod(namespace, name);
    return pod === undefined ? { kind: 'gone' } : { kind: 'found', pod };
  }

  #commit({ pod: { namespace, name, uid }, nodeName, annotations }: BindingOrder): BindOutcome {
    const pod = this.pod(namespace, name);
    if (pod === undefined) return { kind: 'refused', status: 404, message: 'not found' };
    const isOther = pod.metadata?.uid !== uid;
    if (isOther || pod.spec?.nodeName !== undefined || pod.metadata?.deletionTimestamp !== undefined) {
      return { kind: 'refused', status: 409, message: `pod ${name} is already assigned, ending or another` };
    }
    const merged = { ...pod.metadata?.annotations, ...annotations };
    this.put({ ...pod, metadata: { ...pod.metadata, annotations: merged }, spec: { ...pod.spec, nodeName } });
    this.committed.push({ uid, nodeName, annotations });
    return { kind: 'bound' };
  }
}

function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}
