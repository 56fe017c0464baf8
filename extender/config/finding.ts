// What is wrong with options that are each sound by themselves. Pure.

import { parseAddress } from './address.ts';

/** A problem with a combination: said at the first of the options involved. */
export interface Finding {
  readonly severity: 'error' | 'warning';
  readonly involves: readonly [path: string, ...others: string[]];
  readonly message: string;
}

export function error(involves: Finding['involves'], message: string): Finding {
  return { severity: 'error', involves, message };
}

export function warning(involves: Finding['involves'], message: string): Finding {
  return { severity: 'warning', involves, message };
}

export function addressFindings(path: string, text: string, example: string): Finding[] {
  if (parseAddress(text) !== undefined) return [];
  const advice = /^:\d+$/.test(text) ? `write 0.0.0.0${text} for all interfaces` : `for example ${example}`;
  return [error([path], `${JSON.stringify(text.slice(0, 80))} is not HOST:PORT; ${advice}`)];
}
