// The options of one program, derived from its schema: what each is called in flags, environment and file, and a check of
// all values at once. Knows no particular option. Pure.

import { Compile } from 'typebox/compile';
import type { StaticEncode, TObject, TSchema } from 'typebox';

export interface OptionSpec {
  /** Dotted path in the configuration file, such as `limits.batchPerGpu`. */
  readonly path: string;
  readonly env: string;
  /** commander notation, such as `--listen <host:port>`. */
  readonly flag: string | undefined;
  readonly description: string;
  readonly expects: string;
  readonly kind: 'text' | 'integer' | 'boolean' | 'list' | 'integers';
  readonly choices: readonly string[];
  readonly fallback: unknown;
}

export const CONFIG_ENV = 'GPULOOM_CONFIG';

export type CheckedOptions<Values> =
  | { readonly kind: 'values'; readonly values: Values }
  | { readonly kind: 'faults'; readonly faults: readonly OptionFault[] };

export interface OptionFault {
  readonly path: string;
  readonly message: string;
}

export interface OptionSet<Values> {
  readonly specs: readonly OptionSpec[];
  /** Checks a complete tree of values against the schema and reports every fault, one per option. */
  readonly check: (tree: unknown) => CheckedOptions<Values>;
}

export function optionSet<const Type extends TObject>(schema: Type): OptionSet<StaticEncode<Type>> {
  return {
    specs: walk(schema.properties, ''),
    check(tree) {
      const validator = Compile(schema);
      if (validator.Check(tree)) return { kind: 'values', values: tree };
      const faults = new Map<string, string>();
      for (const error of validator.Errors(tree)) {
        const path = error.instancePath.slice(1).replaceAll('/', '.');
        if (!faults.has(path)) faults.set(path, error.message);
      }
      return { kind: 'faults', faults: [...faults].map(([path, message]) => ({ path, message })) };
    },
  };
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

/** What the schemas carry, read back at run time. */
interface LooseSchema extends TSchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly items?: { readonly type?: string };
  readonly properties?: object;
  readonly default?: unknown;
  readonly flag?: string;
  readonly description?: string;
  readonly expects?: string;
}

function describe(path: string, option: LooseSchema): OptionSpec {
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
    kind: kindOf(option),
    choices: option.enum ?? [],
    fallback: option.default,
  };
}

function kindOf({ type, items }: LooseSchema): OptionSpec['kind'] {
  if (type === 'integer' || type === 'boolean') return type;
  if (type !== 'array') return 'text';
  return items?.type === 'integer' ? 'integers' : 'list';
}
