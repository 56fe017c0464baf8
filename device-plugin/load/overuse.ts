// Pods that use more GPU memory than they were given. Pure.
// Where nothing enforces the limit, telling is all that can be done; where a limit is enforced, this finds none.

export interface MemoryGrant {
  readonly podUid: string;
  readonly gpuUuid: string;
  readonly memoryMiB: number;
}

export interface MemoryUse {
  readonly podUid: string;
  readonly gpuUuid: string;
  /** `undefined` where the driver does not tell; such a process cannot be held against its pod. */
  readonly usedMemoryMiB: number | undefined;
}

export interface Overuse {
  readonly podUid: string;
  readonly gpuUuid: string;
  readonly usedMiB: number;
  /** 0 for a pod that has nothing on this GPU. */
  readonly grantedMiB: number;
}

/**
 * Pods above their grant by more than `toleranceMiB`, worst first (then by pod and GPU). Processes of a pod and grants of its
 * containers add up per GPU.
 */
export function findOveruse(
  grants: readonly MemoryGrant[],
  uses: readonly MemoryUse[],
  toleranceMiB = 0,
): readonly Overuse[] {
  const granted = new Map<string, number>();
  for (const { podUid, gpuUuid, memoryMiB } of grants) add(granted, podUid, gpuUuid, memoryMiB);
  const used = new Map<string, number>();
  for (const { podUid, gpuUuid, usedMemoryMiB = 0 } of uses) add(used, podUid, gpuUuid, usedMemoryMiB);
  const overuses = [...used].flatMap(([key, usedMiB]): Overuse[] => {
    const grantedMiB = granted.get(key) ?? 0;
    const [podUid = '', gpuUuid = ''] = key.split('\n');
    return usedMiB > grantedMiB + toleranceMiB ? [{ podUid, gpuUuid, usedMiB, grantedMiB }] : [];
  });
  return overuses.sort((left, right) => excess(right) - excess(left) || (nameOf(left) < nameOf(right) ? -1 : 1));
}

function add(sums: Map<string, number>, podUid: string, gpuUuid: string, amount: number): void {
  const key = `${podUid}\n${gpuUuid}`;
  sums.set(key, (sums.get(key) ?? 0) + amount);
}

function excess({ usedMiB, grantedMiB }: Overuse): number {
  return usedMiB - grantedMiB;
}

function nameOf({ podUid, gpuUuid }: Overuse): string {
  return `${podUid} ${gpuUuid}`;
}
