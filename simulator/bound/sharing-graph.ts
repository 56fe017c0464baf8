// All ways to fill one GPU with sharing pods, as a graph: nodes are the milli taken so far, an arc is one more pod of
// some size, and a path from 0 is one way to fill a GPU. Sizes come along a path from large to small, which keeps the
// graph small and loses no way, since order within a GPU does not matter (arc flow; Valério de Carvalho, 1999).

export interface Arc {
  readonly fromMilli: number;
  readonly sizeMilli: number;
}

export interface SharingGraph {
  readonly arcs: readonly Arc[];
  /** Every amount above 0 that some arc starts at. */
  readonly innerMilli: readonly number[];
}

const GRIDS_MILLI: readonly number[] = [1, 2, 5, 10, 20, 50];
/** With this many arcs a program takes a few seconds; with ten times as many it takes minutes. */
const MOST_ARCS = 15_000;

/** The finest grid whose graph, once for each of `copies`, stays small enough to be solved; 1 leaves sizes as they are. */
export function gridFor(sizesMilli: readonly number[], gpuMilli: number, copies: number): number {
  const isSmall = (gridMilli: number): boolean => {
    const sizes = new Set(sizesMilli.map((size) => Math.floor(size / gridMilli) * gridMilli));
    return sharingGraph([...sizes], gpuMilli).arcs.length * copies <= MOST_ARCS;
  };
  return GRIDS_MILLI.find(isSmall) ?? GRIDS_MILLI.at(-1) ?? 1;
}

/** `sizesMilli`: the sizes of sharing pods, each once; 0 is left out. */
export function sharingGraph(sizesMilli: readonly number[], gpuMilli: number): SharingGraph {
  const isReached = new Uint8Array(gpuMilli + 1);
  isReached[0] = 1;
  const arcs: Arc[] = [];
  for (const sizeMilli of sizesMilli.filter((size) => size > 0).sort((a, b) => b - a)) {
    // Ascending, so that a size may follow itself.
    for (let fromMilli = 0; fromMilli + sizeMilli <= gpuMilli; fromMilli++) {
      if (isReached[fromMilli] !== 1) continue;
      arcs.push({ fromMilli, sizeMilli });
      isReached[fromMilli + sizeMilli] = 1;
    }
  }
  const innerMilli = [...new Set(arcs.map(({ fromMilli }) => fromMilli))].filter((milli) => milli > 0);
  return { arcs, innerMilli: innerMilli.sort((a, b) => a - b) };
}
