// node:http as `require` gives it. An import statement reads every export of the module, and reading one of these loads the
// whole HTTP client behind `fetch`, which the agent never uses.

import type * as NodeHttp from 'node:http';

export const http: typeof NodeHttp = process.getBuiltinModule('node:http');
