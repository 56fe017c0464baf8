// What an agent has in its memory before it does anything: every GPU node pays for each module that is loaded there.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

interface Loaded {
  /** Modules of Node itself. */
  readonly builtIn: readonly string[];
  /** Files of packages, from the name of the package on; packages of the module system of `require` only. */
  readonly files: readonly string[];
}

const TELL = `
  import Module from 'node:module';
  process.on('exit', () => {
    const files = Object.keys(Module._cache).map((file) => file.split('/node_modules/').at(-1));
    console.log(JSON.stringify({ builtIn: process.moduleLoadList, files }));
  });`;

/** With everything imported that an agent imports at once. */
function loadedByAgent(): Loaded {
  const tell = `data:text/javascript,${encodeURIComponent(TELL)}`;
  const args = ['--import', tell, join(ROOT, 'device-plugin/main.ts'), '--version'];
  const output = execFileSync(process.execPath, args, { encoding: 'utf8', env: { PATH: process.env['PATH'] } });
  return JSON.parse(output.trim().split('\n').at(-1) ?? '') as Loaded;
}

describe('an agent that starts', () => {
  let loaded: Loaded;
  beforeAll(() => {
    loaded = loadedByAgent();
  });

  it('has the modules that it works with', () => {
    expect(loaded.builtIn).toContain('NativeModule http');
    expect(loaded.files.some((file) => file.startsWith('@grpc/grpc-js/'))).toBe(true);
  });

  it('has no client for fetch, which an import of node:http would load', () => {
    expect(loaded.builtIn.filter((name) => name.includes('undici'))).toEqual([]);
  });

  it.each(['yaml', 'koffi', 'fastify', 'typebox', '@kubernetes/client-node', '@prometheus-io/client'])(
    'has no %s, which it needs in some modes only or never',
    (name) => {
      expect(loaded.files.filter((file) => file.startsWith(`${name}/`))).toEqual([]);
    },
  );

  it('has of systeminformation only what tells CPU and memory', () => {
    const parts = loaded.files.filter((file) => file.startsWith('systeminformation/')).sort();
    expect(parts).toEqual(['cpu', 'memory', 'util'].map((part) => `systeminformation/lib/${part}.js`));
  });
});
