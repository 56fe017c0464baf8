// An ObjectFeed that keeps both the state it was told and the calls, for reflector tests.

import type { ObjectFeed } from '../../extender/app/ports.ts';
import { stringAt } from '../../extender/kube/kube-api.ts';

export interface SlimObject {
  readonly uid: string;
  readonly name: string;
  readonly version: string;
}

export function slimObject(raw: unknown): SlimObject {
  return {
    uid: stringAt(raw, 'metadata', 'uid') ?? '',
    name: stringAt(raw, 'metadata', 'name') ?? '',
    version: stringAt(raw, 'metadata', 'resourceVersion') ?? '',
  };
}

export class RecordingFeed implements ObjectFeed<SlimObject> {
  /** By uid. */
  readonly state = new Map<string, SlimObject>();
  /** `replace 3`, `upsert a`, `remove a`. */
  readonly calls: string[] = [];
  /** Called first; may throw. */
  before: (call: string) => void = () => undefined;

  replace(items: readonly SlimObject[]): void {
    this.#record(`replace ${items.length}`);
    this.state.clear();
    for (const item of items) this.state.set(item.uid, item);
  }

  upsert(item: SlimObject): void {
    this.#record(`upsert ${item.name}`);
    this.state.set(item.uid, item);
  }

  remove(item: SlimObject): void {
    this.#record(`remove ${item.name}`);
    if (!this.state.delete(item.uid)) throw new Error(`${item.name} was removed but never delivered`);
  }

  names(): readonly string[] {
    return [...this.state.values()].map((item) => item.name).sort();
  }

  #record(call: string): void {
    this.before(call);
    this.calls.push(call);
  }
}
