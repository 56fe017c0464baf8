// Every option of the node agent in one schema: type, default, flag, summary and what a good value looks like.
// Flags, environment variables, file keys, help and error texts are all derived from it; nothing else names an option.

import {
  address,
  boolean,
  file,
  integer,
  integers,
  LOG_LEVELS,
  MILLIS,
  oneOf,
  text,
  withDefault,
} from '../extender/config/option-kinds.ts';
import type { DefaultedOption, OptionalOption } from '../extender/config/option-kinds.ts';
import { optionSet } from '../extender/config/option-set.ts';
import type { OptionSchema, OptionSet } from '../extender/config/option-set.ts';
import type { LogLevel } from '../extender/logging.ts';
import { INVENTORY_SYNTAX } from './inventory/choose.ts';
import { HOST_PID_SETTINGS } from './load/pid-namespace.ts';
import type { HostPidSetting } from './load/pid-namespace.ts';

function absolutePath(description: string, flag?: string): OptionalOption<string> {
  const about = { description, expects: 'an absolute path', ...(flag === undefined ? {} : { flag }) };
  return text(about, /^\//);
}

function xidList(description: string): DefaultedOption<readonly number[]> {
  return integers(1, 999, { description, expects: 'a list of XIDs, for example [94, 95]' });
}

const SCHEMA: OptionSchema<AgentOptionValues> = {
  nodeName: text(
    {
      flag: '--node-name <name>',
      description: 'name of this Node in the API server (default: NODE_NAME)',
      expects: 'the name of a Node',
    },
    /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
  ),
  kubeconfig: file('--kubeconfig <file>', 'how to reach the API server (default: the service account of the pod)'),
  inventory: withDefault(
    text(
      {
        flag: '--inventory <source>',
        description: `where GPUs are read from: ${INVENTORY_SYNTAX}`,
        expects: INVENTORY_SYNTAX,
      },
      /^(auto|nvml|smi|file:.+)$/,
    ),
    'auto',
  ),
  kubeletDir: withDefault(
    absolutePath("the kubelet's folder of device plugins", '--kubelet-dir <folder>'),
    '/var/lib/kubelet/device-plugins',
  ),
  podResources: withDefault(
    absolutePath('where the kubelet says which container holds which slices', '--pod-resources <socket>'),
    '/var/lib/kubelet/pod-resources/kubelet.sock',
  ),
  cdiDir: withDefault(
    absolutePath('where the container runtime looks for CDI specs', '--cdi-dir <folder>'),
    '/var/run/cdi',
  ),
  stateDir: withDefault(
    absolutePath('where the agent keeps what it must know after a restart', '--state-dir <folder>'),
    '/var/lib/gpuloom',
  ),
  binding: withDefault(
    oneOf(['auto', 'cdi', 'env'], {
      flag: '--binding <way>',
      description:
        'how a container gets its GPU: cdi (exact), env (steered and verified), auto: cdi where the runtime is known to do it',
    }),
    'auto',
  ),
  unitMiB: integer(1, 1_048_576, 1_024, 'GPU memory of one slice; the same on all nodes', 'MiB', '--unit-mib <n>'),
  profile: withDefault(
    oneOf(['gpuloom', 'gpushare'], {
      flag: '--profile <name>',
      description: 'resource names, sockets and variables',
    }),
    'gpuloom',
  ),
  listen: address('--listen <host:port>', 'where probes, metrics and the load report are served', '127.0.0.1:12347'),
  check: withDefault(
    boolean({
      flag: '--check',
      description: 'print what is found on this node and what would stop the agent, and exit',
    }),
    false,
  ),
  logLevel: withDefault(
    oneOf(LOG_LEVELS, { flag: '--log-level <level>', description: 'least severe level that is logged' }),
    'info',
  ),
  isolation: withDefault(
    oneOf(['none', 'mps'], { description: 'what keeps containers within their share; pods can ask for it' }),
    'none',
  ),
  mpsPipeDirectory: absolutePath('pipe directory of the MPS control daemon on this node'),
  limiterLibrary: absolutePath('library on this node that is mounted into containers and preloaded there'),
  deviceNodes: withDefault(
    oneOf(['auto', 'none'], { description: 'whether CDI specs name the device files of the GPUs that are there' }),
    'auto',
  ),
  hostPids: withDefault(
    oneOf(HOST_PID_SETTINGS, {
      description: 'whether the agent counts processes as its node does: yes, no, auto: as the kernel says',
    }),
    'auto',
  ),
  xids: {
    add: xidList('XIDs that make a GPU unhealthy though they usually are faults of applications'),
    remove: xidList('XIDs that leave a GPU healthy besides those of applications'),
  },
  health: {
    probeIntervalMillis: integer(500, 600_000, 5_000, 'time between probes of the GPUs', MILLIS),
    cleanProbes: integer(1, 1_000, 6, 'clean probes in a row before a GPU is healthy again', 'probes'),
    leastUnhealthyMillis: integer(0, 86_400_000, 60_000, 'least time that a GPU stays unhealthy', MILLIS),
  },
  containerdConfig: withDefault(
    absolutePath('configuration of containerd, read to see whether it does CDI'),
    '/etc/containerd/config.toml',
  ),
};

/** Values after defaults, before they are given their final form. The compiler checks that there is an option for each. */
export interface AgentOptionValues {
  readonly nodeName?: string;
  readonly kubeconfig?: string;
  readonly inventory: string;
  readonly kubeletDir: string;
  readonly podResources: string;
  readonly cdiDir: string;
  readonly stateDir: string;
  readonly binding: 'auto' | 'cdi' | 'env';
  readonly unitMiB: number;
  readonly profile: 'gpuloom' | 'gpushare';
  readonly listen: string;
  readonly check: boolean;
  readonly logLevel: LogLevel;
  readonly isolation: 'none' | 'mps';
  readonly mpsPipeDirectory?: string;
  readonly limiterLibrary?: string;
  readonly deviceNodes: 'auto' | 'none';
  readonly hostPids: HostPidSetting;
  readonly xids: { readonly add: readonly number[]; readonly remove: readonly number[] };
  readonly health: {
    readonly probeIntervalMillis: number;
    readonly cleanProbes: number;
    readonly leastUnhealthyMillis: number;
  };
  readonly containerdConfig: string;
}

export function agentOptions(): OptionSet<AgentOptionValues> {
  return optionSet(SCHEMA);
}
