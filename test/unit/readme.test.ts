// The documents against the code: commands exist, flags exist, links lead somewhere, the example pod is a valid one.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../extender/config.ts';
import type { PodManifest } from '../../extender/core/manifest.ts';
import { gpuDemand } from '../../extender/core/request.ts';
import { PROFILES } from '../../extender/core/resources.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const readme = read('README.md');
const documents = [
  'README.md',
  'CHANGELOG.md',
  'deploy/README.md',
  'docs/concepts.md',
  'docs/acceptance-device-plugin.md',
]
  .concat(readdirSync(join(ROOT, 'docs/decisions')).map((file) => `docs/decisions/${file}`))
  .filter((file) => existsSync(join(ROOT, file)));

describe('the documents', () => {
  it('name npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = documents.flatMap((file) =>
      [...read(file).matchAll(/(?:^|`|&& )npm (?:run )?([a-z0-9:]+)/gm)].map(([, script = '']) => script),
    );
    const builtIn = new Set(['ci']);
    expect(named.filter((script) => !builtIn.has(script) && scripts[script] === undefined)).toEqual([]);
  });

  it('name extender flags that exist', () => {
    const help = loadConfig({ argv: ['--help'], env: {}, readFile: () => '', version: '0' });
    const known = help.kind === 'help' ? help.text : '';
    const section = readme.slice(readme.indexOf('## In a cluster'), readme.indexOf('## On the nodes'));
    const flags = [...section.matchAll(/--[a-z][a-z-]+/g)].map(([flag]) => flag);
    expect(flags.length).toBeGreaterThan(3);
    expect(flags.filter((flag) => !known.includes(flag))).toEqual([]);
  });

  it('link to files that exist', () => {
    const broken = documents.flatMap((file) =>
      [...read(file).matchAll(/\]\((?!https?:)([^)#]+)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !existsSync(join(ROOT, dirname(file), target)))
        .map((target) => `${file}: ${target}`),
    );
    expect(broken).toEqual([]);
  });

  it('show a pod that the extender accepts', () => {
    const [, yaml = ''] = /```yaml\n([\s\S]*?)```/.exec(readme) ?? [];
    const demand = gpuDemand(parse(yaml) as PodManifest, PROFILES.gpuloom);
    expect(demand).toMatchObject({
      kind: 'request',
      request: { gpuCount: 2, slicesPerGpu: 8, corePerGpu: 30, class: 'batch' },
    });
  });

  it('carry the two commands that a newcomer runs, each in a block of its own', () => {
    const blocks = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block.trim());
    expect(blocks.slice(0, 2)).toEqual(['npm ci && npm start -- --once', 'npm ci && npm test']);
  });
});
