// Reads from the API server's audit log who led when, what each leader read after it took the lease, and what it bound:
// the order of these is the proof that a new leader decides on fresh lists only and that two never bind at once.

import type { AuditedCall } from './audit.ts';

export interface Term {
  /** Which replica. */
  readonly client: string;
  /** When the write that took the lease was completed. */
  readonly since: string;
  readonly bindings: readonly AuditedCall[];
  readonly lists: readonly AuditedCall[];
}

/** Terms in order; calls of a replica count to its term that was running when they completed. */
export function leadershipTerms(calls: readonly AuditedCall[]): readonly Term[] {
  const terms: { client: string; since: string; bindings: AuditedCall[]; lists: AuditedCall[] }[] = [];
  let holder = '';
  for (const call of calls) {
    const current = terms.at(-1);
    if (call.resource === 'leases' && isWrite(call) && call.status < 300) {
      const now = holderOf(call);
      if (now !== '' && now !== holder) {
        terms.push({ client: call.client, since: call.completedAt, bindings: [], lists: [] });
      }
      holder = now;
    } else if (call.resource === 'pods/binding' && call.status < 300) current?.bindings.push(call);
    else if (call.verb === 'list' && call.client === current?.client) current.lists.push(call);
  }
  return terms;
}

/** What is wrong with the terms, in words. */
export function termFaults(terms: readonly Term[]): readonly string[] {
  return terms.flatMap(({ client, since, bindings, lists }, at) => {
    const [first] = bindings;
    if (first === undefined) return [];
    const strangers = bindings.filter((binding) => binding.client !== client);
    const fresh = lists.filter((list) => list.receivedAt > since && list.completedAt < first.receivedAt);
    const missing = ['nodes', 'pods'].filter((resource) => !fresh.some((list) => list.resource === resource));
    return [
      ...strangers.map((binding) => `term ${at} of ${client}: ${binding.client} bound ${binding.name}`),
      ...missing.map((resource) => `term ${at} of ${client}: bound before a fresh list of ${resource}`),
    ];
  });
}

function isWrite({ verb }: AuditedCall): boolean {
  return verb === 'create' || verb === 'update';
}

function holderOf({ requestObject }: AuditedCall): string {
  const { spec } = requestObject as { readonly spec?: { readonly holderIdentity?: string } };
  return spec?.holderIdentity ?? '';
}
