// Turns flags, environment and file into one checked configuration, or into the complete list of what is wrong with them.
// A pure function of its inputs: it reads no process state and exits nowhere. Precedence: flag, environment, file, default.

import { checkCombinations, parseAddress } from './config/checks.ts';
import type { Address } from './config/checks.ts';
import { checkOptions, CONFIG_ENV, listOptions } from './config/options.ts';
import type { CoLocationLimits, OptionFault, OptionSpec, OptionValues } from './config/options.ts';
import { readEnvironment, readFlags, readYaml } from './config/sources.ts';
import type { Layer, Setting } from './config/sources.ts';
import { didYouMean } from './config/suggest.ts';
import { isSecretKey, scrubText } from './logging.ts';

export type { Address } from './config/checks.ts';
export type { CoLocationLimits } from './config/options.ts';

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
  readonly limits: CoLocationLimits;
}

export interface ConfigInputs {
  /** Arguments after the program name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Returns the text of a file; throws when it cannot. */
  readonly readFile: (path: string) => string;
  readonly version: string;
}

export type ConfigResult =
  | {
      readonly kind: 'config';
      readonly config: ExtenderConfig;
      readonly warnings: readonly string[];
      /** The effective values as YAML, each with the place it came from, secrets redacted. */
      readonly effective: string;
    }
  | { readonly kind: 'errors'; readonly errors: readonly string[] }
  | { readonly kind: 'help' | 'version'; readonly text: string };

const POD_NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

export function loadConfig(inputs: ConfigInputs): ConfigResult {
  const specs = listOptions();
  const flags = readFlags(inputs.argv, specs);
  if (flags.help) return { kind: 'help', text: flags.helpText };
  if (flags.version) return { kind: 'version', text: inputs.version };
  const layers = [
    flags,
    readEnvironment(inputs.env, specs),
    readFileLayer(inputs, flags.configFile ?? inputs.env[CONFIG_ENV], specs),
    readSurroundings(inputs),
  ];
  const settings = merge(layers, specs);
  const errors = layers.flatMap((layer) => layer.errors);
  const { values, faults } = checkAll(settings, specs);
  errors.push(...faults.map(({ path, message }) => explainFault(path, message, settings, specs)));
  const findings = values === undefined ? [] : combinationFindings(values, faults, settings);
  errors.push(...findings.filter(({ severity }) => severity === 'error').map(({ text }) => text));
  const config = values === undefined ? undefined : toConfig(values);
  if (errors.length > 0 || config === undefined) return { kind: 'errors', errors };
  const warnings = findings.filter(({ severity }) => severity === 'warning').map(({ text }) => text);
  return {
    kind: 'config',
    config,
    warnings: [...layers.flatMap((layer) => layer.warnings), ...warnings],
    effective: render(settings, specs),
  };
}

interface CheckedSettings {
  readonly values: OptionValues | undefined;
  readonly faults: readonly OptionFault[];
}

/** Options at fault fall back to their defaults, so that what remains can still be checked in the same run. */
function checkAll(settings: ReadonlyMap<string, Setting>, specs: readonly OptionSpec[]): CheckedSettings {
  const checked = checkOptions(toTree(settings));
  if (checked.kind === 'values') return { values: checked.values, faults: [] };
  const sound = new Map(settings);
  for (const { path, fallback } of specs) {
    if (!checked.faults.some((fault) => concerns(fault, path))) continue;
    if (fallback === undefined) sound.delete(path);
    else sound.set(path, { value: fallback, origin: path });
  }
  const repaired = checkOptions(toTree(sound));
  return { values: repaired.kind === 'values' ? repaired.values : undefined, faults: checked.faults };
}

function concerns(fault: OptionFault, path: string): boolean {
  // A fault inside a list has the index at the end of its path.
  return fault.path === path || fault.path.startsWith(`${path}.`);
}

function combinationFindings(
  values: OptionValues,
  faults: readonly OptionFault[],
  settings: ReadonlyMap<string, Setting>,
): { readonly severity: 'error' | 'warning'; readonly text: string }[] {
  return checkCombinations(values)
    .filter(({ involves }) => !involves.some((path) => faults.some((fault) => concerns(fault, path))))
    .map(({ severity, involves: [path], message }) => ({
      severity,
      text: `${settings.get(path)?.origin ?? path}: ${message}`,
    }));
}

/** Whether to elect a leader, once it is known which kind of cluster it is. */
export function leaderElectionFor(config: ExtenderConfig, cluster: 'kube' | 'embedded'): boolean {
  return cluster === 'kube' && config.leaderElection !== false;
}

const EMPTY: Layer = { settings: new Map(), errors: [], warnings: [] };

function readFileLayer(inputs: ConfigInputs, file: string | undefined, specs: readonly OptionSpec[]): Layer {
  if (file === undefined || file === '') return EMPTY;
  try {
    return readYaml(inputs.readFile(file), file, specs);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ...EMPTY, errors: [`${file}: the configuration file cannot be read: ${reason}; check --config`] };
  }
}

/** Weaker than everything a person wrote: what the pod knows about itself. */
function readSurroundings({ env, readFile }: ConfigInputs): Layer {
  const settings = new Map<string, Setting>();
  const namespace = env['POD_NAMESPACE'] || mountedNamespace(readFile);
  if (namespace) settings.set('leaseNamespace', { value: namespace, origin: 'the namespace of the pod' });
  const identity = env['POD_NAME'] || env['HOSTNAME'];
  if (identity) settings.set('identity', { value: identity, origin: 'the name of the pod or host' });
  const podIp = env['POD_IP'];
  if (podIp) settings.set('podIp', { value: podIp, origin: 'POD_IP' });
  return { ...EMPTY, settings };
}

function mountedNamespace(readFile: ConfigInputs['readFile']): string | undefined {
  try {
    return readFile(POD_NAMESPACE_FILE).trim();
  } catch {
    // Not in a pod: the schema's default applies.
    return undefined;
  }
}

function merge(layers: readonly Layer[], specs: readonly OptionSpec[]): ReadonlyMap<string, Setting> {
  const merged = new Map<string, Setting>();
  for (const { path, fallback } of specs) {
    const setting = layers.map((layer) => layer.settings.get(path)).find((found) => found !== undefined);
    if (setting !== undefined) merged.set(path, setting);
    else if (fallback !== undefined) merged.set(path, { value: fallback, origin: path });
  }
  return merged;
}

function toTree(settings: ReadonlyMap<string, Setting>): unknown {
  const tree: Record<string, unknown> = {};
  const groups = new Map<string, Record<string, unknown>>();
  for (const [path, { value }] of settings) {
    const [group = '', key] = path.split('.', 2);
    if (key === undefined) {
      tree[path] = value;
      continue;
    }
    const members = groups.get(group) ?? {};
    members[key] = value;
    groups.set(group, members);
    tree[group] = members;
  }
  return tree;
}

function explainFault(
  path: string,
  message: string,
  settings: ReadonlyMap<string, Setting>,
  specs: readonly OptionSpec[],
): string {
  const spec = specs.find((candidate) => concerns({ path, message }, candidate.path));
  if (spec === undefined) return `${path}: ${message}`;
  const setting = settings.get(spec.path);
  const value = isSecretKey(spec.path) ? '(redacted)' : shorten(setting?.value);
  const hint = typeof setting?.value === 'string' ? didYouMean(setting.value, spec.choices) : '';
  return `${setting?.origin ?? spec.path}: ${value} is not ${spec.expects}${hint}`;
}

function shorten(value: unknown): string {
  const text = scrubText(JSON.stringify(value) ?? 'nothing');
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
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

function render(settings: ReadonlyMap<string, Setting>, specs: readonly OptionSpec[]): string {
  const lines = specs.map(({ path, fallback }) => {
    const setting = settings.get(path);
    const value = isSecretKey(path) ? '[redacted]' : scrubText(JSON.stringify(setting?.value) ?? 'null');
    const origin =
      setting === undefined || (setting.value === fallback && setting.origin === path) ? 'default' : setting.origin;
    return `${path}: ${value}  # ${origin}`;
  });
  return `${lines.join('\n')}\n`;
}
