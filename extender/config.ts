// The extender's configuration: flags, environment and file as one checked value. What is common to all programs is in
// ./config/load.ts. A pure function of its inputs.

import { parseAddress } from './config/address.ts';
import type { Address } from './config/address.ts';
import { checkCombinations } from './config/checks.ts';
import { loadOptions } from './config/load.ts';
import type { ConfigInputs, Loaded, Program } from './config/load.ts';
import { extenderOptions } from './config/options.ts';
import type { OptionValues } from './config/options.ts';
import type { GpuLimits } from './core/limits.ts';
import type { RoomWeights } from './core/room-weights.ts';
import type { Setting } from './config/sources.ts';

export type { Address } from './config/address.ts';
export type { ConfigInputs } from './config/load.ts';

export interface ServingTlsConfig {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile?: string;
  readonly clientNames: readonly string[];
}

/** The leader makes itself the only endpoint of this Service, in the namespace of the Lease. */
export interface PublishConfig {
  readonly service: string;
  readonly podIp: string;
}

export interface ExtenderConfig extends Pick<
  OptionValues,
  | 'profile'
  | 'policy'
  | 'ranking'
  | 'narrow'
  | 'insecureListen'
  | 'logLevel'
  | 'leaseNamespace'
  | 'leaseName'
  | 'bindTimeoutMillis'
  | 'staleAfterMillis'
  | 'reservationHoldMillis'
  | 'bodyLimitMiB'
  | 'mixWindow'
> {
  /** `undefined`: decided at start. */
  readonly cluster?: 'kube' | 'embedded';
  readonly kubeconfig?: string;
  readonly listen: Address;
  readonly ops: Address;
  readonly tls?: ServingTlsConfig;
  /** `undefined`: on with kube, off with embedded; see `leaderElectionFor`. */
  readonly leaderElection?: boolean;
  readonly publish?: PublishConfig;
  /** `undefined`: the caller chooses a name unique to this process. */
  readonly identity?: string;
  readonly limits: GpuLimits;
  /** Of the policy `fragmentation`. */
  readonly weights: RoomWeights;
}

export type ConfigResult = Loaded<ExtenderConfig>;

const EXAMPLES = `
Every option can also be set in the environment (--tls-cert is GPULOOM_TLS_CERT) and in the configuration file
(tlsCert: …). A flag wins over the environment, the environment over the file, the file over the default.

Examples:
  # try it on this machine, with an API server inside the process
  gpuloom-extender --cluster embedded

  # beside kube-scheduler on a control-plane node
  gpuloom-extender --cluster kube --kubeconfig /etc/kubernetes/scheduler.conf

  # as a Service: mutual TLS, only kube-scheduler may call
  gpuloom-extender --listen 0.0.0.0:12345 --ops 0.0.0.0:12346 --tls-cert tls.crt --tls-key tls.key \\
    --client-ca ca.crt --client-name system:kube-scheduler

  # take over from gpushare without touching a pod
  gpuloom-extender --profile gpushare

  # place by other weights of the policy fragmentation: weights: {gpuCountExponent, cpuWeight, stepPods} in the file,
  # as "gpuloom-simulator tune" prints them
  gpuloom-extender --config tuned.yaml
`;

const POD_NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

const PROGRAM: Program<OptionValues, ExtenderConfig> = {
  name: 'gpuloom-extender',
  description: 'Scheduler extender that lets a stock kube-scheduler share GPUs.',
  examples: EXAMPLES,
  options: extenderOptions(),
  surroundings: readSurroundings,
  checkCombinations,
  toConfig,
};

export function loadConfig(inputs: ConfigInputs): ConfigResult {
  return loadOptions(PROGRAM, inputs);
}

/** Whether to elect a leader, once it is known which kind of cluster it is. */
export function leaderElectionFor(config: ExtenderConfig, cluster: 'kube' | 'embedded'): boolean {
  return cluster === 'kube' && config.leaderElection !== false;
}

/** What the pod knows about itself. */
function readSurroundings({ env, readFile }: ConfigInputs): ReadonlyMap<string, Setting> {
  const settings = new Map<string, Setting>();
  const namespace = env['POD_NAMESPACE'] || mountedNamespace(readFile);
  if (namespace) settings.set('leaseNamespace', { value: namespace, origin: 'the namespace of the pod' });
  const identity = env['POD_NAME'] || env['HOSTNAME'];
  if (identity) settings.set('identity', { value: identity, origin: 'the name of the pod or host' });
  const podIp = env['POD_IP'];
  if (podIp) settings.set('podIp', { value: podIp, origin: 'POD_IP' });
  return settings;
}

function mountedNamespace(readFile: ConfigInputs['readFile']): string | undefined {
  try {
    return readFile(POD_NAMESPACE_FILE).trim();
  } catch {
    // Not in a pod: the schema's default applies.
    return undefined;
  }
}

function toConfig(values: OptionValues): ExtenderConfig | undefined {
  const { listen: _, ops: __, tlsCert, tlsKey, clientCa, clientNames, publishEndpoint, podIp, ...others } = values;
  const publishes = publishEndpoint !== undefined && podIp !== undefined;
  const rest = publishes ? { ...others, publish: { service: publishEndpoint, podIp } } : others;
  const listen = parseAddress(values.listen);
  const ops = parseAddress(values.ops);
  if (listen === undefined || ops === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) return { ...rest, listen, ops };
  const tls: ServingTlsConfig = {
    certFile: tlsCert,
    keyFile: tlsKey,
    clientNames,
    ...(clientCa === undefined ? {} : { clientCaFile: clientCa }),
  };
  return { ...rest, listen, ops, tls };
}
