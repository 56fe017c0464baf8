// The flags of Node that the extender ships with, so that a benchmark runs what people run.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const MANIFEST: string = join(import.meta.dirname, '../../package.json');

/** The flags in `npm run extender`. */
export function shippedNodeFlags(): readonly string[] {
  const { scripts } = JSON.parse(readFileSync(MANIFEST, 'utf8')) as { readonly scripts: { readonly extender: string } };
  return scripts.extender.split(' ').filter((word) => word.startsWith('--'));
}
