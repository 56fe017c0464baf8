// How words on the command line become values. What cannot be read is refused with what would do.

import { InvalidArgumentError } from 'commander';

import { SIMULATED_POLICIES, type SimulatedPolicyName } from '../policy/selection.ts';

export function seedOf(text: string): number {
  return whole(text, 0, 2 ** 31 - 1);
}

export function countOf(text: string): number {
  return whole(text, 1, 256);
}

export function budgetOf(text: string): number {
  return whole(text, 1, 10_000);
}

export function narrowOf(text: string): number {
  return whole(text, 0, 10_000);
}

/** The upper end is far above what in-tree scores could ever make up for. */
export function weightOf(text: string): number {
  return whole(text, 1, 1_000_000);
}

export function percentOf(text: string): number {
  return whole(text, 0, 100);
}

export function positive(text: string): number {
  const value = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : 0;
  if (value > 0 && value <= 1000) return value;
  throw new InvalidArgumentError('Write a number above 0 and up to 1000, such as 1.3.');
}

export function words(text: string): readonly string[] {
  const list = text.split(',').map((word) => word.trim());
  if (list.every((word) => /^[A-Za-z0-9_-]{1,64}$/.test(word))) return [...new Set(list)];
  throw new InvalidArgumentError('Write names joined by commas.');
}

export function seedsOf(text: string): readonly number[] {
  return words(text).map(seedOf);
}

export function policyOf(text: string): SimulatedPolicyName {
  const policy = SIMULATED_POLICIES.find((name) => name === text);
  if (policy !== undefined) return policy;
  throw new InvalidArgumentError(`There are ${SIMULATED_POLICIES.join(', ')}.`);
}

export function policiesOf(text: string): readonly SimulatedPolicyName[] {
  return words(text).map(policyOf);
}

function whole(text: string, least: number, most: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : -1;
  if (value >= least && value <= most) return value;
  throw new InvalidArgumentError(`Write a whole number from ${least} to ${most}.`);
}
