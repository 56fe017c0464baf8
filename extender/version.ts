// The version of this build, from the package it ships in.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Looks upwards from this file, since it runs both as source and from `dist/`. */
export function packageVersion(from: string = import.meta.dirname): string {
  try {
    const parsed: unknown = JSON.parse(readFileSync(join(from, 'package.json'), 'utf8'));
    if (typeof parsed === 'object' && parsed !== null && 'version' in parsed) return String(parsed.version);
  } catch {
    // No package here; the parent folder may have it.
  }
  const parent = dirname(from);
  return parent === from ? 'unknown' : packageVersion(parent);
}
