// What is amiss in a document, or bears on how far its figures can be trusted, said plainly.

/** Stable names, for JSON. */
export type FindingKind =
  /** GPUs that hold more than they have. */
  | 'over-commit'
  /** Nodes that take no pods until something is mended. */
  | 'closed-node'
  /** GPUs reported or marked unhealthy. */
  | 'unhealthy-gpu'
  /** Running pods of which it is not known on which GPU they are. */
  | 'unplaced'
  /** A pod's own record says another place or request than the books. */
  | 'drift'
  /** Reservations whose Binding has not been seen yet. */
  | 'in-flight'
  /** Pods whose GPU request is contradictory. */
  | 'invalid-request'
  /** Pods left out because their node is not in the document. */
  | 'orphan'
  /** The other profile's resources are asked for, and not this one's. */
  | 'profile'
  /** Rules of kube-scheduler that a replay does not apply. */
  | 'not-replayed'
  /** Figures that would rest on something the document does not hold. */
  | 'incomplete';

export interface Finding {
  readonly kind: FindingKind;
  /** How many pods, nodes or GPUs it is about. */
  readonly count: number;
  readonly text: string;
  /** The first few of them by name. */
  readonly examples: readonly string[];
}

const MAX_EXAMPLES = 3;

/** A finding about the named things, or none where there are none. */
export function finding(kind: FindingKind, text: string, names: readonly string[]): readonly Finding[] {
  if (names.length === 0) return [];
  return [{ kind, count: names.length, text, examples: [...names].sort().slice(0, MAX_EXAMPLES) }];
}
