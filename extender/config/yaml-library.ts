// The YAML library, loaded when something is first read with it. The node agent shares the configuration code and usually
// reads no YAML at all.

import { createRequire } from 'node:module';
import type * as Yaml from 'yaml';

const require = createRequire(import.meta.url);

export function yamlLibrary(): typeof Yaml {
  return require('yaml') as typeof Yaml;
}
