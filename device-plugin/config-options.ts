// Every option of the node agent in one schema: type, default, flag, summary and what a good value looks like.
// Flags, environment variables, file keys, help and error texts are all derived from it; nothing else names an option.

import { Type } from 'typebox';
import type { TOptional, TString } from 'typebox';
import { address, file, integer, LOG_LEVELS, MILLIS, oneOf } from '../extender/config/option-kinds.ts';
import { optionSet } from '../extender/config/option-set.ts';
import type { OptionSet } from '../extender/config/option-set.ts';
import type { LogLevel } from '../extender/logging.ts';
import { INVENTORY_SYNTAX } from './inventory/choose.ts';

const ABSOLUTE = { pattern: '^/', expects: 'an absolute path' };

function path(flag: string, description: string, value: string): TString {
  return Type.String({ flag, description, default: value, ...ABSOLUTE });
}

function hostPath(description: string): TOptional<TString> {
  return Type.Optional(Type.String({ description, ...ABSOLUTE }));
}

function xidList(description: string) {
  return Type.Array(Type.Integer({ minimum: 1, maximum: 999 }), {
    description,
    default: [],
    expects: 'a list of XIDs, for example [94, 95]',
  });
}

const schema = Type.Object({
  nodeName: Type.Optional(
    Type.String({
      flag: '--node-name <name>',
      description: 'name of this Node in the API server (default: NODE_NAME)',
      pattern: '^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$',
      expects: 'the name of a Node',
    }),
  ),
  kubeconfig: file('--kubeconfig <file>', 'how to reach the API server (default: the service account of the pod)'),
  inventory: Type.String({
    flag: '--inventory <source>',
    description: `where GPUs are read from: ${INVENTORY_SYNTAX}`,
    default: 'auto',
    pattern: '^(auto|nvml|smi|file:.+)$',
    expects: INVENTORY_SYNTAX,
  }),
  kubeletDir: path(
    '--kubelet-dir <folder>',
    "the kubelet's folder of device plugins",
    '/var/lib/kubelet/device-plugins',
  ),
  podResources: path(
    '--pod-resources <socket>',
    'where the kubelet says which container holds which slices',
    '/var/lib/kubelet/pod-resources/kubelet.sock',
  ),
  cdiDir: path('--cdi-dir <folder>', 'where the container runtime looks for CDI specs', '/var/run/cdi'),
  binding: oneOf(['auto', 'cdi', 'env'], {
    flag: '--binding <way>',
    description:
      'how a container gets its GPU: cdi (exact), env (steered and verified), auto: cdi where the runtime is known to do it',
    default: 'auto',
  }),
  unitMiB: integer(1, 1_048_576, 1_024, 'GPU memory of one slice; the same on all nodes', 'MiB', '--unit-mib <n>'),
  profile: oneOf(['gpuloom', 'gpushare'], {
    flag: '--profile <name>',
    description: 'resource names, sockets and variables',
    default: 'gpuloom',
  }),
  listen: address('--listen <host:port>', 'where probes, metrics and the load report are served', '127.0.0.1:12347'),
  check: Type.Boolean({
    flag: '--check',
    description: 'print what is found on this node and what would stop the agent, and exit',
    default: false,
    expects: 'true or false',
  }),
  logLevel: oneOf(LOG_LEVELS, {
    flag: '--log-level <level>',
    description: 'least severe level that is logged',
    default: 'info',
  }),
  isolation: oneOf(['none', 'mps'], {
    description: 'what keeps containers within their share; pods can ask for it',
    default: 'none',
  }),
  mpsPipeDirectory: hostPath('pipe directory of the MPS control daemon on this node'),
  limiterLibrary: hostPath('library on this node that is mounted into containers and preloaded there'),
  deviceNodes: oneOf(['auto', 'none'], {
    description: 'whether CDI specs name the device files of the GPUs that are there',
    default: 'auto',
  }),
  xids: Type.Object({
    add: xidList('XIDs that make a GPU unhealthy though they usually are faults of applications'),
    remove: xidList('XIDs that leave a GPU healthy besides those of applications'),
  }),
  health: Type.Object({
    probeIntervalMillis: integer(500, 600_000, 5_000, 'time between probes of the GPUs', MILLIS),
    cleanProbes: integer(1, 1_000, 6, 'clean probes in a row before a GPU is healthy again', 'probes'),
    leastUnhealthyMillis: integer(0, 86_400_000, 60_000, 'least time that a GPU stays unhealthy', MILLIS),
  }),
  containerdConfig: Type.String({
    description: 'configuration of containerd, read to see whether it does CDI',
    default: '/etc/containerd/config.toml',
    ...ABSOLUTE,
  }),
});

/** Values after defaults, before they are given their final form. Mirrors the schema; the compiler checks that it does. */
export interface AgentOptionValues {
  readonly nodeName?: string;
  readonly kubeconfig?: string;
  readonly inventory: string;
  readonly kubeletDir: string;
  readonly podResources: string;
  readonly cdiDir: string;
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
  readonly xids: { readonly add: readonly number[]; readonly remove: readonly number[] };
  readonly health: {
    readonly probeIntervalMillis: number;
    readonly cleanProbes: number;
    readonly leastUnhealthyMillis: number;
  };
  readonly containerdConfig: string;
}

export function agentOptions(): OptionSet<AgentOptionValues> {
  return optionSet(schema);
}
