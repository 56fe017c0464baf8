// Every option of the extender in one schema: type, default, flag, summary and what a good value looks like.
// Flags, environment variables, file keys, help and error texts are all derived from it; nothing else names an option.

import { DEFAULT_LIMITS, type GpuLimits } from '../core/limits.ts';
import { DEFAULT_ROOM_WEIGHTS, ROOM_WEIGHT_RANGES, type RoomWeights } from '../core/room-weights.ts';
import type { LogLevel } from '../logging.ts';
import {
  address,
  boolean,
  decimal,
  file,
  integer,
  list,
  LOG_LEVELS,
  MILLIS,
  oneOf,
  text,
  withDefault,
} from './option-kinds.ts';
import type { DefaultedOption } from './option-kinds.ts';
import { optionSet } from './option-set.ts';
import type { OptionSchema, OptionSet } from './option-set.ts';

const SCHEMA: OptionSchema<OptionValues> = {
  cluster: oneOf(['kube', 'embedded'], {
    flag: '--cluster <kind>',
    description: 'kube: a real API server; embedded: an in-process one for demos and tests (default: decided at start)',
  }),
  kubeconfig: file('--kubeconfig <file>', 'how to reach the API server (default: in-cluster, then ~/.kube/config)'),
  listen: address('--listen <host:port>', 'where kube-scheduler calls the verbs', '127.0.0.1:12345'),
  ops: address('--ops <host:port>', 'where probes, metrics and explanations are served', '127.0.0.1:12346'),
  profile: withDefault(
    oneOf(['gpuloom', 'gpushare'], { flag: '--profile <name>', description: 'resource names and annotations' }),
    'gpuloom',
  ),
  policy: withDefault(
    oneOf(['fragmentation', 'binpack', 'spread', 'topology'], {
      flag: '--policy <name>',
      description: 'placement policy for pods that ask for none',
    }),
    'fragmentation',
  ),
  ranking: withDefault(
    oneOf(['decisive', 'advisory'], {
      flag: '--ranking <mode>',
      description: 'decisive: the best node alone has the top score; advisory: let other scores weigh in',
    }),
    'decisive',
  ),
  narrow: integer(0, 100_000, 32, 'filter hands back only the best K nodes; 0 = all', 'nodes', '--narrow <K>'),
  tlsCert: file('--tls-cert <file>', 'certificate of the verbs listener (PEM)'),
  tlsKey: file('--tls-key <file>', 'key of that certificate (PEM)'),
  clientCa: file('--client-ca <file>', 'CA that clients of the verbs listener must have a certificate of (PEM)'),
  clientNames: list({
    flag: '--client-name <name>',
    description: 'common or alternative name that a client certificate must carry; repeatable (default: any of the CA)',
    expects: 'a list of names, for example system:kube-scheduler',
  }),
  insecureListen: withDefault(
    boolean({
      flag: '--insecure-listen',
      description: 'allow a verbs listener without TLS on an address other than loopback',
    }),
    false,
  ),
  leaderElection: boolean({
    flag: '--no-leader-election',
    description: 'run without a Lease: a single replica only (default: on with kube, off with embedded)',
  }),
  publishEndpoint: text(
    {
      flag: '--publish-endpoint <service>',
      description:
        'while leading, make this pod the only endpoint of that Service, which must have no selector; a standby is ' +
        'then Ready at /readyz?standby=ok (default: off)',
      expects: 'the name of a Service',
    },
    /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/,
  ),
  podIp: text(
    { description: 'address of this pod, for --publish-endpoint (default: POD_IP)', expects: 'an IP address' },
    /^.{2,45}$/s,
  ),
  logLevel: withDefault(
    oneOf(LOG_LEVELS, { flag: '--log-level <level>', description: 'least severe level that is logged' }),
    'info',
  ),
  leaseNamespace: withDefault(
    text(
      {
        description: 'namespace of the Lease (default: the namespace of the pod, else gpuloom-system)',
        expects: 'a namespace name',
      },
      /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    ),
    'gpuloom-system',
  ),
  leaseName: withDefault(
    text({ description: 'name of the Lease', expects: 'an object name' }, /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/),
    'gpuloom-extender',
  ),
  identity: text(
    {
      description: 'holder name in the Lease, different for every replica (default: the pod or host name)',
      expects: 'a name of at most 253 characters',
    },
    /^.{1,253}$/s,
  ),
  bindTimeoutMillis: integer(100, 60_000, 3_000, 'how long one Binding call may take', MILLIS),
  // API servers send a bookmark about once a minute, and a silent stream is replaced after a little over two.
  staleAfterMillis: integer(1_000, 3_600_000, 180_000, 'silence of a watch after which verbs answer an error', MILLIS),
  reservationHoldMillis: integer(
    1_000,
    3_600_000,
    90_000,
    'how long a reservation with an unknown outcome is held before a live read may free it',
    MILLIS,
  ),
  bodyLimitMiB: integer(1, 512, 64, 'largest request body', 'MiB'),
  mixWindow: integer(
    16,
    1_000_000,
    4_096,
    'recent requests that make up the typical mix for fragmentation',
    'requests',
  ),
  limits: {
    batchBesideOnline: integer(
      0,
      64,
      DEFAULT_LIMITS.batchBesideOnline,
      'batch pods on a GPU that hosts online pods',
      'pods',
    ),
    batchShareBesideOnlinePercent: integer(
      0,
      100,
      DEFAULT_LIMITS.batchShareBesideOnlinePercent,
      'GPU memory that batch may use beside online',
      'percent',
    ),
    batchPerGpu: integer(0, 256, DEFAULT_LIMITS.batchPerGpu, 'batch pods on one GPU', 'pods'),
    podsPerGpu: integer(1, 256, DEFAULT_LIMITS.podsPerGpu, 'pods on one GPU', 'pods'),
  },
  weights: {
    gpuCountExponent: weight('gpuCountExponent', 'a pod of n GPUs counts n to this power in the policy fragmentation'),
    cpuWeight: weight('cpuWeight', 'share of pods with room on GPUs, but not in CPU, that counts as lost'),
    stepPods: weight('stepPods', 'losses of room less than this apart are equal, in weighted pods'),
  },
};

/** Values after defaults, before they are given their final form. The compiler checks that there is an option for each. */
export interface OptionValues {
  readonly cluster?: 'kube' | 'embedded';
  readonly kubeconfig?: string;
  readonly listen: string;
  readonly ops: string;
  readonly profile: 'gpuloom' | 'gpushare';
  readonly policy: 'fragmentation' | 'binpack' | 'spread' | 'topology';
  readonly ranking: 'decisive' | 'advisory';
  readonly narrow: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly clientNames: readonly string[];
  readonly insecureListen: boolean;
  readonly leaderElection?: boolean;
  readonly publishEndpoint?: string;
  readonly podIp?: string;
  readonly logLevel: LogLevel;
  readonly leaseNamespace: string;
  readonly leaseName: string;
  readonly identity?: string;
  readonly bindTimeoutMillis: number;
  readonly staleAfterMillis: number;
  readonly reservationHoldMillis: number;
  readonly bodyLimitMiB: number;
  readonly mixWindow: number;
  readonly limits: GpuLimits;
  readonly weights: RoomWeights;
}

function weight(name: keyof RoomWeights, description: string): DefaultedOption<number> {
  const { minimum, maximum } = ROOM_WEIGHT_RANGES[name];
  return decimal(minimum, maximum, DEFAULT_ROOM_WEIGHTS[name], description);
}

export function extenderOptions(): OptionSet<OptionValues> {
  return optionSet(SCHEMA);
}
