// The node agent's configuration: flags, environment and file as one checked value, by the same rules as the extender's.
// A pure function of its inputs.

import type { IsolationLevel } from '../extender/core/model.ts';
import type { ProfileName } from '../extender/core/resources.ts';
import { isLoopback, parseAddress } from '../extender/config/address.ts';
import type { Address } from '../extender/config/address.ts';
import { addressFindings, error, warning } from '../extender/config/finding.ts';
import type { Finding } from '../extender/config/finding.ts';
import { loadOptions } from '../extender/config/load.ts';
import type { ConfigInputs, Loaded, Program } from '../extender/config/load.ts';
import type { Setting } from '../extender/config/sources.ts';
import type { LogLevel } from '../extender/logging.ts';
import { agentOptions } from './config-options.ts';
import type { AgentOptionValues } from './config-options.ts';
import { DEFAULT_HEALTH_POLICY } from './health/state.ts';
import type { HealthPolicy } from './health/state.ts';
import type { XidSettings } from './health/xids.ts';
import type { HostPidSetting } from './load/pid-namespace.ts';

export interface AgentConfig {
  readonly nodeName: string;
  /** `undefined`: the service account of the pod. */
  readonly kubeconfig?: string;
  readonly inventory: string;
  readonly kubeletDir: string;
  readonly podResourcesSocket: string;
  readonly cdiDir: string;
  readonly stateDir: string;
  readonly binding: 'auto' | 'cdi' | 'env';
  readonly unitMiB: number;
  readonly profile: ProfileName;
  readonly listen: Address;
  /** Look at the node, say what was found, and end. */
  readonly check: boolean;
  readonly logLevel: LogLevel;
  readonly isolation: IsolationLevel;
  /** Always there with isolation `mps`. */
  readonly mpsPipeDirectory?: string;
  /** On the host; mounted into containers and preloaded there. */
  readonly limiterLibrary?: string;
  readonly deviceNodes: 'auto' | 'none';
  readonly hostPids: HostPidSetting;
  readonly xids: XidSettings;
  readonly probeIntervalMillis: number;
  readonly healthPolicy: HealthPolicy;
  readonly containerdConfig: string;
}

export type AgentConfigResult = Loaded<AgentConfig>;

const EXAMPLES = `
Every option can also be set in the environment (--unit-mib is GPULOOM_UNIT_MIB) and in the configuration file
(unitMiB: …). A flag wins over the environment, the environment over the file, the file over the default.
File and environment only: isolation, mpsPipeDirectory, limiterLibrary, deviceNodes, hostPids, xids, health,
containerdConfig.

Examples:
  # what would stop the agent on this node?
  gpuloom-device-plugin --node-name "$(hostname)" --check

  # in a DaemonSet, with NODE_NAME from the field spec.nodeName
  gpuloom-device-plugin --listen 0.0.0.0:12347

  # a node without GPUs that shows the ones a file describes
  gpuloom-device-plugin --node-name demo --kubeconfig ~/.kube/config --inventory file:gpus.yaml

  # in place of gpushare's plugin
  gpuloom-device-plugin --profile gpushare
`;

const PROGRAM: Program<AgentOptionValues, AgentConfig> = {
  name: 'gpuloom-device-plugin',
  description: 'Node agent: reports GPU slices to the kubelet and gives each container the GPU it was placed on.',
  examples: EXAMPLES,
  options: agentOptions(),
  surroundings: ({ env }) => {
    const nodeName = env['NODE_NAME'];
    return new Map<string, Setting>(nodeName ? [['nodeName', { value: nodeName, origin: 'NODE_NAME' }]] : []);
  },
  checkCombinations: (values) => [
    ...nodeFindings(values),
    ...listenFindings(values),
    ...isolationFindings(values),
    ...profileFindings(values),
    ...xidFindings(values),
  ],
  toConfig,
};

export function loadAgentConfig(inputs: ConfigInputs): AgentConfigResult {
  return loadOptions(PROGRAM, inputs);
}

function nodeFindings({ nodeName }: AgentOptionValues): Finding[] {
  if (nodeName !== undefined) return [];
  const advice = 'the name of this node is not known; add --node-name, or set NODE_NAME from the field spec.nodeName';
  return [error(['nodeName'], advice)];
}

function listenFindings({ listen }: AgentOptionValues): Finding[] {
  const address = parseAddress(listen);
  if (address === undefined) return addressFindings('listen', listen, '127.0.0.1:12347');
  if (isLoopback(address.host)) return [];
  return [warning(['listen'], `${listen} shows pods and their load to any caller; restrict it with a NetworkPolicy`)];
}

function isolationFindings({ isolation, mpsPipeDirectory }: AgentOptionValues): Finding[] {
  const findings: Finding[] = [];
  if (isolation === 'mps' && mpsPipeDirectory === undefined) {
    const advice = 'mps needs the pipe directory of its control daemon; set mpsPipeDirectory, usually /tmp/nvidia-mps';
    findings.push(error(['isolation', 'mpsPipeDirectory'], advice));
  }
  if (isolation !== 'mps' && mpsPipeDirectory !== undefined) {
    findings.push(warning(['mpsPipeDirectory', 'isolation'], 'has no effect without isolation: mps'));
  }
  return findings;
}

const GPUSHARE_UNITS_MIB: readonly number[] = [1, 1024];

function profileFindings({ profile, unitMiB }: AgentOptionValues): Finding[] {
  if (profile !== 'gpushare' || GPUSHARE_UNITS_MIB.includes(unitMiB)) return [];
  const advice = `${unitMiB}: programs written for gpushare count in GiB (1024) or MiB (1)`;
  return [warning(['unitMiB', 'profile'], advice)];
}

function xidFindings({ xids }: AgentOptionValues): Finding[] {
  const both = xids.add.filter((xid) => xids.remove.includes(xid));
  if (both.length === 0) return [];
  return [error(['xids.add', 'xids.remove'], `${both.join(', ')} is in xids.remove too; take it out of one of them`)];
}

function toConfig(values: AgentOptionValues): AgentConfig | undefined {
  const { nodeName, listen: _, podResources, xids, health, ...rest } = values;
  const listen = parseAddress(values.listen);
  if (nodeName === undefined || listen === undefined) return undefined;
  const { probeIntervalMillis, cleanProbes, leastUnhealthyMillis } = health;
  return {
    ...rest,
    nodeName,
    listen,
    podResourcesSocket: podResources,
    xids: { heed: xids.add, ignore: xids.remove },
    probeIntervalMillis,
    healthPolicy: { ...DEFAULT_HEALTH_POLICY, cleanProbes, leastUnhealthyMillis },
  };
}
