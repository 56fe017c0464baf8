// Every option of the extender in one schema: type, default, flag, summary and what a good value looks like.
// Flags, environment variables, file keys, help and error texts are all derived from it; nothing else names an option.

import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { TEnum, TSchema } from 'typebox';
import type { LogLevel } from '../logging.ts';

const HOST_PORT = 'HOST:PORT, for example 127.0.0.1:12345 or [::1]:12345';
const FILE = 'the path of a file';
const MILLIS = 'whole milliseconds';

function address(flag: string, description: string, value: string) {
  return Type.String({ flag, description, default: value, expects: HOST_PORT });
}

function file(flag: string, description: string) {
  return Type.Optional(Type.String({ flag, description, minLength: 1, expects: FILE }));
}

function oneOf<const Values extends string[]>(values: readonly [...Values], options: object): TEnum<Values> {
  return Type.Enum(values, { ...options, expects: `one of ${values.join(', ')}` });
}

function integer(minimum: number, maximum: number, value: number, description: string, unit = '', flag?: string) {
  const expects = `a whole number${unit === '' ? '' : ` of ${unit}`} from ${minimum} to ${maximum}`;
  return Type.Integer({
    minimum,
    maximum,
    default: value,
    description,
    expects,
    ...(flag === undefined ? {} : { flag }),
  });
}

const schema = Type.Object({
  cluster: Type.Optional(
    oneOf(['kube', 'embedded'], {
      flag: '--cluster <kind>',
      description:
        'kube: a real API server; embedded: an in-process one for demos and tests (default: decided at start)',
    }),
  ),
  kubeconfig: file('--kubeconfig <file>', 'how to reach the API server (default: in-cluster, then ~/.kube/config)'),
  listen: address('--listen <host:port>', 'where kube-scheduler calls the verbs', '127.0.0.1:12345'),
  ops: address('--ops <host:port>', 'where probes, metrics and explanations are served', '127.0.0.1:12346'),
  profile: oneOf(['gpuloom', 'gpushare'], {
    flag: '--profile <name>',
    description: 'resource names and annotations',
    default: 'gpuloom',
  }),
  policy: oneOf(['fragmentation', 'binpack', 'spread', 'topology'], {
    flag: '--policy <name>',
    description: 'placement policy for pods that ask for none',
    default: 'fragmentation',
  }),
  ranking: oneOf(['decisive', 'advisory'], {
    flag: '--ranking <mode>',
    description: 'decisive: the best node alone has the top score; advisory: let other scores weigh in',
    default: 'decisive',
  }),
  narrow: integer(0, 100_000, 32, 'filter hands back only the best K nodes; 0 = all', 'nodes', '--narrow <K>'),
  tlsCert: file('--tls-cert <file>', 'certificate of the verbs listener (PEM)'),
  tlsKey: file('--tls-key <file>', 'key of that certificate (PEM)'),
  clientCa: file('--client-ca <file>', 'CA that clients of the verbs listener must have a certificate of (PEM)'),
  clientNames: Type.Array(Type.String({ minLength: 1 }), {
    flag: '--client-name <name>',
    description: 'common or alternative name that a client certificate must carry; repeatable (default: any of the CA)',
    default: [],
    expects: 'a list of names, for example system:kube-scheduler',
  }),
  insecureListen: Type.Boolean({
    flag: '--insecure-listen',
    description: 'allow a verbs listener without TLS on an address other than loopback',
    default: false,
    expects: 'true or false',
  }),
  leaderElection: Type.Optional(
    Type.Boolean({
      flag: '--no-leader-election',
      description: 'run without a Lease: a single replica only (default: on with kube, off with embedded)',
      expects: 'true or false',
    }),
  ),
  publishEndpoint: Type.Optional(
    Type.String({
      flag: '--publish-endpoint <service>',
      description:
        'while leading, make this pod the only endpoint of that Service, which must have no selector; a standby is ' +
        'then Ready at /readyz?standby=ok (default: off)',
      pattern: '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$',
      expects: 'the name of a Service',
    }),
  ),
  podIp: Type.Optional(
    Type.String({
      description: 'address of this pod, for --publish-endpoint (default: POD_IP)',
      minLength: 2,
      maxLength: 45,
      expects: 'an IP address',
    }),
  ),
  logLevel: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    flag: '--log-level <level>',
    description: 'least severe level that is logged',
    default: 'info',
  }),
  leaseNamespace: Type.String({
    description: 'namespace of the Lease (default: the namespace of the pod, else gpuloom-system)',
    default: 'gpuloom-system',
    pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
    expects: 'a namespace name',
  }),
  leaseName: Type.String({
    description: 'name of the Lease',
    default: 'gpuloom-extender',
    pattern: '^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$',
    expects: 'an object name',
  }),
  identity: Type.Optional(
    Type.String({
      description: 'holder name in the Lease, different for every replica (default: the pod or host name)',
      minLength: 1,
      maxLength: 253,
      expects: 'a name of at most 253 characters',
    }),
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
  limits: Type.Object({
    batchBesideOnline: integer(0, 64, 1, 'batch pods on a GPU that hosts online pods', 'pods'),
    batchShareBesideOnlinePercent: integer(0, 100, 50, 'GPU memory that batch may use beside online', 'percent'),
    batchPerGpu: integer(0, 256, 4, 'batch pods on one GPU', 'pods'),
    podsPerGpu: integer(1, 256, 16, 'pods on one GPU', 'pods'),
  }),
});

/** Values after defaults, before they are given their final form. Mirrors the schema; the compiler checks that it does. */
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
  readonly limits: CoLocationLimits;
}

/** Bounds on what may share one GPU. */
export interface CoLocationLimits {
  readonly batchBesideOnline: number;
  readonly batchShareBesideOnlinePercent: number;
  readonly batchPerGpu: number;
  readonly podsPerGpu: number;
}

export interface OptionSpec {
  /** Dotted path in the configuration file, such as `limits.batchPerGpu`. */
  readonly path: string;
  readonly env: string;
  /** commander notation, such as `--listen <host:port>`. */
  readonly flag: string | undefined;
  readonly description: string;
  readonly expects: string;
  readonly kind: 'text' | 'integer' | 'boolean' | 'list';
  readonly choices: readonly string[];
  readonly fallback: unknown;
}

export const CONFIG_ENV = 'GPULOOM_CONFIG';

export type CheckedOptions =
  | { readonly kind: 'values'; readonly values: OptionValues }
  | { readonly kind: 'faults'; readonly faults: readonly OptionFault[] };

export interface OptionFault {
  readonly path: string;
  readonly message: string;
}

/** Checks a complete tree of values against the schema and reports every fault, one per option. */
export function checkOptions(tree: unknown): CheckedOptions {
  const validator = Compile(schema);
  if (validator.Check(tree)) return { kind: 'values', values: tree };
  const faults = new Map<string, string>();
  for (const error of validator.Errors(tree)) {
    const path = error.instancePath.slice(1).replaceAll('/', '.');
    if (!faults.has(path)) faults.set(path, error.message);
  }
  return { kind: 'faults', faults: [...faults].map(([path, message]) => ({ path, message })) };
}

export function listOptions(): readonly OptionSpec[] {
  return walk(schema.properties, '');
}

function walk(properties: object, prefix: string): OptionSpec[] {
  const specs: OptionSpec[] = [];
  for (const [key, value] of Object.entries(properties)) {
    const option = value as LooseSchema;
    if (option.properties === undefined) specs.push(describe(prefix + key, option));
    else specs.push(...walk(option.properties, `${prefix}${key}.`));
  }
  return specs;
}

/** What the schemas above carry, read back at run time. */
interface LooseSchema extends TSchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly properties?: object;
  readonly default?: unknown;
  readonly flag?: string;
  readonly description?: string;
  readonly expects?: string;
}

function describe(path: string, option: LooseSchema): OptionSpec {
  const kinds = new Map<string | undefined, OptionSpec['kind']>([
    ['integer', 'integer'],
    ['boolean', 'boolean'],
    ['array', 'list'],
  ]);
  return {
    path,
    env: `GPULOOM_${path
      .replace('MiB', 'Mib')
      .replaceAll(/[A-Z]+(?![a-z])|[A-Z]/g, '_$&')
      .replaceAll('.', '_')
      .toUpperCase()}`,
    flag: option.flag,
    description: option.description ?? '',
    expects: option.expects ?? '',
    kind: kinds.get(option.type) ?? 'text',
    choices: option.enum ?? [],
    fallback: option.default,
  };
}
