// The kinds of option that the programs' schemas are made of. Each carries, beside its type, its flag, its summary and what
// a good value looks like. Pure.

import { Type } from 'typebox';
import type { TEnum, TInteger, TOptional, TString } from 'typebox';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export const MILLIS = 'whole milliseconds';

const HOST_PORT = 'HOST:PORT, for example 127.0.0.1:12345 or [::1]:12345';
const FILE = 'the path of a file';

export function address(flag: string, description: string, value: string): TString {
  return Type.String({ flag, description, default: value, expects: HOST_PORT });
}

export function file(flag: string, description: string): TOptional<TString> {
  return Type.Optional(Type.String({ flag, description, minLength: 1, expects: FILE }));
}

export function oneOf<const Values extends string[]>(values: readonly [...Values], options: object): TEnum<Values> {
  return Type.Enum(values, { ...options, expects: `one of ${values.join(', ')}` });
}

export function integer(
  minimum: number,
  maximum: number,
  value: number,
  description: string,
  unit = '',
  flag?: string,
): TInteger {
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
