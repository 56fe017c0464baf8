// What an agent is started with. Types only.

import type { IsolationLevel } from '../extender/core/model.ts';
import type { ProfileName } from '../extender/core/resources.ts';
import type { KubeApi } from '../extender/kube/kube-api.ts';
import type { CdiMount } from './binding/cdi-spec.ts';
import type { HealthPolicy } from './health/state.ts';
import type { XidSettings } from './health/xids.ts';
import type { InventorySource } from './inventory/source.ts';
import type { HostPidSetting } from './load/pid-namespace.ts';
import type { MpsWatchPolicy } from './mps/watch.ts';

export interface AgentLog {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export interface AgentOptions {
  readonly nodeName: string;
  readonly profile: ProfileName;
  readonly source: InventorySource;
  readonly api: KubeApi;
  readonly kubeletDir: string;
  readonly podResourcesSocket: string;
  readonly cdiDir: string;
  /** Where what must outlive the agent is kept; without it every start is a first one. */
  readonly stateDir?: string;
  /** How the source was chosen: GPUs of another choice are none that went missing. */
  readonly inventory?: string;
  readonly binding: 'cdi' | 'env';
  readonly unitMiB: number;
  readonly isolation: IsolationLevel;
  readonly mpsPipeDirectory?: string;
  /** How often the MPS control daemon is looked at, and when its absence counts. */
  readonly mpsWatch?: MpsWatchPolicy;
  readonly mounts?: readonly CdiMount[];
  /** Environment that every container gets besides its own, such as LD_PRELOAD of a limiter. */
  readonly commonEnv?: Readonly<Record<string, string>>;
  readonly deviceNodes: 'auto' | 'none';
  readonly healthPolicy?: HealthPolicy;
  readonly probeIntervalMillis?: number;
  readonly xids?: XidSettings;
  readonly procRoot?: string;
  /** Whether process ids are the node's: `auto` asks the kernel. */
  readonly hostPids?: HostPidSetting;
  readonly listen: { readonly host: string; readonly port: number };
  readonly log: AgentLog;
}
