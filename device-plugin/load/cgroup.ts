// Which pod and container a process belongs to, read from /proc/<pid>/cgroup. The parser is pure.
// Knows cgroup v1 and v2, the cgroupfs and systemd drivers, and containerd, CRI-O and Docker. Needs the host's PID
// namespace: the driver reports PIDs as the host counts them.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface ProcessOwner {
  readonly podUid: string;
  /** Empty where the path names a pod but no container. */
  readonly containerId: string;
}

/** `undefined` for a process of no pod, and for one that is gone. */
export type OwnerReader = (pid: number) => Promise<ProcessOwner | undefined>;

// A pod's UID, also with the underscores of systemd; static pods have 32 hexadecimal digits.
const POD = /(?:^|[/-])pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?=[./:]|$)/i;
const CONTAINER = /(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?=\/|$)/i;

/** Reads the content of a cgroup file. Any controller's line will do: all name the same container. */
export function ownerOf(cgroupFile: string): ProcessOwner | undefined {
  for (const line of cgroupFile.split('\n')) {
    const path = line.slice(line.indexOf(':', line.indexOf(':') + 1) + 1);
    if (!path.includes('kubepods')) continue;
    const pod = POD.exec(path);
    if (pod?.[1] === undefined) continue;
    const inside = path.slice(pod.index + pod[0].length);
    return {
      podUid: pod[1].replaceAll('_', '-').toLowerCase(),
      containerId: CONTAINER.exec(inside)?.[1]?.toLowerCase() ?? '',
    };
  }
  return undefined;
}

export function ownerReader(procRoot = '/proc'): OwnerReader {
  return async (pid) => {
    try {
      return ownerOf(await readFile(join(procRoot, String(pid), 'cgroup'), 'utf8'));
    } catch (error) {
      // The process ended, or is none of ours to look at.
      if (error instanceof Error && 'code' in error) return undefined;
      throw error;
    }
  };
}
