// The three places an option can come from: flags, environment, file. Each becomes a layer of values by dotted path that
// remembers where every value was written, so that an error can point at it. Nothing is validated here beyond spelling.

import { Command, CommanderError, Option } from 'commander';
import type { ParsedNode } from 'yaml';
import { CONFIG_ENV } from './option-set.ts';
import type { OptionSpec } from './option-set.ts';
import { didYouMean } from './suggest.ts';
import { yamlLibrary } from './yaml-library.ts';

export interface Setting {
  readonly value: unknown;
  /** Where a person can change it, such as `--listen`, `GPULOOM_LISTEN` or `gpuloom.yaml:3`. */
  readonly origin: string;
}

export interface Layer {
  readonly settings: ReadonlyMap<string, Setting>;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

export interface FlagLayer extends Layer {
  readonly help: boolean;
  readonly version: boolean;
  readonly configFile: string | undefined;
  readonly helpText: string;
}

/** How a program introduces itself in its help. */
export interface Introduction {
  readonly name: string;
  readonly description: string;
  /** Printed below the flags. */
  readonly examples: string;
}

export function readFlags(argv: readonly string[], program: Introduction, specs: readonly OptionSpec[]): FlagLayer {
  const errors: string[] = [];
  let rest = [...argv];
  for (;;) {
    const command = buildCommand(program, specs);
    try {
      command.parse(rest, { from: 'user' });
    } catch (error) {
      // The one thing commander throws for here: a flag at the end without its value. Note it and read the others.
      if (!(error instanceof CommanderError) || rest.length === 0) throw error;
      errors.push(`${rest.at(-1)}: a value is missing; --help shows its form`);
      rest = rest.slice(0, -1);
      continue;
    }
    return { ...collectFlags(command, specs, errors), helpText: command.helpInformation() + program.examples };
  }
}

function buildCommand({ name, description }: Introduction, specs: readonly OptionSpec[]): Command {
  const command = new Command(name)
    .description(description)
    .helpOption(false)
    .allowUnknownOption()
    .allowExcessArguments()
    .exitOverride()
    .configureOutput({ writeErr: () => {}, writeOut: () => {} })
    .configureHelp({ helpWidth: 110 })
    .option('--config <file>', `configuration file (YAML); also ${CONFIG_ENV}`);
  for (const spec of specs) {
    if (spec.flag === undefined) continue;
    const option = new Option(spec.flag, describe(spec));
    if (spec.kind === 'list') {
      option.argParser<string[]>((value, previous) => [...(Array.isArray(previous) ? previous : []), value]);
    }
    command.addOption(option);
  }
  return command.option('--version', 'print the version and exit').option('-h, --help', 'print this text and exit');
}

function describe(spec: OptionSpec): string {
  const choices = spec.choices.length > 0 ? `: ${spec.choices.join(', ')}` : '';
  const shown = typeof spec.fallback === 'string' || typeof spec.fallback === 'number';
  return `${spec.description}${spec.description.includes(':') ? '' : choices}${shown ? ` (default: ${spec.fallback})` : ''}`;
}

function collectFlags(command: Command, specs: readonly OptionSpec[], errors: string[]): Omit<FlagLayer, 'helpText'> {
  const values: Record<string, unknown> = command.opts();
  const settings = new Map<string, Setting>();
  for (const spec of specs) {
    if (spec.flag === undefined) continue;
    const option = command.options.find((candidate) => candidate.flags === spec.flag);
    const name = option?.attributeName() ?? '';
    if (option === undefined || command.getOptionValueSource(name) !== 'cli') continue;
    settings.set(spec.path, { value: fromText(spec, values[name]), origin: option.long ?? spec.flag });
  }
  errors.push(...strangers(command));
  const configFile = values['config'];
  return {
    settings,
    errors,
    warnings: [],
    help: values['help'] === true,
    version: values['version'] === true,
    configFile: typeof configFile === 'string' ? configFile : undefined,
  };
}

function strangers(command: Command): string[] {
  const errors: string[] = [];
  let afterUnknownFlag = false;
  for (const word of command.args) {
    if (word.startsWith('-')) {
      const flag = word.split('=', 1)[0] ?? word;
      const known = command.options.flatMap((option) => (option.long ? [option.long] : []));
      const fault = known.includes(flag) ? 'takes no value' : `unknown flag${didYouMean(flag, known)}`;
      errors.push(`${flag}: ${fault}`);
    } else if (!afterUnknownFlag) {
      errors.push(`${word}: unexpected argument; every setting is a flag, see --help`);
    }
    afterUnknownFlag = word.startsWith('-');
  }
  return errors;
}

/** Reads GPULOOM_… variables. A variable set to nothing counts as not set. */
export function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  specs: readonly OptionSpec[],
): Layer {
  const settings = new Map<string, Setting>();
  const warnings: string[] = [];
  const byName = new Map(specs.map((spec) => [spec.env, spec]));
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('GPULOOM_') || name === CONFIG_ENV || text === undefined || text === '') continue;
    const spec = byName.get(name);
    if (spec !== undefined) settings.set(spec.path, { value: fromText(spec, text), origin: name });
    // Kubernetes announces every Service by such variables, so a stranger cannot be an error.
    else if (!SERVICE_VARIABLE.test(name))
      warnings.push(`${name}: unknown variable, ignored${didYouMean(name, byName.keys())}`);
  }
  return { settings, errors: [], warnings };
}

const SERVICE_VARIABLE = /_SERVICE_HOST$|_SERVICE_PORT(?:_\w+)?$|_PORT$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?$/;

/** Flags and variables are text; what does not read as the wanted type is left as text for the schema to refuse. */
function fromText(spec: OptionSpec, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const text = value.trim();
  if (spec.kind === 'integer' && WHOLE_NUMBER.test(text)) return Number(text);
  if (spec.kind === 'decimal' && DECIMAL_NUMBER.test(text)) return Number(text);
  if (spec.kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  if (spec.kind === 'list') return listItems(text);
  if (spec.kind === 'integers') return listItems(text).map((item) => (WHOLE_NUMBER.test(item) ? Number(item) : item));
  return text;
}

const WHOLE_NUMBER = /^-?\d{1,15}$/;
const DECIMAL_NUMBER = /^-?\d{1,15}(?:\.\d{1,15})?$/;

function listItems(text: string): string[] {
  return text.split(',').map((item) => item.trim());
}

/** Reads the YAML file. Every problem carries `file:line`. */
export function readYaml(text: string, file: string, specs: readonly OptionSpec[]): Layer {
  const { isMap, isScalar, LineCounter, parseDocument } = yamlLibrary();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true });
  const at = (offset: number): string => `${file}:${lines.linePos(offset).line}`;
  if (document.errors.length > 0) {
    const errors = document.errors.map(
      (error) => `${at(error.pos[0])}: ${error.message.replace(/ at line [\s\S]*$/, '')}`,
    );
    return { settings: new Map(), errors, warnings: [] };
  }
  const settings = new Map<string, Setting>();
  const errors: string[] = [];
  const known = new Set(specs.map((spec) => spec.path));
  const groups = new Set(specs.flatMap(({ path }) => (path.includes('.') ? [path.slice(0, path.indexOf('.'))] : [])));
  const visit = (node: ParsedNode | null, prefix: string): void => {
    if (node === null || (isScalar(node) && node.value === null)) return;
    if (!isMap(node)) {
      errors.push(`${at(node.range[0])}: ${prefix || 'the file'} must be a map of keys to values`);
      return;
    }
    for (const { key, value } of node.items) {
      const path = isScalar(key) ? `${prefix}${prefix === '' ? '' : '.'}${String(key.value)}` : '';
      const where = at(key.range[0]);
      if (groups.has(path)) visit(value, path);
      else if (!known.has(path)) errors.push(`${where}: unknown key ${path}${didYouMean(path, known)}`);
      else settings.set(path, { value: plain(value), origin: `${where}: ${path}` });
    }
  };
  visit(document.contents, '');
  return { settings, errors, warnings: [] };
}

/** Scalars and lists of scalars; anything else is no value of any option and is left for the schema to refuse. */
function plain(node: ParsedNode | null): unknown {
  const { isScalar, isSeq } = yamlLibrary();
  if (isScalar(node)) return node.value;
  if (isSeq(node)) return node.items.map((item) => (isScalar(item) ? item.value : null));
  return {};
}
