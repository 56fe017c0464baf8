// The direction of imports and the purity of the core, as docs/decisions and the README state them.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');
const IMPORT = /(?:^|\n)\s*(?:import|export)\s+(?:type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'|import\(\s*'([^']+)'\s*\)/g;

interface Source {
  /** Path from the root of the repository. */
  readonly path: string;
  readonly text: string;
  /** Imported files as paths from the root; packages and built-ins as written. */
  readonly imports: readonly string[];
}

function sourcesOf(...folders: readonly string[]): Source[] {
  return folders
    .filter((folder) => existsSync(join(ROOT, folder)))
    .flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
    )
    .filter((path) => path.endsWith('.ts'))
    .map((path) => {
      const text = readFileSync(join(ROOT, path), 'utf8');
      const imports = [...text.matchAll(IMPORT)].map(([, named = '', dynamic = '']) => {
        const target = named || dynamic;
        return target.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(path), target)) : target;
      });
      return { path, text, imports };
    });
}

/** `path -> import` for every import that a predicate refuses. */
function wrong(sources: readonly Source[], isAllowed: (target: string, path: string) => boolean): string[] {
  return sources.flatMap(({ path, imports }) =>
    imports.filter((target) => !isAllowed(target, path)).map((target) => `${path} -> ${target}`),
  );
}

describe('the direction of imports', () => {
  const production = sourcesOf('extender', 'device-plugin', 'simulator');

  it('finds the sources and their imports', () => {
    expect(production.length).toBeGreaterThan(30);
    expect(production.flatMap(({ imports }) => imports).length).toBeGreaterThan(100);
  });

  it('the core imports only the core', () => {
    const core = sourcesOf('extender/core');
    expect(wrong(core, (target) => target.startsWith('extender/core/'))).toEqual([]);
  });

  it('the core has no clock, randomness, process, output, timer or promise', () => {
    const forbidden =
      /\b(Date\.now|new Date|Math\.random|performance\.|process\.|console\.|setTimeout|setInterval|async |await |Promise\b)/;
    const impure = sourcesOf('extender/core').flatMap(({ path, text }) =>
      text
        .split('\n')
        .filter((line) => forbidden.test(line.replace(/\/\/.*|^\s*\*.*|\/\*.*/, '')))
        .map((line) => `${path}: ${line.trim()}`),
    );
    expect(impure).toEqual([]);
  });

  it('the application imports the core and itself', () => {
    const app = sourcesOf('extender/app');
    expect(wrong(app, (target) => /^extender\/(core|app)\//.test(target))).toEqual([]);
  });

  it.each([
    ['@kubernetes/client-node', /^extender\/kube\//],
    ['fastify', /^extender\/http\//],
    ['lru-cache', /^extender\/(main|service|shape-cache|kube\/)/],
    ['@prometheus-io/client', /^extender\/metrics\.ts$/],
    ['pino', /^extender\/logging\.ts$/],
    ['@grpc/grpc-js', /^device-plugin\/(kubelet|proto)\//],
    ['@grpc/proto-loader', /^device-plugin\/proto\//],
    ['koffi', /^device-plugin\/inventory\/nvml-binding\.ts$/],
    ['highs', /^simulator\/bound\/solver\.ts$/],
    ['systeminformation', /^device-plugin\/inventory\/host\.ts$/],
  ])('%s is imported only where it belongs', (name, places) => {
    const users = production.filter(({ imports }) =>
      imports.some((target) => target === name || target.startsWith(`${name}/`)),
    );
    expect(users.map(({ path }) => path).filter((path) => !places.test(path))).toEqual([]);
  });

  it('adapters do not import each other', () => {
    expect(wrong(sourcesOf('extender/kube'), (target) => !/^extender\/(http|embedded)\//.test(target))).toEqual([]);
    expect(wrong(sourcesOf('extender/http'), (target) => !/^extender\/(kube|embedded)\//.test(target))).toEqual([]);
  });

  it('no files import each other in a circle', () => {
    const importsOf = new Map(production.map(({ path, imports }) => [path, imports]));
    const finished = new Set<string>();
    const circles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) circles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
      if (finished.has(path) || trail.includes(path)) return;
      for (const target of importsOf.get(path) ?? []) visit(target, [...trail, path]);
      finished.add(path);
    };
    for (const { path } of production) visit(path, []);
    expect(circles).toEqual([]);
  });

  it('nothing outside the tests imports from the tests', () => {
    expect(wrong(production, (target) => !target.startsWith('test/'))).toEqual([]);
  });

  it('only entry points end the process', () => {
    const enders = production.filter(({ text }) => /process\.exit\(/.test(text)).map(({ path }) => path);
    expect(enders.filter((path) => !/(^|\/)(main|demo)\.ts$/.test(path))).toEqual([]);
  });
});
