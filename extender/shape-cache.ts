// The verdict cache behind the engine's port: least recently used shapes go first.

import { LRUCache } from 'lru-cache';
import type { ShapeCache } from './core/engine.ts';
import type { ShapeVerdicts } from './core/verdicts.ts';

/** Live request shapes in a big cluster are tens; each holds nine bytes per node. */
const MAX_SHAPES = 512;

export interface CountingShapeCache extends ShapeCache {
  figures(): { readonly size: number; readonly hits: number; readonly misses: number };
}

export function createShapeCache(): CountingShapeCache {
  const shapes = new LRUCache<string, ShapeVerdicts>({ max: MAX_SHAPES });
  let hits = 0;
  let misses = 0;
  return {
    get: (key) => {
      const known = shapes.get(key);
      if (known === undefined) misses++;
      else hits++;
      return known;
    },
    set: (key, verdicts) => shapes.set(key, verdicts),
    figures: () => ({ size: shapes.size, hits, misses }),
  };
}
