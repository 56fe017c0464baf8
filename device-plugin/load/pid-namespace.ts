// Whether the driver's process ids can be looked up in our /proc: only in the PID namespace of the node. Anywhere else a
// number is nobody, or somebody else.

import { readlink } from 'node:fs/promises';
import { join } from 'node:path';

export const HOST_PID_SETTINGS = ['auto', 'yes', 'no'] as const;
export type HostPidSetting = (typeof HOST_PID_SETTINGS)[number];

/** Inode of the initial PID namespace, the same on every Linux since 3.8 (PROC_PID_INIT_INO in its linux/proc_ns.h). */
const INITIAL_NAMESPACE = 'pid:[4026531836]';

/** Why processes cannot be told apart by pod; undefined where they can. */
export async function whyNotHostPids(setting: HostPidSetting, procRoot: string): Promise<string | undefined> {
  if (setting === 'yes') return undefined;
  if (setting === 'no') return 'hostPids is no';
  const link = join(procRoot, 'self/ns/pid');
  try {
    const namespace = await readlink(link);
    if (namespace === INITIAL_NAMESPACE) return undefined;
    return `the agent is not in the PID namespace of the node (${namespace}); run it with hostPID, as the component agent-host-pids does, or set hostPids: yes where the node is a container itself`;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return `${link} cannot be read: ${error.message}`;
    throw error;
  }
}
