// GPU pods that are not bound yet, as the pod feed shows them. Bound pods are in the ledger.

import type { PodRecord } from '../core/model.ts';

export class PodDirectory {
  readonly #byUid = new Map<string, PodRecord>();
  readonly #uidByName = new Map<string, string>();

  get size(): number {
    return this.#byUid.size;
  }

  byUid(uid: string): PodRecord | undefined {
    return this.#byUid.get(uid);
  }

  byName(namespace: string, name: string): PodRecord | undefined {
    return this.#byUid.get(this.#uidByName.get(`${namespace}/${name}`) ?? '');
  }

  values(): IterableIterator<PodRecord> {
    return this.#byUid.values();
  }

  put(pod: PodRecord): void {
    this.#byUid.set(pod.uid, pod);
    this.#uidByName.set(`${pod.namespace}/${pod.name}`, pod.uid);
  }

  remove(pod: PodRecord): void {
    const key = `${pod.namespace}/${pod.name}`;
    this.#byUid.delete(pod.uid);
    // A pod re-created under the same name has another UID and keeps the name.
    if (this.#uidByName.get(key) === pod.uid) this.#uidByName.delete(key);
  }
}
