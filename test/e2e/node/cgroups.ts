// One cgroup per node, in every hierarchy that the machine has (the separate ones of version 1 or the single one of
// version 2), under which the kubelet puts its pods. Names carry the owner's process id, so that what a killed run left
// can be told from what a live one uses. Removes only empty cgroups; ends no process.

import { access, mkdir, readFile, readdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { isRunning } from '../kubernetes-build.ts';
import { eventually } from '../process.ts';

const MOUNT = '/sys/fs/cgroup';
const PREFIX = 'gpuloom-e2e-';
const NEEDED_CONTROLLERS = ['cpu', 'cpuset', 'memory', 'pids'];
const REMOVAL_TIMEOUT_MILLIS = 5_000;

/** Why the machine's cgroups do not serve a kubelet, or undefined. */
export async function cgroupObstacle(): Promise<string | undefined> {
  const unified = await controllersOf(MOUNT);
  const present = unified ?? (await readdir(MOUNT).catch((): readonly string[] => []));
  const lacking = NEEDED_CONTROLLERS.filter((name) => !present.includes(name));
  return lacking.length === 0 ? undefined : `${MOUNT} has no controllers ${lacking.join(', ')}`;
}

/** Creates the node's cgroup and answers with its name, after sweeping up what killed runs left. */
export async function createNodeCgroup(node: string): Promise<string> {
  await removeAbandonedCgroups();
  const name = `${PREFIX}${process.pid}-${node}`;
  for (const hierarchy of await hierarchies()) {
    const folder = join(hierarchy, name);
    await mkdir(folder);
    if (hierarchy === MOUNT) await delegateControllers(folder);
    // A new cpuset is empty and takes no process before it has processors and memory nodes.
    else if (hierarchy.endsWith('/cpuset')) await copySettings(hierarchy, folder, ['cpuset.cpus', 'cpuset.mems']);
  }
  return name;
}

/** Removes the cgroup and all below it, once their last processes are gone. */
export async function removeNodeCgroup(name: string): Promise<void> {
  for (const parent of [MOUNT, ...(await readdir(MOUNT)).map((entry) => join(MOUNT, entry))]) {
    const folder = join(parent, name);
    const gone = await eventually(() => removeTree(folder), REMOVAL_TIMEOUT_MILLIS);
    if (!gone) throw new Error(`${folder} still has processes ${REMOVAL_TIMEOUT_MILLIS} ms after the node's end`);
  }
}

async function removeAbandonedCgroups(): Promise<void> {
  const names = await Promise.all((await hierarchies()).map((folder) => readdir(folder)));
  for (const name of new Set(names.flat())) {
    const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : Number.NaN;
    if (!Number.isNaN(pid) && !isRunning(pid)) await removeNodeCgroup(name);
  }
}

/** Folders at which a cgroup must be made for it to exist for every controller. */
async function hierarchies(): Promise<readonly string[]> {
  if ((await controllersOf(MOUNT)) !== undefined) return [MOUNT];
  const entries = (await readdir(MOUNT, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  return entries.map((entry) => join(MOUNT, entry.name)).filter((folder) => !folder.endsWith('/unified'));
}

async function controllersOf(folder: string): Promise<readonly string[] | undefined> {
  const text = await readFile(join(folder, 'cgroup.controllers'), 'utf8').catch(() => undefined);
  return text?.trim().split(' ');
}

async function delegateControllers(folder: string): Promise<void> {
  const enable = ((await controllersOf(folder)) ?? []).map((name) => `+${name}`).join(' ');
  await writeFile(join(folder, 'cgroup.subtree_control'), enable);
}

async function copySettings(from: string, to: string, files: readonly string[]): Promise<void> {
  for (const file of files) await writeFile(join(to, file), await readFile(join(from, file), 'utf8'));
}

/** False while a process is still in it. */
async function removeTree(folder: string): Promise<boolean> {
  const exists = await access(folder).then(
    () => true,
    () => false,
  );
  if (!exists) return true;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory() && !(await removeTree(join(folder, entry.name)))) return false;
  }
  try {
    await rmdir(folder);
    return true;
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && (cause.code === 'EBUSY' || cause.code === 'ENOENT')))
      throw cause;
    return cause.code === 'ENOENT';
  }
}
