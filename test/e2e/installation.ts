// What an operator installs for gpuloom, as shipped: namespace, roles, scheduler configuration. Tests run the extender as
// the service account that the shipped roles name, so that what the roles leave out shows.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { ProfileName } from '../../extender/core/resources.ts';
import { serviceAccountUser } from './accounts.ts';
import type { ClusterUser } from './accounts.ts';
import type { ControlPlane } from './control-plane.ts';
import { applyManifests } from './manifests.ts';

export const EXTENDER_USER: ClusterUser = serviceAccountUser('gpuloom-system', 'gpuloom-extender');

export const AGENT_USER: ClusterUser = serviceAccountUser('gpuloom-agent', 'gpuloom-agent');

const DEPLOY = join(import.meta.dirname, '../../deploy');
const ROLES = ['base/namespace.yaml', 'base/rbac.yaml'];
const GPUSHARE_ROLES = ['overlays/gpushare/rbac.yaml'];
const AGENT_ROLES = ['agent/namespace.yaml', 'agent/rbac.yaml'];
const GPUSHARE_AGENT_ROLES = ['overlays/agent-gpushare/rbac.yaml'];

/** The shipped scheduler configuration for this Kubernetes. */
export function schedulerConfigFile({ minor }: ControlPlane, profile: ProfileName = 'gpuloom'): string {
  const gpuloom = minor < 25 ? 'kube-scheduler-v1beta1.yaml' : 'kube-scheduler-v1.yaml';
  return join(DEPLOY, 'scheduler', profile === 'gpuloom' ? gpuloom : 'gpushare-v1.yaml');
}

/** Creates the namespace and everything that says what the extender may do. */
export function installRoles(plane: ControlPlane, profile: ProfileName = 'gpuloom'): Promise<void> {
  return install(plane, profile === 'gpuloom' ? ROLES : [...ROLES, ...GPUSHARE_ROLES]);
}

/** The same for the node agent. */
export function installAgentRoles(plane: ControlPlane, profile: ProfileName = 'gpuloom'): Promise<void> {
  return install(plane, profile === 'gpuloom' ? AGENT_ROLES : [...AGENT_ROLES, ...GPUSHARE_AGENT_ROLES]);
}

async function install({ admin }: ControlPlane, files: readonly string[]): Promise<void> {
  for (const file of files) await applyManifests(admin, await readFile(join(DEPLOY, 'kustomize', file), 'utf8'));
}
