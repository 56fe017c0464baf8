// Turns flags, environment and file into one checked configuration of a program, or into the complete list of what is
// wrong with them. A pure function of its inputs: it reads no process state and exits nowhere. Precedence: flag,
// environment, file, what surrounds the process, default.

import { isSecretKey, scrubText } from '../logging.ts';
import type { Finding } from './finding.ts';
import { CONFIG_ENV } from './option-set.ts';
import type { OptionSet, OptionSpec } from './option-set.ts';
import { readEnvironment, readFlags, readYaml } from './sources.ts';
import type { Layer, Setting } from './sources.ts';
import { didYouMean } from './suggest.ts';

export interface ConfigInputs {
  /** Arguments after the program name. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Returns the text of a file; throws when it cannot. */
  readonly readFile: (path: string) => string;
  readonly version: string;
}

export type Loaded<Config> =
  | {
      readonly kind: 'config';
      readonly config: Config;
      readonly warnings: readonly string[];
      /** The effective values as YAML, each with the place it came from, secrets redacted. */
      readonly effective: string;
    }
  | { readonly kind: 'errors'; readonly errors: readonly string[] }
  | { readonly kind: 'help' | 'version'; readonly text: string };

/** What is particular to one program. */
export interface Program<Values, Config> {
  readonly name: string;
  readonly description: string;
  /** Printed below the flags. */
  readonly examples: string;
  readonly options: OptionSet<Values>;
  /** Weaker than everything a person wrote, stronger than defaults: what the process can tell about its place. */
  readonly surroundings: (inputs: ConfigInputs) => ReadonlyMap<string, Setting>;
  /** What a schema cannot say. Values at fault are at their defaults here. */
  readonly checkCombinations: (values: Values) => readonly Finding[];
  /** The final form; `undefined` only for values in which something was found. */
  readonly toConfig: (values: Values) => Config | undefined;
}

export function loadOptions<Values, Config>(program: Program<Values, Config>, inputs: ConfigInputs): Loaded<Config> {
  const { specs } = program.options;
  const flags = readFlags(inputs.argv, program, specs);
  if (flags.help) return { kind: 'help', text: flags.helpText };
  if (flags.version) return { kind: 'version', text: inputs.version };
  const layers = [
    flags,
    readEnvironment(inputs.env, specs),
    readFileLayer(inputs, flags.configFile ?? inputs.env[CONFIG_ENV], specs),
    { ...EMPTY, settings: program.surroundings(inputs) },
  ];
  const settings = merge(layers, specs);
  const errors = layers.flatMap((layer) => layer.errors);
  const { values, faults } = program.options.check(new Map([...settings].map(([path, { value }]) => [path, value])));
  errors.push(...specs.filter(({ path }) => faults.includes(path)).map((spec) => explainFault(spec, settings)));
  const findings = locate(program.checkCombinations(values), faults, settings);
  errors.push(...findings.filter(({ severity }) => severity === 'error').map(({ text }) => text));
  const config = program.toConfig(values);
  if (errors.length > 0 || config === undefined) return { kind: 'errors', errors };
  const warnings = findings.filter(({ severity }) => severity === 'warning').map(({ text }) => text);
  return {
    kind: 'config',
    config,
    warnings: [...layers.flatMap((layer) => layer.warnings), ...warnings],
    effective: render(settings, specs),
  };
}

function locate(
  findings: readonly Finding[],
  faults: readonly string[],
  settings: ReadonlyMap<string, Setting>,
): { readonly severity: 'error' | 'warning'; readonly text: string }[] {
  return findings
    .filter(({ involves }) => !involves.some((path) => faults.includes(path)))
    .map(({ severity, involves: [path], message }) => ({
      severity,
      text: `${settings.get(path)?.origin ?? path}: ${message}`,
    }));
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

function merge(layers: readonly Layer[], specs: readonly OptionSpec[]): ReadonlyMap<string, Setting> {
  const merged = new Map<string, Setting>();
  for (const { path, fallback } of specs) {
    const setting = layers.map((layer) => layer.settings.get(path)).find((found) => found !== undefined);
    if (setting !== undefined) merged.set(path, setting);
    else if (fallback !== undefined) merged.set(path, { value: fallback, origin: path });
  }
  return merged;
}

function explainFault(spec: OptionSpec, settings: ReadonlyMap<string, Setting>): string {
  const setting = settings.get(spec.path);
  const value = isSecretKey(spec.path) ? '(redacted)' : shorten(setting?.value);
  const hint = typeof setting?.value === 'string' ? didYouMean(setting.value, spec.choices) : '';
  return `${setting?.origin ?? spec.path}: ${value} is not ${spec.expects}${hint}`;
}

function shorten(value: unknown): string {
  const text = scrubText(JSON.stringify(value) ?? 'nothing');
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
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
