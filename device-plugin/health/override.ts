// An operator's word on GPUs, in an annotation of the Node. Pure.
//
//   gpuloom.io/gpu-override: GPU-6a5…=unhealthy,GPU-77b…=healthy
//   gpuloom.io/gpu-override: {"GPU-6a5…": "unhealthy", "*": "clear"}
//
// `healthy` and `unhealthy` hold while they stand there, whatever the agent sees; `clear` ends quarantines and forgets
// past failures for as long as it stands, and leaves the judgement to the agent. `*` speaks for all GPUs not named.

import { GPU_OVERRIDE_ANNOTATION } from '../../extender/core/resources.ts';

export const GPU_OVERRIDES = ['healthy', 'unhealthy', 'clear'] as const;
export type GpuOverride = (typeof GPU_OVERRIDES)[number];

const MAX_CHARACTERS = 8192;
const EVERY_GPU = '*';
const SYNTAX = 'write UUID=healthy, UUID=unhealthy or UUID=clear, separated by commas, or the same as a JSON object';

export type OverrideAnnotation =
  | { readonly kind: 'overrides'; readonly of: ReadonlyMap<string, GpuOverride> }
  /** Nothing of it is used: half an operator's word could be the opposite of it. */
  | { readonly kind: 'invalid'; readonly why: string };

/** Reads the annotation; a missing or empty one overrides nothing. */
export function parseOverrides(text: string | undefined): OverrideAnnotation {
  const trimmed = (text ?? '').trim();
  if (trimmed.length > MAX_CHARACTERS) return invalid(`is longer than ${MAX_CHARACTERS} characters`);
  const entries = trimmed.startsWith('{') ? jsonEntries(trimmed) : listEntries(trimmed);
  if (entries === undefined) return invalid('is not a JSON object');
  const of = new Map<string, GpuOverride>();
  for (const [gpu, word] of entries) {
    const override = GPU_OVERRIDES.find((known) => known === word);
    if (gpu === '' || override === undefined)
      return invalid(`has ${JSON.stringify(`${gpu}=${String(word)}`.slice(0, 120))}`);
    if (of.has(gpu) && of.get(gpu) !== override) return invalid(`says both things of ${gpu}`);
    of.set(gpu, override);
  }
  return { kind: 'overrides', of };
}

export function overrideFor(uuid: string, overrides: ReadonlyMap<string, GpuOverride>): GpuOverride | undefined {
  return overrides.get(uuid) ?? overrides.get(EVERY_GPU);
}

function invalid(what: string): OverrideAnnotation {
  return { kind: 'invalid', why: `annotation ${GPU_OVERRIDE_ANNOTATION} ${what}; ${SYNTAX}` };
}

function listEntries(text: string): readonly (readonly [string, unknown])[] {
  const parts = text.split(',').map((part) => part.trim());
  return parts
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      return at < 0 ? [part, ''] : [part.slice(0, at).trim(), part.slice(at + 1).trim()];
    });
}

function jsonEntries(text: string): readonly (readonly [string, unknown])[] | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? Object.entries(parsed) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
