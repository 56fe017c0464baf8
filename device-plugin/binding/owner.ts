// Which container holds exactly these slice ids. Two witnesses of the kubelet: PodResources (names, no UID, in old
// kubelets no init containers) and its checkpoint (UID, all containers). Where both speak they must agree.

export interface ContainerHolding {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly ids: readonly string[];
}

export interface CheckpointHolding {
  readonly podUid: string;
  readonly container: string;
  readonly ids: readonly string[];
  /** The answer of Allocate as the kubelet keeps it. */
  readonly allocation?: Buffer;
}

/** A container by name, by pod UID, or by both. */
export type Owner =
  | {
      readonly kind: 'named';
      readonly namespace: string;
      readonly pod: string;
      readonly container: string;
      readonly podUid?: string;
    }
  | { readonly kind: 'uid'; readonly podUid: string; readonly container: string }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'several'; readonly who: readonly string[] };

export function findOwner(
  ids: readonly string[],
  holdings: readonly ContainerHolding[],
  checkpoint: readonly CheckpointHolding[],
): Owner {
  const wanted = keyOf(ids);
  const named = holdings.filter((holding) => keyOf(holding.ids) === wanted);
  const recorded = checkpoint.filter((holding) => keyOf(holding.ids) === wanted);
  const pods = new Set(named.map(({ namespace, pod }) => `${namespace}/${pod}`));
  const uids = new Set(recorded.map(({ podUid }) => podUid));
  if (pods.size > 1) return { kind: 'several', who: [...pods].sort() };
  // Kubelets can give ids twice, and an init container among the holders is in the checkpoint only.
  if (uids.size > 1) return { kind: 'several', who: [...uids].sort() };
  const [first] = named;
  const [uid] = uids;
  if (first !== undefined) {
    const { namespace, pod, container } = first;
    return { kind: 'named', namespace, pod, container, ...(uid === undefined ? {} : { podUid: uid }) };
  }
  const [record] = recorded;
  return record === undefined
    ? { kind: 'nobody' }
    : { kind: 'uid', podUid: record.podUid, container: record.container };
}

/** The same for the same set of ids, in whatever order. */
export function keyOf(ids: readonly string[]): string {
  return [...ids].sort().join('\n');
}
