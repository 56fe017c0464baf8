// The options of one program, derived from its schema: what each is called in flags, environment and file, and the check
// of all values at once. Knows no particular option. Pure.

import type { DefaultedOption, Option, OptionalOption } from './option-kinds.ts';

export const CONFIG_ENV = 'GPULOOM_CONFIG';

export interface OptionSpec extends Option<unknown> {
  /** Dotted path in the configuration file, such as `limits.batchPerGpu`. */
  readonly path: string;
  readonly env: string;
}

/** An option for every value of a program, so that the compiler keeps the two alike. Groups are one level deep. */
export type OptionSchema<Values> = {
  readonly [Key in keyof Values]-?: NonNullable<Values[Key]> extends string | number | boolean | readonly unknown[]
    ? OptionFor<Values, Key>
    : OptionSchema<Values[Key]>;
};

type OptionFor<Values, Key extends keyof Values> =
  Partial<Pick<Values, Key>> extends Pick<Values, Key>
    ? OptionalOption<NonNullable<Values[Key]>>
    : DefaultedOption<Values[Key]>;

export interface CheckedOptions<Values> {
  /** Complete: options at fault are at their defaults here, so that what remains can still be checked in the same run. */
  readonly values: Values;
  /** Paths of the options whose value is not good. */
  readonly faults: readonly string[];
}

export interface OptionSet<Values> {
  readonly specs: readonly OptionSpec[];
  /** Checks all values that were given, by path. */
  readonly check: (given: ReadonlyMap<string, unknown>) => CheckedOptions<Values>;
}

export function optionSet<Values>(schema: OptionSchema<Values>): OptionSet<Values> {
  const specs = specsOf(schema, '');
  return {
    specs,
    check(given) {
      const faults = specs.filter(({ path, isGood }) => given.has(path) && !isGood(given.get(path)));
      const values = specs.flatMap((spec) => {
        const value = given.has(spec.path) && !faults.includes(spec) ? given.get(spec.path) : spec.fallback;
        return value === undefined ? [] : [[spec.path, value] as const];
      });
      // Every value was checked by the option of its path, and the type of the schema says that there is one for each.
      return { values: toTree(values) as Values, faults: faults.map(({ path }) => path) };
    },
  };
}

function specsOf(schema: object, prefix: string): OptionSpec[] {
  return Object.entries(schema).flatMap(([key, entry]: [string, Option<unknown> | object]) =>
    'isGood' in entry
      ? [{ ...entry, path: prefix + key, env: variableOf(prefix + key) }]
      : specsOf(entry, `${prefix}${key}.`),
  );
}

function variableOf(path: string): string {
  const words = path.replace('MiB', 'Mib').replaceAll(/[A-Z]+(?![a-z])|[A-Z]/g, '_$&');
  return `GPULOOM_${words.replaceAll('.', '_').toUpperCase()}`;
}

function toTree(values: readonly (readonly [path: string, value: unknown])[]): unknown {
  const tree: Record<string, unknown> = {};
  const groups = new Map<string, Record<string, unknown>>();
  for (const [path, value] of values) {
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
