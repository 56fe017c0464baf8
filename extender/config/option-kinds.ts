// The kinds of option that the programs' schemas are made of: a check of the value, and beside it the flag, the summary
// and what a good value looks like. Written out here rather than with a schema library, since every byte of the node agent
// is paid on every node. Pure.

export interface Option<Value> {
  readonly kind: 'text' | 'integer' | 'decimal' | 'boolean' | 'list' | 'integers';
  /** commander notation, such as `--listen <host:port>`. */
  readonly flag: string | undefined;
  readonly description: string;
  readonly expects: string;
  readonly choices: readonly string[];
  readonly fallback: Value | undefined;
  readonly isGood: (value: unknown) => value is Value;
}

/** An option that may be left out. */
export interface OptionalOption<Value> extends Option<Value> {
  readonly fallback: undefined;
}

/** An option that always has a value. */
export interface DefaultedOption<Value> extends Option<Value> {
  readonly fallback: Value;
}

export interface About {
  readonly flag?: string;
  readonly description: string;
  readonly expects: string;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export const MILLIS = 'whole milliseconds';

const HOST_PORT = 'HOST:PORT, for example 127.0.0.1:12345 or [::1]:12345';
const FILE = 'the path of a file';

export function withDefault<Value>(option: Option<Value>, fallback: Value): DefaultedOption<Value> {
  return { ...option, fallback };
}

export function text(about: About, pattern: RegExp): OptionalOption<string> {
  return optional('text', about, (value): value is string => typeof value === 'string' && pattern.test(value));
}

export function address(flag: string, description: string, value: string): DefaultedOption<string> {
  return withDefault(text({ flag, description, expects: HOST_PORT }, /^/), value);
}

export function file(flag: string, description: string): OptionalOption<string> {
  return text({ flag, description, expects: FILE }, /./s);
}

export function oneOf<const Values extends readonly string[]>(
  values: Values,
  about: Omit<About, 'expects'>,
): OptionalOption<Values[number]> {
  const expects = `one of ${values.join(', ')}`;
  const isGood = (value: unknown): value is Values[number] => values.some((choice) => choice === value);
  return { ...optional('text', { ...about, expects }, isGood), choices: values };
}

export function boolean(about: Omit<About, 'expects'>): OptionalOption<boolean> {
  const isGood = (value: unknown): value is boolean => typeof value === 'boolean';
  return optional('boolean', { ...about, expects: 'true or false' }, isGood);
}

export function integer(
  minimum: number,
  maximum: number,
  value: number,
  description: string,
  unit = '',
  flag?: string,
): DefaultedOption<number> {
  const expects = `a whole number${unit === '' ? '' : ` of ${unit}`} from ${minimum} to ${maximum}`;
  const about = { description, expects, ...(flag === undefined ? {} : { flag }) };
  return withDefault(optional('integer', about, wholeNumber(minimum, maximum)), value);
}

/** A number that need not be whole. */
export function decimal(minimum: number, maximum: number, value: number, description: string): DefaultedOption<number> {
  const about = { description, expects: `a number from ${minimum} to ${maximum}` };
  const isGood = (given: unknown): given is number => typeof given === 'number' && given >= minimum && given <= maximum;
  return withDefault(optional('decimal', about, isGood), value);
}

/** A list of texts that are not empty; none by default. */
export function list(about: About): DefaultedOption<readonly string[]> {
  const isItem = (item: unknown): item is string => typeof item === 'string' && item !== '';
  return withDefault(optional('list', about, listOf(isItem)), []);
}

/** None by default. */
export function integers(minimum: number, maximum: number, about: About): DefaultedOption<readonly number[]> {
  return withDefault(optional('integers', about, listOf(wholeNumber(minimum, maximum))), []);
}

function optional<Value>(
  kind: Option<Value>['kind'],
  { flag, description, expects }: About,
  isGood: Option<Value>['isGood'],
): OptionalOption<Value> {
  return { kind, flag, description, expects, choices: [], fallback: undefined, isGood };
}

function wholeNumber(minimum: number, maximum: number): Option<number>['isGood'] {
  return (value): value is number =>
    typeof value === 'number' && Number.isInteger(value) && value >= minimum && value <= maximum;
}

function listOf<Item>(isItem: (item: unknown) => item is Item): Option<readonly Item[]>['isGood'] {
  return (value): value is readonly Item[] => Array.isArray(value) && value.every(isItem);
}
